"""A won exchange's public socket: trades as they happen, changed books ten times a second, candles each second."""

import asyncio

from connections.simulator.accounts import Account
from connections.simulator.exchange import AccountChange, Exchange, Market
from connections.simulator.faults import FaultBox, FaultKind, Occasion
from connections.simulator.krw import frames
from connections.simulator.krw.payloads import Json
from connections.simulator.krw.subscription import Wanted
from connections.simulator.krw.wire import Wire
from connections.simulator.sockets import Socket
from connections.simulator.tape import AggregateTrade, Trade

_TICK_S = 0.1
_CANDLES = {
    "candle.1m": "1m", "candle.3m": "3m", "candle.5m": "5m", "candle.15m": "15m", "candle.30m": "30m",
    "candle.60m": "1h", "candle.240m": "4h",
}  # fmt: skip


class Subscriber:
    """A socket and what it wants."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.wanted: Wanted | None = None

    def hears(self, kind: str, symbol: str) -> bool:
        wanted = self.wanted
        return wanted is not None and symbol in wanted.markets.get(kind, ())

    def send(self, frame: Json) -> None:
        assert self.wanted is not None  # noqa: S101  # who wants nothing is sent nothing
        self.socket.send(frames.text(frame, self.wanted.short))


class KrwStreams:
    """Publishes everything public."""

    def __init__(self, wire: Wire, exchange: Exchange, faults: FaultBox) -> None:
        self.types = ("trade", "orderbook", *(_CANDLES if wire.has_candle_streams else ()))
        self._exchange = exchange
        self._faults = faults
        self._subscribers: set[Subscriber] = set()
        self._changed: set[str] = set()
        self._shown: dict[tuple[str, str], tuple[int, int]] = {}
        self._second = 0
        exchange.listeners.append(self)

    def add(self, subscriber: Subscriber) -> None:
        self._subscribers.add(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        self._subscribers.discard(subscriber)

    def want(self, subscriber: Subscriber, wanted: Wanted) -> None:
        """Replaces what a socket wants, and shows it how things are."""
        subscriber.wanted = wanted
        for kind, symbols in wanted.markets.items():
            for symbol in symbols if kind not in wanted.only_new else ():
                frame = self._now(kind, self._exchange.markets[symbol])
                if frame is not None:
                    subscriber.send(frame)

    # listening to the exchange

    def market_moved(self, symbol: str, trades: list[Trade], aggregates: list[AggregateTrade]) -> None:
        if self._exchange.markets[symbol].book.drain_changes():
            self._changed.add(symbol)
        for trade in trades:
            self._publish("trade", symbol, frames.trade(symbol, trade))

    def account_changed(self, account: Account, change: AccountChange) -> None:
        """Nobody's business here."""

    def funds_moved(self, account: Account, asset: str, amount: object) -> None:
        """Nobody's business here."""

    async def run(self) -> None:
        """Publishes what has its own rhythm, for ever."""
        while True:
            await asyncio.sleep(_TICK_S)
            self.tick(self._exchange.now_ms())

    def tick(self, now_ms: int) -> None:
        changed, self._changed = self._changed, set()
        for symbol in changed:
            if not any(subscriber.hears("orderbook", symbol) for subscriber in self._subscribers):
                continue
            if self._faults.strike(FaultKind.DEPTH_GAP, Occasion("orderbook", "", symbol)) is None:
                self._publish("orderbook", symbol, frames.book(self._exchange.markets[symbol], now_ms))
        if now_ms // 1000 != self._second:
            self._second = now_ms // 1000
            for market in self._exchange.markets.values():
                self._publish_candles(market, now_ms)

    # inside

    def _publish_candles(self, market: Market, now_ms: int) -> None:
        """Candles that have grown; one in which nothing traded isn't told."""
        symbol = market.instrument.symbol
        market.tape.roll(now_ms)
        market.tape.drain_ended()
        for kind, interval in _CANDLES.items():
            bar = market.tape.candles[interval].current
            seen = (bar.opened_ms, bar.last_id)
            if kind in self.types and bar.trades and self._shown.get((symbol, kind)) != seen:
                self._shown[symbol, kind] = seen
                self._publish(kind, symbol, frames.candle(kind, symbol, bar, now_ms))

    def _publish(self, kind: str, symbol: str, frame: Json) -> None:
        for subscriber in self._subscribers:
            if subscriber.hears(kind, symbol):
                subscriber.send(frame)

    def _now(self, kind: str, market: Market) -> Json | None:
        symbol, now_ms = market.instrument.symbol, self._exchange.now_ms()
        if kind == "orderbook":
            return frames.book(market, now_ms, "SNAPSHOT")
        if kind == "trade":
            trades = market.tape.trades
            return frames.trade(symbol, trades[-1], "SNAPSHOT") if trades else None
        market.tape.roll(now_ms)
        return frames.candle(kind, symbol, market.tape.candles[_CANDLES[kind]].current, now_ms, "SNAPSHOT")
