"""Bars of a timeframe: built from trades, corrected by the exchange's own candles, final exactly once (STG-9).

``BarBuilder`` turns what a feed tells of one symbol into finished bars; ``BarSeries`` keeps the newest of them as the
arrays that strategies see. Both only compute: the caller brings the time, stores the bars and evaluates.

A bar is final when the exchange's closed candle came, or, failing that, a grace time past its end; then it is made of
what was seen: the exchange's growing candle or the trades, whichever saw more volume. A span without any trade carries
the last close with no volume. What comes later is counted and changes nothing.
"""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType

import numpy as np

from connections.events import CandleUpdate, PublicTrade
from connections.gateways import Candle
from desproject.lib.clock import from_millis, to_millis
from desproject.lib.errors import InvalidInput
from desproject.lib.money import ZERO, exact
from trading.strategies.contract import BarWindow

# Seconds by name. Every one divides a UTC day, so bars open at its multiples since the epoch.
TIMEFRAMES: Mapping[str, int] = MappingProxyType({
    "1s": 1,
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "4h": 14400,
    "6h": 21600,
    "8h": 28800,
    "12h": 43200,
    "1d": 86400,
})

GRACE_MS = 2000
# Trade ids remembered against duplicates; a trade below all of them counts as seen.
_REMEMBERED_IDS = 20_000
# Final bars remembered to tell a correction from a repetition.
_REMEMBERED_BARS = 200
# Bars under way at once: one, and those whose end is not certain yet. More means nonsense stamps.
_MAX_OPEN = 3600


def timeframe_ms(timeframe: str) -> int:
    """The timeframe's length in milliseconds. Raises InvalidInput for a name that isn't in TIMEFRAMES."""
    try:
        return TIMEFRAMES[timeframe] * 1000
    except KeyError:
        known = ", ".join(TIMEFRAMES)
        raise InvalidInput("unknown timeframe", fields={"timeframe": [f"must be one of: {known}"]}) from None


class BarSeries:
    """The newest finished bars of one (feed, symbol, timeframe), without holes, ``capacity`` at most."""

    def __init__(self, timeframe: str, capacity: int) -> None:
        self._step = timeframe_ms(timeframe)
        self._capacity = capacity
        self._start = self._end = 0
        self._opened = np.zeros(0, dtype=np.int64)
        self._prices = np.zeros((5, 0))

    def __len__(self) -> int:
        return self._end - self._start

    @property
    def newest_ms(self) -> int | None:
        """When the newest bar opened."""
        return int(self._opened[self._end - 1]) if len(self) else None

    def append(self, bar: Candle) -> None:
        """Adds the next bar. After a hole only the new side is kept: windows never skip time.

        Raises ValueError for a bar that is not newer than all others.
        """
        opened = to_millis(bar.opened_at)
        newest = self.newest_ms
        if newest is not None and opened <= newest:
            raise ValueError(f"bar of {opened} after that of {newest}")
        if newest is not None and opened != newest + self._step:
            self._start = self._end
        if self._end == len(self._opened):
            self._make_room()
        self._opened[self._end] = opened
        self._prices[:, self._end] = [float(each) for each in (bar.open, bar.high, bar.low, bar.close, bar.volume)]
        self._end += 1
        self._start = max(self._start, self._end - self._capacity)

    def window(self) -> BarWindow:
        """All bars kept, as read-only arrays that later bars don't change."""
        opened, prices = self._opened[self._start : self._end], self._prices[:, self._start : self._end]
        opened.flags.writeable = prices.flags.writeable = False
        return BarWindow(opened, *prices)

    def _make_room(self) -> None:
        """Fresh arrays with the bars at their start; windows handed out before keep the old ones."""
        count = len(self)
        opened = np.zeros(2 * self._capacity + 1, dtype=np.int64)
        prices = np.zeros((5, len(opened)))
        opened[:count] = self._opened[self._start : self._end]
        prices[:, :count] = self._prices[:, self._start : self._end]
        self._opened, self._prices = opened, prices
        self._start, self._end = 0, count


def merge_history(stored: Iterable[Candle], fetched: Sequence[Candle]) -> list[Candle]:
    """Bars to seed with, oldest first: what the exchange told, except where a bar is stored, which is final and wins.

    Stored bars from before ``fetched`` are left out: nobody may have watched between them.
    """
    by_time = {bar.opened_at: bar for bar in fetched}
    oldest = min(by_time, default=None)
    by_time |= {bar.opened_at: bar for bar in stored if oldest is not None and bar.opened_at >= oldest}
    return [by_time[opened_at] for opened_at in sorted(by_time)]


