"""Past candles of a feed, asked of its exchange once for all users of a process.

Pages of the console come by the dozen and want the same candles. They are asked for in pages of ``PAGE`` bars on a
fixed grid, so that whoever looks at the same past shares the same answers; the newest page is remembered for moments,
older ones for longer, and how many pages may be asked for in a minute is bounded: no user can use up the weight that
orders need. The sockets to the exchanges live on an event loop in a thread of their own, which serves synchronous
views and asyncio code alike.
"""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from connections.budget.urgency import Urgency, working_at
from connections.exchanges import venue
from connections.exchanges.network import Network
from connections.gateways import Candle, Throttled, Unreachable
from desproject.lib.clock import SYSTEM_CLOCK, Clock, from_millis, to_millis

T = TypeVar("T")
PAGE = 1000
# Seconds that the exchange has to answer while somebody waits.
PATIENCE = 8.0
# How long the page that still grows is served, and one that is finished.
GROWING_SECONDS = 2.0
FINISHED_SECONDS = 600.0
# Pages of one feed that are asked for in a minute. A page costs 2 of Binance's 6000 weights a minute.
PAGES_A_MINUTE = 120
_MINUTE = 60.0
_MAX_PAGES = 64

# (feed, symbol, timeframe, first moment of the page in epoch milliseconds)
_Key = tuple[str, str, str, int]


@dataclass(slots=True)
class _Page:
    """An answer of the exchange, or the way to it, which everybody who wants it waits for."""

    answer: "asyncio.Task[Sequence[Candle]]"
    good_until: float


class History:
    """For one event loop."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._network = Network(clock)
        self._pages: OrderedDict[_Key, _Page] = OrderedDict()
        self._asked: dict[str, deque[float]] = {}

    async def candles(
        self, feed: str, symbol: str, timeframe: str, step_ms: int, start: datetime, end: datetime
    ) -> list[Candle]:
        """Those opened at ``start`` or later and before ``end``, oldest first, the growing one included.

        Raises InvalidInput for a symbol that isn't traded, GatewayError: Unreachable when no answer came in PATIENCE.
        """
        width = PAGE * step_ms
        first, last = to_millis(start) // width, (to_millis(end) - 1) // width
        try:
            async with asyncio.timeout(PATIENCE):
                pages = await asyncio.gather(
                    *(self._page((feed, symbol, timeframe, number * width), width) for number in range(first, last + 1))
                )
        except TimeoutError:
            raise Unreachable("the exchange doesn't answer") from None
        return [bar for page in pages for bar in page if start <= bar.opened_at < end]

    async def aclose(self) -> None:
        """Ends what is under way and closes the sockets."""
        for page in self._pages.values():
            page.answer.cancel()
        await asyncio.gather(*(page.answer for page in self._pages.values()), return_exceptions=True)
        self._pages.clear()
        await self._network.aclose()

    async def _page(self, key: _Key, width: int) -> Sequence[Candle]:
        """What nobody waits for any more goes on: the next one who wants it finds it."""
        page = self._pages.get(key)
        if page is None or self._is_old(page):
            self._count(key[0])
            page = self._pages[key] = _Page(asyncio.create_task(self._ask(key, width)), float("inf"))
            page.answer.add_done_callback(lambda _: self._answered(key, page, width))
        self._pages.move_to_end(key)
        while len(self._pages) > _MAX_PAGES:
            self._pages.popitem(last=False)
        return await asyncio.shield(page.answer)

    def _is_old(self, page: _Page) -> bool:
        return page.answer.done() and self._clock.monotonic() >= page.good_until

    def _answered(self, key: _Key, page: _Page, width: int) -> None:
        """A failure is told to those who waited for it; the next one asks anew."""
        if page.answer.cancelled() or page.answer.exception() is not None:
            if self._pages.get(key) is page:
                del self._pages[key]
            return
        finished = key[3] + width < to_millis(self._clock.now())
        page.good_until = self._clock.monotonic() + (FINISHED_SECONDS if finished else GROWING_SECONDS)

    def _count(self, feed: str) -> None:
        """Raises Throttled when too much was asked of the feed in the last minute."""
        now = self._clock.monotonic()
        asked = self._asked.setdefault(feed, deque())
        while asked and now - asked[0] >= _MINUTE:
            asked.popleft()
        if len(asked) >= PAGES_A_MINUTE:
            raise Throttled("too many candles are asked for, try again shortly", retry_after=asked[0] + _MINUTE - now)
        asked.append(now)

    async def _ask(self, key: _Key, width: int) -> Sequence[Candle]:
        feed, symbol, timeframe, start_ms = key
        exchange, _, mode = feed.partition(":")
        public = venue(exchange).public(mode, self._network)
        with working_at(Urgency.BACKGROUND):
            async with asyncio.timeout(PATIENCE):
                found = await public.candles(symbol, timeframe, PAGE, before=from_millis(start_ms + width))
        return [bar for bar in found if bar.opened_at >= from_millis(start_ms)]


class _Loop:
    """An event loop in a daemon thread, with this process's History on it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="history", daemon=True)
        self._thread.start()
        self.history = self.submit(_made()).result()

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        self.submit(self.history.aclose()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _made() -> History:
    return History()


_lock = threading.Lock()
_shared: _Loop | None = None


def read_candles(
    feed: str, symbol: str, timeframe: str, step_ms: int, start: datetime, end: datetime
) -> list[Candle]:
    """``History.candles`` of this process, for synchronous code."""
    return _submitted(feed, symbol, timeframe, step_ms, start, end).result()


async def fetch_candles(
    feed: str, symbol: str, timeframe: str, step_ms: int, start: datetime, end: datetime
) -> list[Candle]:
    """What ``read_candles`` tells, for asyncio code."""
    return await asyncio.wrap_future(_submitted(feed, symbol, timeframe, step_ms, start, end))


def shut_down() -> None:
    """Ends this process's thread and its sockets; the next reader starts new ones."""
    global _shared
    with _lock:
        if _shared is not None:
            _shared.close()
            _shared = None


def _submitted(
    feed: str, symbol: str, timeframe: str, step_ms: int, start: datetime, end: datetime
) -> "Future[list[Candle]]":
    global _shared
    with _lock:
        if _shared is None:
            _shared = _Loop()
        return _shared.submit(_shared.history.candles(feed, symbol, timeframe, step_ms, start, end))
