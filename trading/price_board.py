"""Prices for all open pages of a process: each feed is read once for all of them, some times a second."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from connections.prices import Price, fetch_prices
from desproject.lib import bus
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.money import plain

PRICE_SECONDS = 0.35

Shown = dict[tuple[str, str], Price]


class PriceBoard:
    """For one event loop. A reading that is younger than PRICE_SECONDS serves everybody."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.watchers = 0
        self._clock = clock
        self._client = bus.connect()
        self._read: dict[str, tuple[float, dict[str, Price]]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def changes(self, feeds: Sequence[str], shown: Shown) -> list[dict[str, Any]]:
        """Prices of these feeds that differ from ``shown``, which is brought up to date."""
        changed = []
        for feed in feeds:
            for symbol, price in (await self._prices(feed)).items():
                if shown.get((feed, symbol)) != price:
                    shown[feed, symbol] = price
                    changed.append(price_shape(feed, symbol, price))
        return changed

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _prices(self, feed: str) -> dict[str, Price]:
        async with self._locks.setdefault(feed, asyncio.Lock()):
            read_at, prices = self._read.get(feed, (-PRICE_SECONDS, {}))
            if self._clock.monotonic() - read_at >= PRICE_SECONDS * 0.9:
                prices = await fetch_prices(self._client, feed)
                self._read[feed] = (self._clock.monotonic(), prices)
            return prices


def price_shape(feed: str, symbol: str, price: Price) -> dict[str, Any]:
    """A price as the API and the live socket show it."""
    values = {"last": price.last, "bid": price.bid, "ask": price.ask}
    amounts = {name: None if value is None else plain(value) for name, value in values.items()}
    return {"feed": feed, "symbol": symbol, **amounts, "seen_ms": price.seen_ms}


_boards: dict[asyncio.AbstractEventLoop, PriceBoard] = {}


@contextlib.asynccontextmanager
async def watching() -> AsyncIterator[PriceBoard]:
    """The running loop's board, which lives while somebody watches it."""
    loop = asyncio.get_running_loop()
    board = _boards.get(loop) or _boards.setdefault(loop, PriceBoard())
    board.watchers += 1
    try:
        yield board
    finally:
        board.watchers -= 1
        if not board.watchers:
            del _boards[loop]
            await board.aclose()
