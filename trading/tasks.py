"""django-q tasks: the engine itself as one long task, and the schedule that starts missing ones."""

import asyncio

import structlog
from django.conf import settings
from django_q.brokers.redis_broker import Redis as RedisBroker
from django_q.tasks import async_task
from redis.exceptions import RedisError

from connections.leases import is_draining, living
from desproject.lib.bus import sync_client
from desproject.lib.clock import SYSTEM_CLOCK
from trading.engine.committer import SHARD
from trading.engine.engine import Engine

log = structlog.get_logger(__name__)

CLUSTER = "trading"


_ASKED_KEY = "des:engine-asked"
# A request that waited longer belongs to another time: whoever misses an engine now asks again.
_STALE_SECONDS = 10
_PAUSE_SECONDS = 3


def run_engine(asked_at: float) -> str:
    """Runs an engine in this worker until it hands over. ``asked_at``: epoch seconds of the request."""
    now = SYSTEM_CLOCK.now()
    if now.timestamp() - asked_at > _STALE_SECONDS:
        return "asked too long ago"
    if is_draining(settings.CONFIG.host, now):
        return "this host drains"
    asyncio.run(Engine().run())
    return "handed over"


def ensure_engines() -> int:
    """Starts what is missing of ENGINE_PROCESSES; returns how many were asked for.

    Called often and by several processes: after one asked, the others hold back until it can have started.
    """
    now = SYSTEM_CLOCK.now()
    missing = settings.CONFIG.engine_processes - living(SHARD, now)
    if missing <= 0 or is_draining(settings.CONFIG.host, now):
        return 0
    try:
        if not sync_client().set(_ASKED_KEY, "1", nx=True, ex=_PAUSE_SECONDS):
            return 0
        broker = RedisBroker(list_key=CLUSTER)
        for _ in range(missing):
            async_task(run_engine, now.timestamp(), broker=broker, cluster=CLUSTER, timeout=-1, task_name="engine")
    except RedisError as error:
        log.warning("engines_not_started", error=str(error))
        return 0
    return missing
