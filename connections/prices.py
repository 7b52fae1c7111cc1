"""The price cache: last price, best bid and ask of each (feed, symbol), here in the stream process and, a few times a
second, in Redis for all others (STR-7)."""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

import msgspec
import redis.asyncio
import structlog
from redis.exceptions import RedisError

from connections.events import AnyMarketEvent, MarketEvent, PublicTrade, Quote
from desproject.lib import bus

log = structlog.get_logger(__name__)

MAX_SYMBOLS = 10_000
MIRROR_SECONDS = 0.2
# A hash that no stream process looks after any more goes away by itself.
EXPIRY_SECONDS = 120
_REFRESH_ROUNDS = 100


class Price(msgspec.Struct, frozen=True, array_like=True):
    """What a symbol costs; None where not told yet. ``seen_ms`` is when the newest part came in."""

    seen_ms: int
    last: Decimal | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None


_encode = msgspec.msgpack.Encoder(decimal_format="string").encode
_decode = msgspec.msgpack.Decoder(Price).decode


class PriceCache:
    """Prices by (feed, symbol), the longest unchanged removed beyond ``max_symbols``.

    Entries are never changed, only replaced: readers in other threads always see a whole one.
    """

    def __init__(self, max_symbols: int = MAX_SYMBOLS) -> None:
        self._max_symbols = max_symbols
        self._prices: OrderedDict[tuple[str, str], Price] = OrderedDict()
        self._changed: set[tuple[str, str]] = set()
        self._removed: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return len(self._prices)

    def get(self, feed: str, symbol: str) -> Price | None:
        return self._prices.get((feed, symbol))

    def take(self, feed: str, event: AnyMarketEvent | MarketEvent) -> None:
        """Keeps what a quote or trade says of the price; other events say nothing."""
        key = (feed, event.symbol)
        known = self._prices.get(key)
        seen_ms = event.seen_ns // 1_000_000
        if isinstance(event, Quote):
            price = Price(seen_ms, known.last if known else None, event.bid, event.ask)
        elif isinstance(event, PublicTrade):
            price = Price(seen_ms, event.price, known.bid if known else None, known.ask if known else None)
        else:
            return
        self._prices[key] = price
        self._prices.move_to_end(key)
        self._changed.add(key)
        self._removed.discard(key)
        if len(self._prices) > self._max_symbols:
            self._remove(next(iter(self._prices)))

    def keep_only(self, feed: str, symbols: Collection[str]) -> None:
        """Removes the feed's other symbols: nobody wants them any more."""
        for key in [key for key in self._prices if key[0] == feed and key[1] not in symbols]:
            self._remove(key)

    def drop(self, feed: str) -> None:
        """Forgets the feed here but not in Redis: another process looks after it now."""
        for known in (self._changed, self._removed):
            known -= {key for key in known if key[0] == feed}
        for key in [key for key in self._prices if key[0] == feed]:
            del self._prices[key]

    def _remove(self, key: tuple[str, str]) -> None:
        del self._prices[key]
        self._changed.discard(key)
        self._removed.add(key)

    async def mirror(self, client: "redis.asyncio.Redis") -> None:
        """Writes changes to Redis until cancelled, at most one write in MIRROR_SECONDS; each holds the newest price."""
        rounds = 0
        while True:
            await asyncio.sleep(MIRROR_SECONDS)
            rounds += 1
            if rounds % _REFRESH_ROUNDS == 0:
                self._changed |= self._prices.keys()
            await self.mirror_once(client)

    async def mirror_once(self, client: "redis.asyncio.Redis") -> None:
        """One write of what has changed. Where Redis is away, the changes wait for the next one."""
        if not self._changed and not self._removed:
            return
        changed, removed = self._changed, self._removed
        self._changed, self._removed = set(), set()
        try:
            await self._write(client, changed, removed)
        except (RedisError, OSError) as error:
            self._changed |= {key for key in changed if key in self._prices}
            self._removed |= {key for key in removed if key not in self._prices}
            log.warning("prices_not_mirrored", error=str(error))

    async def _write(
        self, client: "redis.asyncio.Redis", changed: set[tuple[str, str]], removed: set[tuple[str, str]]
    ) -> None:
        pipe = client.pipeline(transaction=False)
        for feed in {feed for feed, _ in changed | removed}:
            fields: dict[Any, Any] = {
                symbol: _encode(self._prices[found, symbol]) for found, symbol in changed if found == feed
            }
            gone = [symbol for found, symbol in removed if found == feed]
            if fields:
                pipe.hset(_key(feed), mapping=fields)
            if gone:
                pipe.hdel(_key(feed), *gone)
            pipe.expire(_key(feed), EXPIRY_SECONDS)
        await pipe.execute()


def read_prices(feed: str) -> dict[str, Price]:
    """The feed's prices by symbol, from any process; empty where Redis is away. For synchronous code."""
    try:
        found: Mapping[bytes, bytes] = bus.sync_client().hgetall(_key(feed))  # type: ignore[assignment]
    except RedisError:
        return {}
    return _decoded(found)


async def fetch_prices(client: "redis.asyncio.Redis", feed: str) -> dict[str, Price]:
    """What ``read_prices`` tells, for asyncio code."""
    try:
        return _decoded(await client.hgetall(_key(feed)))  # type: ignore[misc]
    except (RedisError, OSError):
        return {}


def _decoded(found: Mapping[bytes, bytes]) -> dict[str, Price]:
    return {symbol.decode(): _decode(value) for symbol, value in found.items()}


def _key(feed: str) -> str:
    return f"des:prices:{feed}"
