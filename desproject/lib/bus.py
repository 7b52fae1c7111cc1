"""Redis as the nervous system: streams of events between processes, and wake-ups. Losing it all loses no order."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import msgspec
import redis
import redis.asyncio
from django.conf import settings

FIELD = b"e"
WAKE_CHANNEL = "des:wake"


class Wake(msgspec.Struct, frozen=True, array_like=True):
    """A hint to the engine of ``shard`` that rows of ``user_id`` want a look; ``what`` says which.

    ``what`` is one of: order, command, instance, policy, kill, connection; or leases, which is for every engine: one
    has let go of some.
    """

    shard: int
    user_id: UUID
    what: str


encode_wake = msgspec.msgpack.Encoder().encode
decode_wake = msgspec.msgpack.Decoder(Wake).decode


def connect() -> "redis.asyncio.Redis":
    """A client for an asyncio loop. Its connections retry once on a broken socket; callers handle RedisError."""
    return redis.asyncio.Redis.from_url(settings.REDIS_URL, health_check_interval=15, socket_connect_timeout=5)


_sync_client: "redis.Redis | None" = None


def sync_client() -> "redis.Redis":
    """This process's client for synchronous code; connections are made on first use, so forking is safe before."""
    global _sync_client
    if _sync_client is None:
        _sync_client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=2, socket_timeout=2)
    return _sync_client


def wake(*messages: Wake) -> None:
    """Tells the shards' engines to look at rows now, all by one way to Redis. A lost hint is found by the engines'
    sweep, so a Redis that is away is no error."""
    with contextlib.suppress(redis.RedisError):
        pipe = sync_client().pipeline(transaction=False)
        for message in messages:
            pipe.publish(WAKE_CHANNEL, encode_wake(message))
        pipe.execute()


async def append(client: "redis.asyncio.Redis", stream: str, payload: bytes, *, keep: int) -> None:
    """Adds one entry to a stream, keeping about the newest ``keep`` (0 keeps all: the reader trims)."""
    fields: Mapping[Any, Any] = {FIELD: payload}
    await client.xadd(stream, dict(fields), maxlen=keep or None, approximate=True)


async def read(
    client: "redis.asyncio.Redis", positions: dict[str, str], *, block_ms: int, count: int = 500
) -> AsyncIterator[tuple[str, str, bytes]]:
    """Yields (stream, entry id, payload) past ``positions``, which it advances; waits up to ``block_ms`` for some.

    Ids are times: after Redis came back empty, new entries are still past our positions. What was lost with it shows
    as a jump in the sequence numbers inside the payloads.
    """
    wanted: dict[Any, Any] = dict(positions)
    answer = await client.xread(wanted, block=block_ms, count=count)
    for name, entries in answer or ():
        stream = name.decode()
        for entry_id, fields in entries:
            positions[stream] = entry_id.decode()
            yield stream, positions[stream], fields[FIELD]
