"""A won exchange's public socket: one message states all that is wanted, and each book comes whole."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from decimal import Decimal

import msgspec

from connections.events import CandleUpdate, PublicTrade
from connections.exchanges.call import Purpose
from connections.exchanges.contract import Alive, MarketFrame, Refused, WholeDepth
from connections.exchanges.krw import refusals
from connections.exchanges.krw.api import KrwApi
from connections.exchanges.krw.codec import BookUnit, opened_at, sides_of
from connections.exchanges.krw.refusals import Problem
from connections.exchanges.wire import Symbols, TradeEvent, amount, decode, named, price, trade_told
from desproject.lib.clock import to_millis

TRADES, BOOKS = "trade", "orderbook"
PROBE = "PING"
_TICKET = "des"


class Head(msgspec.Struct):
    """What every frame says first: a kind of event, an answer to the probe, or a refusal."""

    kind: str = ""
    status: str = ""
    error: Problem | None = None


class BookEvent(msgspec.Struct):
    symbol: str
    as_of_ms: int
    units: tuple[BookUnit, ...]


class CandleEvent(msgspec.Struct):
    symbol: str
    # UTC, without saying so.
    opened_at: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


MARKET_ROWS: Mapping[str, type[msgspec.Struct]] = {
    "public_event": Head, "trade_event": TradeEvent, "book_event_unit": BookUnit, "book_event": BookEvent,
    "candle_event": CandleEvent,
}  # fmt: skip


class KrwMarketDialect:
    """See connections.exchanges.contract.MarketDialect. A stream is ``<type>:<market>``."""

    probe = PROBE
    states_all = True
    whole_books = True

    def __init__(self, api: KrwApi, base: str, symbols: Symbols) -> None:
        self.url = base + api.paths.public_socket
        self.messages_a_second = api.limits.stream_messages_a_second
        self.lifetime = float(api.limits.socket_seconds)
        self._symbols = symbols
        self._format = api.formats.public
        self._only_new = api.formats.only_new
        self._candle_streams = api.candle_streams
        self._timeframes = {kind: timeframe for timeframe, kind in api.candle_streams.items()}
        kinds = named(MARKET_ROWS, api.fields)
        self._head, self._trade_event = kinds["public_event"], kinds["trade_event"]
        self._book_event, self._candle_event = kinds["book_event"], kinds["candle_event"]

    def streams(self, symbol: str, timeframes: Collection[str]) -> Collection[str]:
        market = self._symbols.spelling(symbol)
        candles = {self._candle_streams[wanted] for wanted in timeframes if wanted in self._candle_streams}
        return {f"{kind}:{market}" for kind in {TRADES, BOOKS} | candles}

    def subscribe(self, request_id: int, streams: Collection[str]) -> str:
        """States all streams. Old trades are not asked for: they would look like new ones."""
        markets: dict[str, list[str]] = defaultdict(list)
        for stream in sorted(streams):
            kind, _, market = stream.partition(":")
            markets[kind].append(market)
        message: list[dict[str, object]] = [{"ticket": f"{_TICKET}-{request_id}"}]
        for kind, codes in markets.items():
            only_new = {self._only_new: True} if kind == TRADES else {}
            message.append({"type": kind, "codes": codes, **only_new})
        message.append({"format": self._format})
        return msgspec.json.encode(message).decode()

    def unsubscribe(self, request_id: int, streams: Collection[str]) -> str:
        """Never asked for: what isn't stated any more has ended."""
        raise NotImplementedError("a subscription states all streams")

    def read(self, frame: str | bytes, seen_ns: int) -> MarketFrame | None:
        head: Head = decode(frame, self._head)
        if head.kind == BOOKS:
            return self._book(frame, seen_ns)
        if head.kind == TRADES:
            return self._trade(frame, seen_ns)
        if head.kind in self._timeframes:
            return self._candle(frame, seen_ns, self._timeframes[head.kind])
        return read_answer(head)

    def _trade(self, frame: str | bytes, seen_ns: int) -> PublicTrade:
        return trade_told(decode(frame, self._trade_event), self._symbols, seen_ns)

    def _book(self, frame: str | bytes, seen_ns: int) -> WholeDepth:
        row: BookEvent = decode(frame, self._book_event)
        bids, asks = sides_of(row.units)
        return WholeDepth(self._symbols.name(row.symbol), seen_ns, row.as_of_ms, bids, asks)

    def _candle(self, frame: str | bytes, seen_ns: int, timeframe: str) -> CandleUpdate:
        """As far as it has grown: no message says that a candle has ended."""
        row: CandleEvent = decode(frame, self._candle_event)
        return CandleUpdate(
            self._symbols.name(row.symbol), seen_ns, timeframe, to_millis(opened_at(row.opened_at)), price(row.open),
            price(row.high), price(row.low), price(row.close), amount(row.volume), False,
        )  # fmt: skip


def read_answer(head: Head) -> Alive | Refused | None:
    """What the server itself says, on either kind of socket."""
    if head.error is not None:
        name, message = str(head.error.name), head.error.message
        return Refused(None, f"{name}: {message}", refusals.named(name, message, Purpose.READ))
    return Alive() if head.status == "UP" else None
