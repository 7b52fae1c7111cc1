"""Each process's snapshot to Redis, by a thread of its own: trading never waits for it."""

import os
import threading

import msgspec
import redis
from django.conf import settings

from desproject.lib.metrics.registry import METRICS, Registry, Snapshot

# The keys of all processes that published lately; each key ends by itself soon after its process.
INDEX = "des:metrics"
PERIOD_SECONDS = 1.0
LIFETIME_SECONDS = 5
_PATIENCE = 1.0

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Snapshot).decode


class Publisher:
    """Writes the registry's snapshots under a key of this process until ``stop``."""

    def __init__(self, client: redis.Redis, kind: str, host: str, registry: Registry = METRICS) -> None:
        self.key = f"{INDEX}:{kind}:{host}:{os.getpid()}"
        self._client = client
        self._kind = kind
        self._host = host
        self._registry = registry
        self._stopping = threading.Event()

    def run(self) -> None:
        """Publishes once a second; when it is told to stop, the key goes at once."""
        while not self._stopping.wait(PERIOD_SECONDS):
            self.publish()
        try:
            self._client.delete(self.key)
        except redis.RedisError:
            return

    def stop(self) -> None:
        self._stopping.set()

    def publish(self) -> None:
        """Writes one snapshot. A Redis that is away costs only that snapshot, which is counted."""
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.set(self.key, _encode(self._registry.snapshot(self._kind, self._host)), ex=LIFETIME_SECONDS)
                pipeline.sadd(INDEX, self.key)
                pipeline.execute()
        except (redis.RedisError, OSError):
            self._registry.count("metrics.not_published")


def snapshots(client: redis.Redis) -> list[Snapshot]:
    """The newest of every process that published in the last LIFETIME_SECONDS. Raises redis.RedisError."""
    keys = sorted(client.smembers(INDEX))  # type: ignore[arg-type]  # bytes, of a synchronous client
    if not keys:
        return []
    payloads = client.mget(keys)
    gone = [key for key, payload in zip(keys, payloads, strict=True) if payload is None]  # type: ignore[arg-type]
    if gone:
        client.srem(INDEX, *gone)
    return [_decode(payload) for payload in payloads if payload is not None]  # type: ignore[union-attr]


def connect() -> redis.Redis:
    """A client for a metrics thread: it gives up soon."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=_PATIENCE, socket_timeout=_PATIENCE)


_publishing_pid = 0


def start() -> None:
    """Publishes this process from now on; a second call does nothing. Not inherited by forked children."""
    global _publishing_pid
    if _publishing_pid == os.getpid():
        return
    _publishing_pid = os.getpid()
    publisher = Publisher(connect(), settings.ROLE, settings.CONFIG.host)
    threading.Thread(target=publisher.run, name="metrics", daemon=True).start()
