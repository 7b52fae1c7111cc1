"""The ASGI application: HTTP, the browsers' websockets, and the channel that stream workers listen on."""

import os

from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "desproject.settings")
http = get_asgi_application()

# Models can be imported only after the line above.
from django.conf import settings  # noqa: E402

from connections import key_holders  # noqa: E402
from connections.consumers import ExchangeStreams  # noqa: E402
from desproject.lib.interpreter import take_short_turns  # noqa: E402
from desproject.lib.metrics import publishing  # noqa: E402
from desproject.liveness import Alive  # noqa: E402
from desproject.web_metrics import Measured  # noqa: E402
from trading.routing import websockets  # noqa: E402

application = Measured(ProtocolTypeRouter({
    "http": Alive(http),  # type: ignore[arg-type]  # channels' own types are wider than Django's
    "websocket": websockets,
    "channel": ChannelNameRouter({"exchange-streams": ExchangeStreams.as_asgi()}),
}))
if settings.ROLE == "web":
    take_short_turns()
    publishing.start()
    key_holders.start()
