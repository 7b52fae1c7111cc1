"""What a report of an unhandled error may show: neither variables of the frames, nor what was posted, nor secrets of
the settings. Holds for pages under DES_DEBUG and for every handler that anybody may configure to mail them."""

from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

from desproject.lib.log import scrub


class ReticentFilter(SafeExceptionReporterFilter):
    """Django's own filter hides less, and nothing at all under DEBUG."""

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_safe_settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = scrub(super().get_safe_settings())
        return settings

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        return dict.fromkeys(request.POST, self.cleansed_substitute) if request is not None else {}

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> Any:
        # Which variables a frame has helps to understand it; what a key is called can't be known for each.
        return [(name, self.cleansed_substitute) for name in tb_frame.f_locals]
