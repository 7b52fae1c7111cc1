"""The ASGI application: HTTP, the browsers' websockets, and the channel that stream workers listen on."""

import os

from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "desproject.settings")
http = get_asgi_application()

# Models can be imported only after the line above.
from connections.consumers import ExchangeStreams  # noqa: E402
from trading.routing import websockets  # noqa: E402

application = ProtocolTypeRouter({
    "http": http,
    "websocket": websockets,
    "channel": ChannelNameRouter({"exchange-streams": ExchangeStreams.as_asgi()}),
})
