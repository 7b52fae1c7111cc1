"""A venue's market streams: what is published, and who has subscribed. The venue says how its events look."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import msgspec

from connections.simulator.accounts import Account
from connections.simulator.binance import market_payloads
from connections.simulator.binance.market_api import book_quote
from connections.simulator.binance.market_payloads import Json
from connections.simulator.exchange import AccountChange, Exchange, Market
from connections.simulator.faults import FaultBox, FaultKind, Occasion
from connections.simulator.matching import Side
from connections.simulator.sockets import Socket
from connections.simulator.tape import INTERVALS, AggregateTrade, Bar, Trade

_TICK_MS = 100
_encode = msgspec.json.Encoder().encode
_Change = tuple[Side, Decimal]


@dataclass(frozen=True, slots=True)
class DepthChange:
    """Levels of a book that changed with its updates ``first`` to ``last``, as (side, price, quantity now).

    ``previous`` is the last update that the change before this one told.
    """

    symbol: str
    first: int
    last: int
    previous: int
    levels: list[tuple[Side, Decimal, Decimal]]
    now_ms: int

    def side(self, side: Side) -> list[list[str]]:
        return market_payloads.levels([(price, quantity) for where, price, quantity in self.levels if where is side])


@dataclass(frozen=True, slots=True)
class EventShapes:
    """How a venue writes what all venues tell. ``each_second`` maps a stream (after the @) to its event."""

    depth: Callable[[DepthChange], Json]
    top: Callable[[Market, Json, int], Json]
    partial_depth: Callable[[Market, int, int], Json]
    each_second: Mapping[str, Callable[[Market, int], Json]]


class Subscriber:
    """A socket, whether it wants each event wrapped with its stream's name, and what its address carries."""

    def __init__(self, socket: Socket, combined: bool, carries: Callable[[str], bool] = lambda _stream: True) -> None:
        self.socket = socket
        self.combined = combined
        self.carries = carries
        self.streams: dict[str, None] = {}


