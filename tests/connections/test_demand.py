"""What consoles look at is wanted for a while, each symbol by itself, and not without end."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import redis.asyncio

from connections import demand
from desproject.lib import bus
from desproject.lib.clock import ManualClock

FEED = "binance_spot:simulator"


@pytest.fixture
async def client(redis_server: str) -> AsyncIterator["redis.asyncio.Redis"]:
    found = bus.connect()
    await found.flushdb()
    yield found
    await found.flushdb()
    await found.aclose()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 1, tzinfo=UTC))


async def test_a_symbol_is_forgotten_though_others_are_still_looked_at(
    client: "redis.asyncio.Redis", clock: ManualClock
) -> None:
    demand.ask(FEED, ["BTC/USDT", "ETH/USDT"], clock)
    clock.advance(demand.ASK_SECONDS - 1)
    demand.ask(FEED, ["BTC/USDT"], clock)
    assert await demand.asked(client, FEED, clock) == {"BTC/USDT", "ETH/USDT"}
    clock.advance(2)
    assert await demand.asked(client, FEED, clock) == {"BTC/USDT"}


async def test_who_asks_for_symbol_after_symbol_gets_the_newest(
    client: "redis.asyncio.Redis", clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demand, "MOST_ASKED", 3)
    for number in range(5):
        demand.ask(FEED, [f"A{number}/USDT"], clock)
        clock.advance(1)
    assert await demand.asked(client, FEED, clock) == {"A2/USDT", "A3/USDT", "A4/USDT"}
