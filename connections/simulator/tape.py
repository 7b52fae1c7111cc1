"""What has traded: trades, aggregate trades and candles of one symbol, in the exchange's own time."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from connections.simulator.matching import ZERO, Match, Order, Side

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
# Length, and what is added so that weeks begin on Monday (the epoch was a Thursday). Months have no length.
INTERVALS: dict[str, int] = {
    "1s": SECOND, "1m": MINUTE, "3m": 3 * MINUTE, "5m": 5 * MINUTE, "15m": 15 * MINUTE, "30m": 30 * MINUTE,
    "1h": HOUR, "2h": 2 * HOUR, "4h": 4 * HOUR, "6h": 6 * HOUR, "8h": 8 * HOUR, "12h": 12 * HOUR,
    "1d": DAY, "3d": 3 * DAY, "1w": 7 * DAY, "1M": 0,
}  # fmt: skip
_WEEK_SHIFT = 3 * DAY
KEPT_TRADES = 1000
KEPT_BARS = 1500


def open_time(interval: str, moment_ms: int) -> int:
    """The UTC boundary at which the bar holding `moment_ms` began."""
    if interval == "1M":
        moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
        return int(moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()) * 1000
    shift = _WEEK_SHIFT if interval == "1w" else 0
    return (moment_ms + shift) // INTERVALS[interval] * INTERVALS[interval] - shift


def next_open_time(interval: str, opened_ms: int) -> int:
    """The boundary after the one given."""
    if interval == "1M":
        inside_next = datetime.fromtimestamp(opened_ms / 1000, UTC) + timedelta(days=32)
        return open_time("1M", int(inside_next.timestamp()) * 1000)
    return opened_ms + INTERVALS[interval]


@dataclass(frozen=True, slots=True)
class Trade:
    trade_id: int
    price: Decimal
    quantity: Decimal
    quote: Decimal
    time_ms: int
    buyer_is_maker: bool


@dataclass(frozen=True, slots=True)
class AggregateTrade:
    """Consecutive trades of one taker at one price."""

    aggregate_id: int
    price: Decimal
    quantity: Decimal
    first_id: int
    last_id: int
    time_ms: int
    buyer_is_maker: bool


@dataclass(slots=True)
class Bar:
    """A candle. `first_id` is -1 while nothing has traded in it."""

    opened_ms: int
    closes_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = ZERO
    quote_volume: Decimal = ZERO
    trades: int = 0
    taker_volume: Decimal = ZERO
    taker_quote: Decimal = ZERO
    first_id: int = -1
    last_id: int = -1

    @classmethod
    def flat(cls, interval: str, opened_ms: int, price: Decimal) -> "Bar":
        return cls(opened_ms, next_open_time(interval, opened_ms) - 1, price, price, price, price)

    def add(self, trade: Trade) -> None:
        self._move(trade.price, trade.price, trade.price, trade.price, trade.trade_id, trade.trade_id)
        self.trades += 1
        self.volume += trade.quantity
        self.quote_volume += trade.quote
        if not trade.buyer_is_maker:
            self.taker_volume += trade.quantity
            self.taker_quote += trade.quote

    def merge(self, later: "Bar") -> None:
        """Adds a shorter bar that follows; bars without trades carry nothing."""
        if not later.trades:
            return
        self._move(later.open, later.high, later.low, later.close, later.first_id, later.last_id)
        self.trades += later.trades
        self.volume += later.volume
        self.quote_volume += later.quote_volume
        self.taker_volume += later.taker_volume
        self.taker_quote += later.taker_quote

    def _move(self, first: Decimal, high: Decimal, low: Decimal, last: Decimal, first_id: int, last_id: int) -> None:
        if not self.trades:
            self.open, self.high, self.low, self.first_id = first, high, low, first_id
        elif high > self.high:
            self.high = high
        if low < self.low:
            self.low = low
        self.close, self.last_id = last, last_id


class Candles:
    """The bars of one interval: closed ones and the current one. Empty bars repeat the last price."""

    def __init__(self, interval: str, closed: Iterable[Bar], current: Bar) -> None:
        self.interval = interval
        self.closed: deque[Bar] = deque(closed, maxlen=KEPT_BARS)
        self.current = current

    def roll(self, now_ms: int) -> list[Bar]:
        """Closes every bar that ended before `now_ms` and returns them, oldest first."""
        ended: list[Bar] = []
        while now_ms > self.current.closes_ms:
            ended.append(self.current)
            self.closed.append(self.current)
            self.current = Bar.flat(self.interval, self.current.closes_ms + 1, self.current.close)
        return ended

    def all(self) -> list[Bar]:
        return [*self.closed, self.current]


class Tape:
    """Trades of one symbol and the candles made of them."""

    def __init__(self, symbol: str, candles: dict[str, Candles], next_trade_id: int = 1) -> None:
        self.symbol = symbol
        self.candles = candles
        self.trades: deque[Trade] = deque(maxlen=KEPT_TRADES)
        self.aggregates: deque[AggregateTrade] = deque(maxlen=KEPT_TRADES)
        self.ended: list[tuple[str, Bar]] = []
        self._next_trade_id = next_trade_id
        self._next_aggregate_id = next_trade_id

    @classmethod
    def blank(cls, symbol: str, price: Decimal, now_ms: int) -> "Tape":
        """A tape without a past: its bars begin flat at `price`."""
        bars = {interval: Bar.flat(interval, open_time(interval, now_ms), price) for interval in INTERVALS}
        return cls(symbol, {interval: Candles(interval, (), bar) for interval, bar in bars.items()})

    @property
    def last_price(self) -> Decimal:
        return self.trades[-1].price if self.trades else self.candles["1m"].current.close

    def record(self, matches: list[Match], now_ms: int) -> tuple[list[Trade], list[AggregateTrade]]:
        """Adds what one action traded; gives it in order, single and aggregated."""
        self.roll(now_ms)
        trades = [self._trade(match, now_ms) for match in matches]
        for trade in trades:
            self.trades.append(trade)
            for candles in self.candles.values():
                candles.current.add(trade)
        aggregates = self._aggregate(trades, [match.taker for match in matches])
        self.aggregates += aggregates
        return trades, aggregates

    def roll(self, now_ms: int) -> None:
        """Lets time pass: ended bars are closed and wait in `ended` for whoever publishes them."""
        for interval, candles in self.candles.items():
            self.ended.extend((interval, bar) for bar in candles.roll(now_ms))

    def drain_ended(self) -> list[tuple[str, Bar]]:
        ended, self.ended = self.ended, []
        return ended

    def day(self) -> tuple[Bar, int]:
        """The last 24 hours as one bar, and when they began."""
        minutes = self.candles["1m"].all()[-1440:]
        first = minutes[0]
        whole = Bar(first.opened_ms, minutes[-1].closes_ms, first.open, first.high, first.low, first.close)
        for bar in minutes:
            whole.merge(bar)
        return whole, first.opened_ms

    def average_price(self, minutes: int) -> Decimal:
        """Volume-weighted over the last minutes; the last price when nothing traded."""
        bars = self.candles["1m"].all()[-minutes:]
        volume = sum((bar.volume for bar in bars), ZERO)
        return sum((bar.quote_volume for bar in bars), ZERO) / volume if volume else self.last_price

    def _trade(self, match: Match, now_ms: int) -> Trade:
        trade_id, self._next_trade_id = self._next_trade_id, self._next_trade_id + 1
        buyer_is_maker = match.taker_side is Side.SELL
        return Trade(trade_id, match.price, match.quantity, match.quote, now_ms, buyer_is_maker)

    def _aggregate(self, trades: list[Trade], takers: list[Order | None]) -> list[AggregateTrade]:
        aggregates: list[AggregateTrade] = []
        start = 0
        for index in range(1, len(trades) + 1):
            if index < len(trades) and trades[index].price == trades[start].price and takers[index] is takers[start]:
                continue
            aggregates.append(self._one_aggregate(trades[start:index]))
            start = index
        return aggregates

    def _one_aggregate(self, run: list[Trade]) -> AggregateTrade:
        first, last = run[0], run[-1]
        quantity = sum((trade.quantity for trade in run), ZERO)
        aggregate_id, self._next_aggregate_id = self._next_aggregate_id, self._next_aggregate_id + 1
        return AggregateTrade(
            aggregate_id, first.price, quantity, first.trade_id, last.trade_id, first.time_ms, first.buyer_is_maker
        )
