"""Binance spot's combined market stream: subscriptions and frames."""

from collections.abc import Callable, Collection
from decimal import Decimal

import msgspec

from connections.events import CandleUpdate, PublicTrade, Quote
from connections.exchanges.binance_spot.api import API
from connections.exchanges.binance_spot.codec import ErrorAnswer, Symbols, amount, amounts, check_field_names, decode
from connections.exchanges.binance_spot.refusals import Purpose, coded
from connections.exchanges.contract import Confirmed, DepthDelta, Ending, Levels, MarketFrame, Refused
from connections.gateways import UnexpectedShape


class _Envelope(msgspec.Struct):
    """A combined stream's frame, an answer to a request, or the announcement of the end."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    id: int | None = None
    error: ErrorAnswer | None = None
    e: str = ""


class _Quote(msgspec.Struct, rename=API.fields["quote_event"]):
    symbol: str
    bid: Decimal
    bid_size: Decimal
    ask: Decimal
    ask_size: Decimal


class _Trade(msgspec.Struct, rename=API.fields["trade_event"]):
    symbol: str
    trade_id: int
    price: Decimal
    quantity: Decimal
    executed_ms: int


class _Delta(msgspec.Struct, rename=API.fields["depth_event"]):
    symbol: str
    first_id: int
    last_id: int
    bids: Levels
    asks: Levels


class _Candle(msgspec.Struct, rename=API.fields["candle"]):
    opened_ms: int
    timeframe: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    closed: bool


class _CandleEvent(msgspec.Struct, rename=API.fields["candle_event"]):
    symbol: str
    candle: _Candle


check_field_names({
    "quote_event": _Quote, "trade_event": _Trade, "depth_event": _Delta, "candle": _Candle,
    "candle_event": _CandleEvent,
})  # fmt: skip

_SHUTDOWN = "serverShutdown"


class SpotMarketDialect:
    """See connections.exchanges.contract.MarketDialect."""

    messages_a_second = API.limits.stream_messages_a_second
    lifetime = float(API.limits.socket_seconds)

    def __init__(self, base: str, symbols: Symbols) -> None:
        self.url = base + API.paths.stream
        self._symbols = symbols
        self._readers: dict[str, Callable[[msgspec.Raw, int], MarketFrame]] = {
            "bookTicker": self._quote,
            "trade": self._trade,
            "depth": self._delta,
            "kline": self._candle,
        }

    def streams(self, symbol: str, timeframes: Collection[str]) -> Collection[str]:
        spelling = self._symbols.spelling(symbol).lower()
        names = API.streams
        plain_ones = {name.format(symbol=spelling) for name in (names.quote, names.trade, names.depth)}
        return plain_ones | {
            names.candle.format(symbol=spelling, timeframe=timeframe)
            for timeframe in timeframes
            if timeframe in API.timeframes.all
        }

    def subscribe(self, request_id: int, streams: Collection[str]) -> str:
        return _message("SUBSCRIBE", request_id, streams)

    def unsubscribe(self, request_id: int, streams: Collection[str]) -> str:
        return _message("UNSUBSCRIBE", request_id, streams)

    def read(self, frame: str | bytes, seen_ns: int) -> MarketFrame | None:
        envelope = decode(frame, _Envelope)
        if envelope.stream:
            kind = envelope.stream.partition("@")[2].partition("@")[0].partition("_")[0]
            reader = self._readers.get(kind)
            return reader(envelope.data, seen_ns) if reader is not None else None
        if envelope.error is not None:
            error = envelope.error
            return Refused(envelope.id, error.msg, coded(error.code, error.msg, Purpose.READ))
        if envelope.e == _SHUTDOWN:
            return Ending()
        return Confirmed(envelope.id) if envelope.id is not None else None

    def _quote(self, data: msgspec.Raw, seen_ns: int) -> Quote:
        row = decode(data, _Quote)
        return Quote(
            self._symbols.name(row.symbol), seen_ns, _price(row.bid), amount(row.bid_size), _price(row.ask),
            amount(row.ask_size),
        )  # fmt: skip

    def _trade(self, data: msgspec.Raw, seen_ns: int) -> PublicTrade:
        row = decode(data, _Trade)
        symbol = self._symbols.name(row.symbol)
        return PublicTrade(symbol, seen_ns, row.trade_id, _price(row.price), amount(row.quantity), row.executed_ms)

    def _delta(self, data: msgspec.Raw, seen_ns: int) -> DepthDelta:
        row = decode(data, _Delta)
        symbol = self._symbols.name(row.symbol)
        return DepthDelta(symbol, seen_ns, row.first_id, row.last_id, amounts(row.bids), amounts(row.asks))

    def _candle(self, data: msgspec.Raw, seen_ns: int) -> CandleUpdate:
        event = decode(data, _CandleEvent)
        row = event.candle
        return CandleUpdate(
            self._symbols.name(event.symbol), seen_ns, row.timeframe, row.opened_ms, _price(row.open), _price(row.high),
            _price(row.low), _price(row.close), amount(row.volume), row.closed,
        )  # fmt: skip


def _price(value: Decimal) -> Decimal:
    """The price. Raises UnexpectedShape for what can't be one."""
    if not value.is_finite() or value <= 0:
        raise UnexpectedShape("the exchange sent a price that can't be one")
    return value


def _message(method: str, request_id: int, streams: Collection[str]) -> str:
    return msgspec.json.encode({"method": method, "params": sorted(streams), "id": request_id}).decode()
