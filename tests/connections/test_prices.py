"""The price cache, in process and in Redis."""

import threading
import time
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError as RedisAway

from connections.events import FeedState, PublicTrade, Quote
from connections.prices import Price, PriceCache, fetch_prices, read_prices
from desproject.lib import bus

FEED = "binance_spot:simulator"


def quote(symbol: str = "BTC/USDT", bid: str = "99", ask: str = "101", seen_ms: int = 1) -> Quote:
    return Quote(symbol, seen_ms * 1_000_000, Decimal(bid), Decimal(1), Decimal(ask), Decimal(1))


def trade(symbol: str = "BTC/USDT", price: str = "100", seen_ms: int = 2) -> PublicTrade:
    return PublicTrade(symbol, seen_ms * 1_000_000, 1, Decimal(price), Decimal(1), seen_ms)


@pytest.fixture
async def client(redis_server: str) -> AsyncIterator["redis.asyncio.Redis"]:
    found = bus.connect()
    await found.flushdb()
    yield found
    await found.flushdb()
    await found.aclose()


def test_quotes_and_trades_make_up_one_price() -> None:
    cache = PriceCache()
    cache.take(FEED, quote())
    cache.take(FEED, trade())

    assert cache.get(FEED, "BTC/USDT") == Price(2, Decimal(100), Decimal(99), Decimal(101))


def test_feeds_are_apart() -> None:
    cache = PriceCache()
    cache.take(FEED, quote())

    assert cache.get("binance_spot:live", "BTC/USDT") is None


def test_other_events_say_nothing_of_prices() -> None:
    cache = PriceCache()
    cache.take(FEED, FeedState("", 1, True, ""))

    assert len(cache) == 0


def test_memory_is_bounded_and_the_longest_unchanged_goes_first() -> None:
    cache = PriceCache(max_symbols=2)
    for symbol in ("A/B", "C/D", "A/B", "E/F"):
        cache.take(FEED, quote(symbol))

    assert len(cache) == 2
    assert cache.get(FEED, "C/D") is None


def test_readers_in_other_threads_always_see_a_whole_price() -> None:
    cache = PriceCache()
    torn: list[Price] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            price = cache.get(FEED, "BTC/USDT")
            if price is not None and (price.bid is None or price.ask is None or price.ask - price.bid != 1):
                torn.append(price)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(20_000):
        cache.take(FEED, quote(bid=str(number), ask=str(number + 1)))
    over.set()
    for reader in readers:
        reader.join()

    assert not torn


async def test_other_processes_read_it_from_redis(client: "redis.asyncio.Redis") -> None:
    cache = PriceCache()
    cache.take(FEED, quote())
    cache.take(FEED, trade("ETH/USDT"))
    await cache.mirror_once(client)

    expected = {
        "BTC/USDT": Price(1, None, Decimal(99), Decimal(101)),
        "ETH/USDT": Price(2, Decimal(100)),
    }
    assert await fetch_prices(client, FEED) == read_prices(FEED) == expected
    assert read_prices("binance_spot:live") == {}
    assert 0 < await client.ttl(f"des:prices:{FEED}") <= 120


async def test_what_nobody_wants_any_more_goes_from_redis_too(client: "redis.asyncio.Redis") -> None:
    cache = PriceCache()
    cache.take(FEED, quote())
    cache.take(FEED, quote("ETH/USDT"))
    await cache.mirror_once(client)
    cache.keep_only(FEED, {"ETH/USDT"})
    await cache.mirror_once(client)

    assert set(await fetch_prices(client, FEED)) == {"ETH/USDT"}


async def test_a_dropped_feed_stays_in_redis_for_its_next_keeper(client: "redis.asyncio.Redis") -> None:
    cache = PriceCache()
    cache.take(FEED, quote())
    await cache.mirror_once(client)
    cache.drop(FEED)
    await cache.mirror_once(client)

    assert len(cache) == 0
    assert set(await fetch_prices(client, FEED)) == {"BTC/USDT"}


async def test_many_changes_are_one_write(client: "redis.asyncio.Redis") -> None:
    cache = PriceCache()
    for number in range(1000):
        cache.take(FEED, quote(bid=str(number), ask=str(number + 1)))
    before = (await client.info("commandstats"))["cmdstat_hset"]["calls"] if await _has_hset(client) else 0
    await cache.mirror_once(client)

    assert (await client.info("commandstats"))["cmdstat_hset"]["calls"] == before + 1
    assert read_prices(FEED)["BTC/USDT"].bid == Decimal(999)


async def _has_hset(client: "redis.asyncio.Redis") -> bool:
    return "cmdstat_hset" in await client.info("commandstats")


async def test_changes_wait_while_redis_is_away(
    client: "redis.asyncio.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = PriceCache()
    cache.take(FEED, quote())

    async def away(*_: object) -> None:
        raise RedisAway

    with monkeypatch.context() as broken:
        broken.setattr(PriceCache, "_write", away)
        await cache.mirror_once(client)
    assert read_prices(FEED) == {}
    await cache.mirror_once(client)

    assert read_prices(FEED)["BTC/USDT"].ask == Decimal(101)


def test_taking_a_price_is_cheap() -> None:
    cache = PriceCache()
    told = [quote(f"S{number}/USDT") for number in range(100)]
    started = time.perf_counter()
    for _ in range(100):
        for event in told:
            cache.take(FEED, event)

    assert time.perf_counter() - started < 1.0
