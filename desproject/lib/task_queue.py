"""django-q's queue in Redis, read in a way that outlives a Redis that is away.

django-q's own reader sleeps ten seconds after a failure, and dies: until another one is started nobody begins a task,
and a cluster that is told to stop waits for its sleep. Ours tries again at once, and hears of a stop soon.
"""

import time
from typing import Any

import redis
import structlog
from django.conf import settings
from django_q.brokers.redis_broker import Redis as RedisBroker

log = structlog.get_logger(__name__)

# Between two looks at whether the cluster stops.
_WAIT_SECONDS = 0.25
# A Redis that is frozen, not gone, says nothing at all.
_PATIENCE_SECONDS = 5.0


class TaskQueue(RedisBroker):  # type: ignore[misc]  # django-q ships no types
    """The queue of one cluster; named by ``Q_CLUSTER["broker_class"]``."""

    def dequeue(self) -> list[tuple[None, bytes]] | None:
        """The next task, None when there is none now or Redis can't be asked."""
        try:
            found = self.connection.blpop(self.list_key, _WAIT_SECONDS)
        except redis.RedisError as error:
            log.warning("task_queue_unreadable", error=str(error))
            time.sleep(_WAIT_SECONDS)
            return None
        return [(None, found[1])] if found else None

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        return redis.Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=_PATIENCE_SECONDS, socket_timeout=_PATIENCE_SECONDS
        )
