"""How many engines run, and asking for missing ones. Every process may ask: none of this imports the engine itself."""

import structlog
from django.conf import settings
from django_q.tasks import async_task
from redis.exceptions import RedisError

from connections.leases import is_draining, living
from desproject.lib.bus import sync_client
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.task_queue import TaskQueue

log = structlog.get_logger(__name__)

CLUSTER = "trading"
# The kind of lease and of process that engines share out the shards by.
SHARD = "shard"
_ASKED_KEY = "des:engine-asked"
_PAUSE_SECONDS = 3


def ensure_engines() -> None:
    """Asks the trading cluster for what is missing of ENGINE_PROCESSES.

    Called often and by several processes: after one asked, the others hold back until an engine can have started.
    """
    now = SYSTEM_CLOCK.now()
    missing = settings.CONFIG.engine_processes - living(SHARD, now)
    if missing <= 0 or is_draining(settings.CONFIG.host, now):
        return
    try:
        if not sync_client().set(_ASKED_KEY, "1", nx=True, ex=_PAUSE_SECONDS):
            return
        broker = TaskQueue(list_key=CLUSTER)
        for _ in range(missing):
            async_task(
                "trading.tasks.run_engine",
                now.timestamp(),
                broker=broker,
                cluster=CLUSTER,
                timeout=-1,
                task_name="engine",
            )
    except RedisError as error:
        log.warning("engines_not_asked_for", error=str(error))
        return
    log.info("engines_asked_for", count=missing)