@dataclass(slots=True)
class _Trades:
    """What a bar's trades add up to, whatever their order."""

    first: tuple[int, int]
    last: tuple[int, int]
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    @classmethod
    def of(cls, trade: PublicTrade) -> "_Trades":
        key, price = (trade.executed_ms, trade.trade_id), trade.price
        return cls(key, key, price, price, price, price, trade.quantity)

    def add(self, trade: PublicTrade) -> None:
        key, price = (trade.executed_ms, trade.trade_id), trade.price
        if key < self.first:
            self.first, self.open = key, price
        if key > self.last:
            self.last, self.close = key, price
        self.high, self.low = max(self.high, price), min(self.low, price)
        with exact():
            self.volume += trade.quantity


@dataclass(slots=True)
class _Open:
    """A bar that is not final: the best candle of the exchange so far, and the trades."""

    candle: Candle | None = None
    trades: _Trades | None = None


class _RecentIds:
    """Remembers the highest ids that were added, a bounded number of them."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._ids: set[int] = set()
        self._heap: list[int] = []
        self._floor: int | None = None

    def add(self, number: int) -> bool:
        """False when the id was there before, or is too low to know."""
        if number in self._ids or (self._floor is not None and number <= self._floor):
            return False
        self._ids.add(number)
        heapq.heappush(self._heap, number)
        if len(self._heap) > self._keep:
            self._floor = heapq.heappop(self._heap)
            self._ids.remove(self._floor)
        return True


class BarBuilder:
    """Finished bars of one symbol and timeframe out of a feed's events, in order, each exactly once.

    Events may be given before ``seed`` and after ``hold``; nothing is final then. ``figures`` counts what happened:
    ``closed`` (final by the exchange's candle), ``built`` (by grace, from what was seen), ``empty`` (by grace, nothing
    seen), ``late_trades``, ``late_candles``, ``duplicates``, ``corrections`` and ``refused`` (nonsense).
    """

    def __init__(self, symbol: str, timeframe: str, *, grace_ms: int = GRACE_MS) -> None:
        self.symbol = symbol
        self.timeframe = timeframe
        self.figures: Counter[str] = Counter()
        self._step = timeframe_ms(timeframe)
        self._grace_ms = grace_ms
        # When the next bar to become final opened.
        self._next_ms: int | None = None
        self._held = False
        self._last_close: Decimal | None = None
        self._open: dict[int, _Open] = {}
        self._ids = _RecentIds(_REMEMBERED_IDS)
        self._final: OrderedDict[int, Candle] = OrderedDict()

    def hold(self) -> None:
        """Something was missed (the feed was away, events got lost): events are taken, nothing is final until
        ``seed`` is called again."""
        self._held = True

    def seed(self, candles: Sequence[Candle], now_ms: int) -> list[Candle]:
        """Takes history (oldest first; the last may still grow) and answers the bars that are final by it.

        At the start these are for warming up; without any, the first bar built is the first whole one. After ``hold``
        they are what was missed. A hole between the bars known and ``candles`` stays a hole (``BarSeries`` starts anew
        there), one among ``candles`` is a span without trades.
        """
        self._held = False
        bars = self._contiguous([each for each in candles if each.closed])
        bars = [bar for bar in bars if self._next_ms is None or to_millis(bar.opened_at) >= self._next_ms]
        growing = [each for each in candles if not each.closed]
        for bar in bars:
            self._finish(bar)
        if self._next_ms is None:
            whole = self._boundary(now_ms - 1) + self._step
            self._next_ms = to_millis(growing[-1].opened_at) if growing else whole
        for candle in growing:
            self._take_candle(candle)
        self._open = {opened: bar for opened, bar in self._open.items() if opened >= self._next_ms}
        return bars

    def consume(self, event: PublicTrade | CandleUpdate) -> list[Candle]:
        """Takes one event and answers the bars that are final now. Other symbols and timeframes are left alone."""
        if event.symbol != self.symbol:
            return []
        if isinstance(event, PublicTrade):
            self._take_trade(event)
            return []
        if event.timeframe == self.timeframe:
            self._take_candle(_candle(event))
        return self._finish_closed()

    def due(self, now_ms: int) -> list[Candle]:
        """The bars whose grace time is over at ``now_ms`` (the exchange's time). To be called a few times a second.
        ``hold`` it while the feed is away: spans that nobody watched would pass for spans without trades."""
        finished = self._finish_closed()
        while not self._held and self._next_ms is not None and self._next_ms + self._step + self._grace_ms <= now_ms:
            bar = self._built(self._next_ms)
            if bar is None:  # nothing ever traded: there is no price to carry
                self._open.pop(self._next_ms, None)
                self._next_ms += self._step
                continue
            self._finish(bar)
            finished += [bar, *self._finish_closed()]
        return finished

    def _boundary(self, moment_ms: int) -> int:
        return moment_ms // self._step * self._step

    def _take_trade(self, trade: PublicTrade) -> None:
        opened = self._boundary(trade.executed_ms)
        if not (_is_positive(trade.price) and _is_positive(trade.quantity)):
            self.figures["refused"] += 1
        elif self._is_final(opened):
            self.figures["late_trades"] += 1
        elif (bar := self._bar(opened)) is not None:
            if not self._ids.add(trade.trade_id):
                self.figures["duplicates"] += 1
            elif bar.trades is None:
                bar.trades = _Trades.of(trade)
            else:
                bar.trades.add(trade)

    def _take_candle(self, candle: Candle) -> None:
        opened = to_millis(candle.opened_at)
        if opened % self._step or not _is_sound(candle):
            self.figures["refused"] += 1
        elif self._is_final(opened):
            self._take_late(opened, candle)
        elif (bar := self._bar(opened)) is not None:
            bar.candle = self._better(bar.candle, candle)

    def _better(self, known: Candle | None, candle: Candle) -> Candle:
        """The closed one, else the one that has grown further."""
        if known is None or (candle.closed and not known.closed):
            return candle
        if known.closed:
            if candle.closed:
                self.figures["duplicates" if candle == known else "corrections"] += 1
            return known
        return candle if candle.volume >= known.volume else known

    def _take_late(self, opened: int, candle: Candle) -> None:
        """The bar is final: what the exchange says now is compared and counted, once for each different word."""
        if not candle.closed:
            return
        known = self._final.get(opened)
        if known is None:
            self.figures["late_candles"] += 1
        elif candle == known:
            self.figures["duplicates"] += 1
        else:
            self.figures["corrections"] += 1
            self._final[opened] = candle

    def _is_final(self, opened: int) -> bool:
        return self._next_ms is not None and opened < self._next_ms

    def _bar(self, opened: int) -> _Open | None:
        """The bar under way that opened then. Past the bound on those the one furthest ahead gives way; None when
        that is the wanted one."""
        if opened not in self._open and len(self._open) >= _MAX_OPEN:
            self.figures["refused"] += 1
            furthest = max(self._open)
            if opened > furthest:
                return None
            del self._open[furthest]
        return self._open.setdefault(opened, _Open())

    def _finish_closed(self) -> list[Candle]:
        """The next bars in a row whose closed candle is there."""
        finished: list[Candle] = []
        while not self._held and self._next_ms is not None and (bar := self._open.get(self._next_ms)) is not None:
            if bar.candle is None or not bar.candle.closed:
                break
            self.figures["closed"] += 1
            finished.append(bar.candle)
            self._finish(bar.candle)
        return finished

    def _finish(self, bar: Candle) -> None:
        opened = to_millis(bar.opened_at)
        self._open.pop(opened, None)
        self._next_ms = opened + self._step
        self._last_close = bar.close
        self._final[opened] = bar
        if len(self._final) > _REMEMBERED_BARS:
            self._final.popitem(last=False)

    def _built(self, opened: int) -> Candle | None:
        """A bar out of what was seen of it; None when neither it nor any before had a price."""
        bar = self._open.get(opened, _Open())
        trades, candle = bar.trades, bar.candle
        if candle is not None and (trades is None or candle.volume >= trades.volume):
            self.figures["built"] += 1
            return replace(candle, closed=True)
        if trades is not None:
            self.figures["built"] += 1
            return self._make(opened, trades.open, trades.high, trades.low, trades.close, trades.volume)
        if self._last_close is None:
            return None
        self.figures["empty"] += 1
        return self._flat(opened, self._last_close)

    def _flat(self, opened: int, price: Decimal) -> Candle:
        return self._make(opened, price, price, price, price, ZERO)

    def _make(
        self, opened: int, open: Decimal, high: Decimal, low: Decimal, close: Decimal, volume: Decimal
    ) -> Candle:
        return Candle(
            self.symbol, self.timeframe, from_millis(opened), open, high, low, close, volume, closed=True
        )

    def _contiguous(self, bars: Sequence[Candle]) -> list[Candle]:
        """The bars with those put in that an exchange leaves out because nothing traded."""
        step, whole = timedelta(milliseconds=self._step), list(bars[:1])
        for bar in bars[1:]:
            while whole[-1].opened_at + step < bar.opened_at:
                missing = to_millis(whole[-1].opened_at) + self._step
                whole.append(self._flat(missing, whole[-1].close))
            whole.append(bar)
        return whole


def _is_positive(amount: Decimal) -> bool:
    return amount.is_finite() and amount > 0


def _is_sound(candle: Candle) -> bool:
    prices = (candle.low, candle.open, candle.close, candle.high)
    if not all(map(_is_positive, prices)) or not candle.volume.is_finite():
        return False
    return candle.volume >= 0 and candle.low == min(prices) and candle.high == max(prices)


def _candle(event: CandleUpdate) -> Candle:
    return Candle(
        event.symbol, event.timeframe, from_millis(event.opened_ms), event.open, event.high, event.low, event.close,
        event.volume, event.closed,
    )
