"""django-q tasks. The engine is one long task of the cluster ``trading``."""

import asyncio

from django.conf import settings

from connections.leases import is_draining
from desproject.lib.clock import SYSTEM_CLOCK
from trading.engine.engine import Engine

# A request that waited longer belongs to another time: whoever misses an engine now asks again.
_STALE_SECONDS = 10


def run_engine(asked_at: float) -> str:
    """Runs an engine in this worker until it hands over. ``asked_at``: epoch seconds of the request."""
    now = SYSTEM_CLOCK.now()
    if now.timestamp() - asked_at > _STALE_SECONDS:
        return "asked too long ago"
    if is_draining(settings.CONFIG.host, now):
        return "this host drains"
    asyncio.run(Engine().run())
    return "handed over"
