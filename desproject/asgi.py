"""The ASGI application: HTTP, the browsers' websockets, and the channel that stream workers listen on."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "desproject.settings")
http = get_asgi_application()

from trading.routing import websockets  # noqa: E402  # models can be imported only after the line above

application = ProtocolTypeRouter({"http": http, "websocket": websockets})
