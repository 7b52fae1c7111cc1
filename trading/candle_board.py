"""One-minute candles that grow with each trade, for all open pages of a process that watch a symbol.

Built from the market streams that the engines read. What had been traded in the minute before somebody watched is
asked of the exchange once; where that fails, the first candle holds only what was seen.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

import msgspec
import structlog
from redis.exceptions import RedisError

from connections.events import AnyMarketEvent, CandleUpdate, PublicTrade, decode_market, feed_stream
from connections.gateways import Candle
from connections.history import fetch_candles
from desproject.lib import bus
from desproject.lib.clock import SYSTEM_CLOCK, Clock, from_millis, to_millis
from desproject.lib.errors import DomainError
from desproject.lib.money import ZERO

log = structlog.get_logger(__name__)

TIMEFRAME = "1m"
_MINUTE_MS = 60_000
_BLOCK_MS = 250
# The one that grows and the one before: late trades still belong to it.
_KEPT = 2
_PATIENCE = 5.0

# (feed, symbol)
Instrument = tuple[str, str]


@dataclass(slots=True)
class _Growing:
    """``is_told``: the exchange's own candle is at hand, and already holds the volume of the trades."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = ZERO
    is_told: bool = False

    def trade(self, price: Decimal, quantity: Decimal) -> None:
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        if not self.is_told:
            self.volume += quantity

    def began_as(self, told: Candle) -> None:
        """Takes in what was traded before the first trade that was seen."""
        self.open = told.open
        self.high, self.low = max(self.high, told.high), min(self.low, told.low)
        self.volume = max(self.volume, told.volume)


@dataclass(slots=True)
class _Chart:
    minutes: dict[int, _Growing] = field(default_factory=dict)
    newest_trade: int = -1

    def minute(self, opened_ms: int, price: Decimal) -> _Growing | None:
        """The candle of a minute; None for one that is long over."""
        found = self.minutes.get(opened_ms)
        if found is None:
            if self.minutes and opened_ms < max(self.minutes):
                return None
            found = self.minutes[opened_ms] = _Growing(price, price, price, price)
            for old in sorted(self.minutes)[:-_KEPT]:
                del self.minutes[old]
        return found

    def take(self, event: AnyMarketEvent) -> None:
        if isinstance(event, PublicTrade):
            if event.trade_id <= self.newest_trade:
                return
            self.newest_trade = event.trade_id
            growing = self.minute(event.executed_ms // _MINUTE_MS * _MINUTE_MS, event.price)
            if growing is not None:
                growing.trade(event.price, event.quantity)
        elif (
            isinstance(event, CandleUpdate)
            and event.timeframe == TIMEFRAME
            and self.minute(event.opened_ms, event.open) is not None
        ):
            self.minutes[event.opened_ms] = _Growing(
                event.open, event.high, event.low, event.close, event.volume, is_told=True
            )


class CandleBoard:
    """For one event loop."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.users = 0
        self._clock = clock
        self._redis = bus.connect()
        self._watchers: Counter[Instrument] = Counter()
        self._charts: dict[Instrument, _Chart] = {}
        self._positions: dict[str, str] = {}
        self._sequences: dict[str, tuple[int, int]] = {}
        self._tasks: set[asyncio.Task[None]] = {asyncio.create_task(self._read(), name="candle-board")}

    @contextlib.contextmanager
    def watching(self, instrument: Instrument) -> Iterator[Callable[[], list[Candle]]]:
        """Follows a symbol inside the block; gives what tells its newest candles, oldest first: the last one grows."""
        self._watchers[instrument] += 1
        if instrument not in self._charts:
            self._charts[instrument] = _Chart()
            self._begin(instrument)
        try:
            yield partial(self._candles, instrument)
        finally:
            self._watchers[instrument] -= 1
            if not self._watchers[instrument]:
                del self._watchers[instrument], self._charts[instrument]

    def _candles(self, instrument: Instrument) -> list[Candle]:
        minutes = sorted(self._charts[instrument].minutes.items())
        newest = minutes[-1][0] if minutes else 0
        return [
            Candle(
                instrument[1], TIMEFRAME, from_millis(opened_ms), bar.open, bar.high, bar.low, bar.close, bar.volume,
                closed=opened_ms < newest,
            )
            for opened_ms, bar in minutes
        ]  # fmt: skip

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()

    def _begin(self, instrument: Instrument) -> None:
        task = asyncio.create_task(self._ask(instrument), name="candle-begins")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, instrument: Instrument) -> None:
        """What was traded in this minute so far."""
        feed, symbol = instrument
        opened_ms = to_millis(self._clock.now()) // _MINUTE_MS * _MINUTE_MS
        try:
            told = await fetch_candles(
                feed, symbol, TIMEFRAME, _MINUTE_MS, from_millis(opened_ms), from_millis(opened_ms + _MINUTE_MS)
            )
        except DomainError as error:
            log.info("candle_begins_late", feed=feed, symbol=symbol, error=error.code)
            return
        chart = self._charts.get(instrument)
        if chart is not None and told:
            growing = chart.minute(opened_ms, told[0].close)
            if growing is not None and not growing.is_told:
                growing.began_as(told[0])

    async def _read(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._follow()
                    await self._read_once()
            except (RedisError, OSError) as error:  # a time-out is an OSError too
                log.info("candles_unreadable", error=str(error))
                await asyncio.sleep(_BLOCK_MS / 1000)

    async def _follow(self) -> None:
        feeds = {feed_stream(feed) for feed, _ in self._charts}
        for stream in self._positions.keys() - feeds:
            del self._positions[stream]
            self._sequences.pop(stream, None)
        for stream in feeds - self._positions.keys():
            newest = await self._redis.xrevrange(stream, count=1)
            self._positions[stream] = newest[0][0].decode() if newest else "0"

    async def _read_once(self) -> None:
        if not self._positions:
            await asyncio.sleep(_BLOCK_MS / 1000)
            return
        async for stream, _, payload in bus.read(self._redis, self._positions, block_ms=_BLOCK_MS):
            self._take(stream, payload)

    def _take(self, stream: str, payload: bytes) -> None:
        try:
            batch = decode_market(payload)
        except msgspec.MsgspecError as error:
            log.error("market_batch_undecodable", error=str(error))
            return
        feed = stream.removeprefix(feed_stream(""))
        known = self._sequences.get(stream, (batch.epoch, batch.sequence - 1))
        self._sequences[stream] = (batch.epoch, batch.sequence)
        if (batch.epoch, batch.sequence) != (known[0], known[1] + 1):
            self._begin_anew(feed)
        for event in batch.events:
            if (chart := self._charts.get((feed, event.symbol))) is not None:
                chart.take(event)

    def _begin_anew(self, feed: str) -> None:
        """Trades were missed."""
        for instrument in [key for key in self._charts if key[0] == feed]:
            self._charts[instrument] = _Chart()
            self._begin(instrument)


_boards: dict[asyncio.AbstractEventLoop, CandleBoard] = {}


@contextlib.asynccontextmanager
async def candle_board() -> AsyncIterator[CandleBoard]:
    """The running loop's board, which lives while somebody uses it."""
    loop = asyncio.get_running_loop()
    board = _boards.get(loop) or _boards.setdefault(loop, CandleBoard())
    board.users += 1
    try:
        yield board
    finally:
        board.users -= 1
        if not board.users:
            del _boards[loop]
            await board.aclose()
