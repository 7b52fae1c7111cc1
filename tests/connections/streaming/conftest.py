"""Streams against the simulated exchange and a real Redis."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest
import redis.asyncio

from connections.events import (
    AnyMarketEvent,
    AnyUserEvent,
    MarketBatch,
    MarketEvent,
    UserEvent,
    decode_market,
    decode_user,
    feed_stream,
)
from connections.streaming.kept_socket import Timing
from desproject.lib import bus

Market = TypeVar("Market", bound=MarketEvent)
User = TypeVar("User", bound=UserEvent)
FEED = "binance_spot:simulator"
# Short pauses, so that a test needn't wait for those of a real installation.
QUICK = Timing(longest_pause=0.2, silence=60, overlap=0.3)


@pytest.fixture
async def bus_client(redis_server: str) -> AsyncIterator["redis.asyncio.Redis"]:
    client = bus.connect()
    await client.flushdb()
    yield client
    await client.flushdb()
    await client.aclose()


@pytest.fixture
def figures() -> Counter[str]:
    return Counter()


async def until(condition: Callable[[], object], what: str, seconds: float = 10) -> None:
    """Waits for a condition; fails the test when it doesn't come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:g} s in vain: {what}")
        await asyncio.sleep(0.01)


class MarketReader:
    """Everything that was published on a feed, read from its beginning."""

    def __init__(self, client: "redis.asyncio.Redis", feed: str = FEED) -> None:
        self.batches: list[MarketBatch] = []
        self.events: list[AnyMarketEvent] = []
        self._client = client
        self._positions = {feed_stream(feed): "0"}
        self.task = asyncio.create_task(self._read())

    def of(self, kind: type[Market]) -> list[Market]:
        return [event for event in self.events if isinstance(event, kind)]

    async def _read(self) -> None:
        while True:
            async for _, _, payload in bus.read(self._client, self._positions, block_ms=50):
                batch = decode_market(payload)
                self.batches.append(batch)
                self.events += batch.events


class UserReader:
    """Everything that was published to some shards."""

    def __init__(self, client: "redis.asyncio.Redis", streams: list[str]) -> None:
        self.events: list[AnyUserEvent] = []
        self._client = client
        self._positions = dict.fromkeys(streams, "0")
        self.task = asyncio.create_task(self._read())

    def of(self, kind: type[User]) -> list[User]:
        return [event for event in self.events if isinstance(event, kind)]

    async def _read(self) -> None:
        while True:
            async for _, _, payload in bus.read(self._client, self._positions, block_ms=50):
                self.events.append(decode_user(payload))
