"""The websocket routes."""

from channels.generic.websocket import WebsocketConsumer
from channels.routing import URLRouter
from channels.security.websocket import OriginValidator
from django.conf import settings
from django.urls import path, re_path

from trading.stream_socket import UserStream


class _Nothing(WebsocketConsumer):  # type: ignore[misc]  # channels ships no types
    """Refuses sockets to other paths."""

    def connect(self) -> None:
        self.close()


class _OwnPages(OriginValidator):  # type: ignore[misc]
    """Browsers may connect from our own pages only; programs send no Origin. The token decides, not a cookie."""

    def valid_origin(self, parsed_origin: object) -> bool:
        return parsed_origin is None or bool(super().valid_origin(parsed_origin))


websockets = _OwnPages(
    URLRouter([path("ws/stream", UserStream.as_asgi()), re_path("", _Nothing.as_asgi())]), settings.ALLOWED_HOSTS
)
