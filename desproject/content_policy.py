"""The Content-Security-Policy header: the site's own, and what two guests need besides."""

from csp.constants import UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase

# Both come with styles inside their pages, none with scripts. The admin's theme is made with Alpine, which compiles
# the expressions in its attributes: without that its pages are under a dialog that never closes.
_ADDITIONS = {
    "/admin/": {"script-src": [UNSAFE_EVAL], "style-src": [UNSAFE_INLINE]},
    "/api/docs": {"style-src": [UNSAFE_INLINE]},
}


class ContentPolicyMiddleware(CSPMiddleware):
    """The policy of the settings for every page, with what the guests can't do without."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        for prefix, additions in _ADDITIONS.items():
            if not report_only and request.path_info.startswith(prefix):
                parts.update = additions
        return parts
