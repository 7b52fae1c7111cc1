"""Binance's combined market streams: subscriptions and frames. A venue says where, and which stream carries what."""

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Annotated

import msgspec

from connections.events import CandleUpdate, PublicTrade, Quote
from connections.exchanges.binance.api import BinanceApi
from connections.exchanges.binance.codec import ErrorAnswer
from connections.exchanges.binance.refusals import coded
from connections.exchanges.call import Purpose
from connections.exchanges.contract import Confirmed, DepthDelta, Ending, Levels, MarketFrame, Refused
from connections.exchanges.wire import Symbols, TradeEvent, amount, decode, named, price, renamed, trade_told
from connections.gateways import UnexpectedShape

_SHUTDOWN = "serverShutdown"


class _Envelope(msgspec.Struct):
    """A combined stream's frame, an answer to a request, or the announcement of the end."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    id: int | None = None
    error: ErrorAnswer | None = None
    e: str = ""


class QuoteEvent(msgspec.Struct):
    symbol: str
    bid: Decimal
    bid_size: Decimal
    ask: Decimal
    ask_size: Decimal


class DepthEvent(msgspec.Struct):
    symbol: str
    first_id: Annotated[int, msgspec.Meta(ge=0)]
    last_id: Annotated[int, msgspec.Meta(ge=0)]
    bids: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, str], ...]
    previous_id: int | None = None


class CandleRow(msgspec.Struct):
    opened_ms: int
    timeframe: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    closed: bool


class CandleEvent(msgspec.Struct):
    symbol: str
    candle: CandleRow


MARKET_ROWS: Mapping[str, type[msgspec.Struct]] = {
    "quote_event": QuoteEvent, "trade_event": TradeEvent, "depth_event": DepthEvent, "candle": CandleRow,
    "candle_event": CandleEvent,
}  # fmt: skip


class BinanceMarketDialect:
    """See connections.exchanges.contract.MarketDialect."""

    probe = ""
    states_all = False
    whole_books = False

    def __init__(self, url: str, api: BinanceApi, templates: Mapping[str, str], symbols: Symbols) -> None:
        """``templates`` are the names of the streams at this address, by what they tell."""
        self.url = url
        self.messages_a_second = api.limits.stream_messages_a_second
        self.lifetime = float(api.limits.socket_seconds)
        self._symbols = symbols
        self._templates = templates
        self._timeframes = api.timeframes.all
        kinds = named(MARKET_ROWS, api.fields)
        self._quote_kind, self._trade_kind = kinds["quote_event"], kinds["trade_event"]
        self._delta_kind, self._candle_kind = kinds["depth_event"], kinds["candle_event"]
        # The same delta from a venue that sends its numbers as numbers.
        self._numeric_kind = renamed(DepthEvent, api.fields["depth_event"], bids=Levels, asks=Levels)
        tellers: dict[str, Callable[[msgspec.Raw, int], MarketFrame]] = {
            "quote": self._quote, "trade": self._trade, "depth": self._delta, "candle": self._candle,
        }  # fmt: skip
        self._readers = {_kind(template): tellers[told] for told, template in templates.items()}

    def streams(self, symbol: str, timeframes: Collection[str]) -> Collection[str]:
        spelling = self._symbols.spelling(symbol).lower()
        found = set()
        for told, template in self._templates.items():
            if told == "candle":
                known = [timeframe for timeframe in timeframes if timeframe in self._timeframes]
                found |= {template.format(symbol=spelling, timeframe=timeframe) for timeframe in known}
            else:
                found.add(template.format(symbol=spelling))
        return found

    def subscribe(self, request_id: int, streams: Collection[str]) -> str:
        return _message("SUBSCRIBE", request_id, streams)

    def unsubscribe(self, request_id: int, streams: Collection[str]) -> str:
        return _message("UNSUBSCRIBE", request_id, streams)

    def read(self, frame: str | bytes, seen_ns: int) -> MarketFrame | None:
        envelope = decode(frame, _Envelope)
        if envelope.stream:
            reader = self._readers.get(_kind(envelope.stream))
            return reader(envelope.data, seen_ns) if reader is not None else None
        if envelope.error is not None:
            error = envelope.error
            return Refused(envelope.id, error.msg, coded(error.code, error.msg, Purpose.READ))
        if envelope.e == _SHUTDOWN:
            return Ending()
        return Confirmed(envelope.id) if envelope.id is not None else None

    def _quote(self, data: msgspec.Raw, seen_ns: int) -> Quote:
        row = decode(data, self._quote_kind)
        return Quote(
            self._symbols.name(row.symbol), seen_ns, price(row.bid), amount(row.bid_size), price(row.ask),
            amount(row.ask_size),
        )  # fmt: skip

    def _trade(self, data: msgspec.Raw, seen_ns: int) -> PublicTrade:
        return trade_told(decode(data, self._trade_kind), self._symbols, seen_ns)

    def _delta(self, data: msgspec.Raw, seen_ns: int) -> DepthDelta:
        """Its levels stay text: a book keeps most of them without ever reading them."""
        try:
            row = decode(data, self._delta_kind)
        except UnexpectedShape:
            row = decode(data, self._numeric_kind)
        if row.first_id > row.last_id:
            raise UnexpectedShape("a depth update ends before it begins")
        symbol = self._symbols.name(row.symbol)
        return DepthDelta(symbol, seen_ns, row.first_id, row.last_id, row.bids, row.asks, row.previous_id)

    def _candle(self, data: msgspec.Raw, seen_ns: int) -> CandleUpdate:
        event = decode(data, self._candle_kind)
        row = event.candle
        return CandleUpdate(
            self._symbols.name(event.symbol), seen_ns, row.timeframe, row.opened_ms, price(row.open), price(row.high),
            price(row.low), price(row.close), amount(row.volume), row.closed,
        )  # fmt: skip


def _kind(stream: str) -> str:
    """``btcusdt@depth@100ms`` → ``depth``, ``btcusdt@kline_1m`` → ``kline``."""
    return stream.partition("@")[2].partition("@")[0].partition("_")[0]


def _message(method: str, request_id: int, streams: Collection[str]) -> str:
    return msgspec.json.encode({"method": method, "params": sorted(streams), "id": request_id}).decode()