class DepthFeed:
    """One symbol's depth deltas at one speed: which levels changed since the last one."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._last_id = market.book.update_id
        self._changed: set[_Change] = set()

    def add(self, changed: set[_Change]) -> None:
        self._changed |= changed

    def next_change(self, now_ms: int) -> DepthChange | None:
        """What changed since the last one, None if nothing did. Numbers go on without a hole."""
        book = self._market.book
        if book.update_id == self._last_id:
            return None
        previous, self._last_id = self._last_id, book.update_id
        changed, self._changed = self._changed, set()
        levels = [(side, price, book.total_at(side, price)) for side, price in changed]
        return DepthChange(self._market.instrument.symbol, previous + 1, book.update_id, previous, levels, now_ms)


class MarketStreams:
    """Publishes everything public. An event is encoded once, whoever gets it."""

    def __init__(self, exchange: Exchange, faults: FaultBox, shapes: EventShapes) -> None:
        self._exchange = exchange
        self._faults = faults
        self._shapes = shapes
        self._subscribers: dict[str, set[Subscriber]] = defaultdict(set)
        self._depth = {
            (symbol, speed): DepthFeed(market) for symbol, market in exchange.markets.items() for speed in (100, 1000)
        }
        self._top: dict[str, Json] = {}
        self._shown_trades: dict[tuple[str, str], int] = {}
        self._second = exchange.now_ms() // 1000
        exchange.listeners.append(self)

    # subscribing

    def subscribe(self, subscriber: Subscriber, streams: list[str]) -> None:
        for stream in streams:
            subscriber.streams[stream] = None
            if subscriber.carries(stream):
                self._subscribers[stream].add(subscriber)

    def unsubscribe(self, subscriber: Subscriber, streams: list[str]) -> None:
        for stream in streams:
            subscriber.streams.pop(stream, None)
            self._subscribers[stream].discard(subscriber)

    # listening to the exchange

    def market_moved(self, symbol: str, trades: list[Trade], aggregates: list[AggregateTrade]) -> None:
        market = self._exchange.markets[symbol]
        changed = market.book.drain_changes()
        if changed:
            for speed in (100, 1000):
                self._depth[symbol, speed].add(changed)
        now_ms, name = self._exchange.now_ms(), symbol.lower()
        for trade in trades:
            self._publish(f"{name}@trade", partial(market_payloads.trade_event, symbol, trade, now_ms))
        for run in aggregates:
            self._publish(f"{name}@aggTrade", partial(market_payloads.aggregate_event, symbol, run, now_ms))
        if changed:
            self._publish_top(market, f"{name}@bookTicker")

    def account_changed(self, account: Account, change: AccountChange) -> None:
        """Nobody's business here."""

    def funds_moved(self, account: Account, asset: str, amount: Decimal) -> None:
        """Nobody's business here."""

    # the clock

    async def run(self) -> None:
        """Publishes what has its own rhythm, for ever: deltas each 100 ms, candles and tickers each second."""
        while True:
            now_ms = self._exchange.now_ms()
            await asyncio.sleep((_TICK_MS - now_ms % _TICK_MS + 1) / 1000)
            self.tick(self._exchange.now_ms())

    def tick(self, now_ms: int) -> None:
        """What is due now: the deltas, and what each second brings once in it, however late this comes."""
        second, before = now_ms // 1000, self._second
        self._second = second
        for symbol, market in self._exchange.markets.items():
            self._publish_depth(symbol, 100, now_ms)
            if second != before:
                self._publish_depth(symbol, 1000, now_ms)
                self._publish_second(market, now_ms, with_open_bars=second % 2 == 0)

    def _publish_second(self, market: Market, now_ms: int, with_open_bars: bool) -> None:
        symbol, name = market.instrument.symbol, market.instrument.symbol.lower()
        market.tape.roll(now_ms)
        for interval, bar in market.tape.drain_ended():
            self._publish_bar(symbol, interval, bar, True, now_ms)
        if with_open_bars:
            self._publish_open_bars(market, now_ms)
        for stream, shape in self._shapes.each_second.items():
            self._publish(f"{name}@{stream}", partial(shape, market, now_ms))
        self._publish_partial(market, "")

    def _publish_open_bars(self, market: Market, now_ms: int) -> None:
        symbol = market.instrument.symbol
        for interval in INTERVALS:
            bar = market.tape.candles[interval].current
            if interval != "1s" and self._shown_trades.get((symbol, interval)) != bar.last_id:
                self._shown_trades[symbol, interval] = bar.last_id
                self._publish_bar(symbol, interval, bar, False, now_ms)

    def _publish_bar(self, symbol: str, interval: str, bar: Bar, closed: bool, now_ms: int) -> None:
        stream = f"{symbol.lower()}@kline_{interval}"
        self._publish(stream, partial(market_payloads.kline_event, symbol, interval, bar, closed, now_ms))

    def _publish_depth(self, symbol: str, speed: int, now_ms: int) -> None:
        change = self._depth[symbol, speed].next_change(now_ms)
        if change is None:
            return
        name = symbol.lower()
        streams = [f"{name}@depth@100ms"] if speed == 100 else [f"{name}@depth", f"{name}@depth@1000ms"]
        for stream in streams:
            if self._has(stream) and self._faults.strike(FaultKind.DEPTH_GAP, Occasion(stream, "", symbol)) is None:
                self._publish(stream, partial(self._shapes.depth, change))
        if speed == 100:
            self._publish_partial(self._exchange.markets[symbol], "@100ms")

    def _publish_partial(self, market: Market, suffix: str) -> None:
        name = market.instrument.symbol.lower()
        for levels in (5, 10, 20):
            shape = partial(self._shapes.partial_depth, market, levels, self._exchange.now_ms())
            self._publish(f"{name}@depth{levels}{suffix}", shape)

    def _publish_top(self, market: Market, stream: str) -> None:
        if not self._has(stream):
            return
        quote = book_quote(market)
        if quote == self._top.get(stream) or not (market.book.best(Side.BUY) and market.book.best(Side.SELL)):
            return
        self._top[stream] = quote
        self._publish(stream, partial(self._shapes.top, market, quote, self._exchange.now_ms()))

    def _has(self, stream: str) -> bool:
        return bool(self._subscribers.get(stream))

    def _publish(self, stream: str, make: Callable[[], Json]) -> None:
        subscribers = self._subscribers.get(stream)
        if not subscribers:
            return
        raw = _encode(make()).decode()
        wrapped = f'{{"stream":"{stream}","data":{raw}}}'
        for subscriber in subscribers:
            subscriber.socket.send(wrapped if subscriber.combined else raw)
