"""Which market data is wanted, and what else the stream processes do for the layers above, which register here."""

from collections.abc import Callable, Collection, Mapping

import redis
import redis.asyncio
import structlog
from redis.exceptions import RedisError

from desproject.lib import bus
from desproject.lib.clock import SYSTEM_CLOCK, Clock

log = structlog.get_logger(__name__)

# feed → symbol → timeframes of its candles
Wanted = dict[str, dict[str, set[str]]]
Provider = Callable[[], Mapping[str, Mapping[str, Collection[str]]]]

# A symbol that consoles look at is forgotten so long after the last of them asked for it.
ASK_SECONDS = 30
# So many of a feed are remembered, those asked for last: nobody can have everything streamed.
MOST_ASKED = 200

_MANY = 1000

_providers: list[Provider] = []
_beats: list[Callable[[], object]] = []


def register(provider: Provider) -> None:
    """Adds somebody who knows what is wanted; called about once a second in a database thread."""
    if provider not in _providers:
        _providers.append(provider)


def on_beat(job: Callable[[], object]) -> None:
    """Adds a job that a stream process does about every two seconds in a database thread."""
    if job not in _beats:
        _beats.append(job)


def wanted() -> Wanted:
    """All that the providers want, put together. In a database thread."""
    merged: Wanted = {}
    for provider in _providers:
        for feed, symbols in provider().items():
            for symbol, timeframes in symbols.items():
                merged.setdefault(feed, {}).setdefault(symbol, set()).update(timeframes)
    return merged


def beat() -> None:
    """Does every job; one that fails hurts no other. In a database thread."""
    for job in _beats:
        try:
            job()
        except Exception as error:  # noqa: BLE001  # of other layers: whatever it is, streams go on
            log.warning("beat_failed", job=getattr(job, "__qualname__", "?"), error=str(error))


def ask(feed: str, symbols: Collection[str], clock: Clock = SYSTEM_CLOCK) -> None:
    """Wants symbols of a feed for a while: a console shows them. Ask again within ASK_SECONDS. Redis away: no error."""
    if not symbols:
        return
    ends = clock.now().timestamp() + ASK_SECONDS
    try:
        pipe = bus.sync_client().pipeline(transaction=False)
        pipe.zadd(_key(feed), dict.fromkeys(symbols, ends))
        pipe.zremrangebyrank(_key(feed), 0, -MOST_ASKED - 1)
        pipe.expire(_key(feed), ASK_SECONDS)
        pipe.execute()
    except RedisError as error:
        log.info("symbols_not_asked_for", error=str(error))


async def asked(client: "redis.asyncio.Redis", feed: str, clock: Clock = SYSTEM_CLOCK) -> set[str]:
    """The symbols that consoles want. Raises RedisError."""
    found = await client.zrange(_key(feed), clock.now().timestamp(), "inf", byscore=True)
    return {symbol.decode() for symbol in found}


async def ask_anew(client: "redis.asyncio.Redis", feed: str, symbol: str) -> None:
    """Wants a symbol's order book given up and read anew. Raises RedisError."""
    await client.sadd(_anew_key(feed), symbol)  # type: ignore[misc]
    await client.expire(_anew_key(feed), ASK_SECONDS)


async def asked_anew(client: "redis.asyncio.Redis", feed: str) -> set[str]:
    """The symbols whose books are to be read anew, told once. Raises RedisError."""
    found = await client.spop(_anew_key(feed), _MANY)  # type: ignore[misc]
    return {symbol.decode() for symbol in found or ()}


def _anew_key(feed: str) -> str:
    return f"des:anew:{feed}"


def _key(feed: str) -> str:
    return f"des:shown:{feed}"
