"""Binance's bodies as DES's types, by the names of a venue's api.toml. Knows no sockets; unknown fields are tolerated,
wrong ones are not."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

import msgspec

from connections.exchanges.binance.api import BinanceApi
from connections.exchanges.contract import DepthSnapshot, Levels
from connections.exchanges.wire import Symbols, amount, amounts, decode, decode_all, known, named
from connections.gateways import (
    AccountSnapshot,
    Candle,
    Fill,
    KeyPermissions,
    OrderReport,
    OrderType,
    ReportStatus,
    Side,
    SymbolRules,
    TimeInForce,
    UnexpectedShape,
)
from desproject.lib.clock import from_millis
from desproject.lib.money import ZERO

T = TypeVar("T")
STATUSES = {
    "NEW": ReportStatus.WORKING,
    "PENDING_NEW": ReportStatus.WORKING,
    "PENDING_CANCEL": ReportStatus.WORKING,
    "PARTIALLY_FILLED": ReportStatus.PARTIALLY_FILLED,
    "FILLED": ReportStatus.FILLED,
    "CANCELED": ReportStatus.CANCELLED,
    "REJECTED": ReportStatus.REJECTED,
    "EXPIRED": ReportStatus.EXPIRED,
    "EXPIRED_IN_MATCH": ReportStatus.EXPIRED,
}
SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}


class ErrorAnswer(msgspec.Struct):
    code: int
    msg: str = ""


class _TimeAnswer(msgspec.Struct, rename="camel"):
    server_time: int


class OrderRow(msgspec.Struct):
    """What REST and the stream both tell of an order."""

    symbol: str
    order_id: int
    client_order_id: str
    side: str
    type: str
    time_in_force: str
    status: str
    price: Decimal
    quantity: Decimal
    executed: Decimal


class OwnTradeRow(msgspec.Struct):
    symbol: str
    trade_id: int
    order_id: int
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    executed_ms: int
    is_maker: bool


class RestrictionsRow(msgspec.Struct):
    can_read: bool
    can_trade: bool
    can_withdraw: bool
    ip_restricted: bool


class FilterRow(msgspec.Struct):
    """One filter of a symbol; 0 where it has no such number."""

    kind: str
    price_step: Decimal = ZERO
    quantity_step: Decimal = ZERO
    min_quantity: Decimal = ZERO
    max_quantity: Decimal = ZERO
    min_notional: Decimal = ZERO


class SymbolRow(msgspec.Struct):
    symbol: str
    status: str
    base: str
    quote: str
    filters: tuple[FilterRow, ...]


class DepthRow(msgspec.Struct):
    last_id: int
    bids: Levels
    asks: Levels


class QuoteRow(msgspec.Struct):
    """The best prices of a symbol; a side that is empty has price 0."""

    symbol: str
    bid: Decimal
    bid_size: Decimal
    ask: Decimal
    ask_size: Decimal


class PublicTradeRow(msgspec.Struct):
    """A public trade, or several told as one from ``first_id`` on, with the id that the stream gives it or the last."""

    trade_id: int
    price: Decimal
    quantity: Decimal
    executed_ms: int
    first_id: int | None = None


class _Listed(msgspec.Struct):
    """The table of symbols."""

    symbols: msgspec.Raw


class BinanceCodec(ABC):
    """Reads one venue's bodies. Each method raises UnexpectedShape."""

    # The records of a venue by their names in its api.toml, and its words.
    rows: ClassVar[Mapping[str, type[msgspec.Struct]]] = {
        "restrictions": RestrictionsRow, "filter": FilterRow, "depth": DepthRow, "quote": QuoteRow,
        "public_trade": PublicTradeRow,
    }  # fmt: skip
    statuses: ClassVar[Mapping[str, ReportStatus]] = STATUSES
    types: ClassVar[Mapping[str, OrderType]]
    times_in_force: ClassVar[Mapping[str, TimeInForce]]

    def __init__(self, api: BinanceApi) -> None:
        self.kinds: dict[str, Any] = named(self.rows, api.fields)

    # What only a venue knows.

    @abstractmethod
    def name_of(self, row: Any) -> str:
        """DES's name of a symbol; empty where it isn't traded."""

    @abstractmethod
    def report_of(self, row: Any, symbols: Symbols) -> OrderReport:
        """An order as answered to placing, cancelling or asking."""

    @abstractmethod
    def side_of(self, row: Any) -> Side:
        """The account's side of its own trade."""

    @abstractmethod
    def account(self, body: bytes, asked_ms: int) -> AccountSnapshot:
        """Balances as of ``asked_ms``, so that they count as newer than what the stream told before."""

    # What all have in common.

    def symbols(self, body: bytes) -> Symbols:
        """exchangeInfo. Symbols that are not being traded are left out."""
        listed: _Listed = decode(body, _Listed)
        rows: Sequence[SymbolRow] = decode_all(listed.symbols, self.kinds["symbol"])
        pairs = [(row, self.name_of(row)) for row in rows if row.status == "TRADING"]
        return Symbols((row.symbol, _rules(row, name)) for row, name in pairs if name)

    def order(self, body: bytes, symbols: Symbols) -> OrderReport:
        """One order, as answered to placing, cancelling or asking."""
        return self.report_of(decode(body, self.kinds["order"]), symbols)

    def orders(self, body: bytes, symbols: Symbols) -> list[OrderReport]:
        return [self.report_of(row, symbols) for row in decode_all(body, self.kinds["order"])]

    def type_of(self, row: OrderRow) -> OrderType:
        return known(self.types, row.type, "order type")

    def report(
        self,
        row: OrderRow,
        symbols: Symbols,
        at_ms: int,
        *,
        client_order_id: str = "",
        fills: Sequence[Fill] = (),
        reject_reason: str = "",
    ) -> OrderReport:
        """An order as of ``at_ms``; ``client_order_id`` where it isn't the row's."""
        kind = self.type_of(row)
        return OrderReport(
            client_order_id=client_order_id or row.client_order_id,
            exchange_order_id=str(row.order_id),
            symbol=symbols.name(row.symbol),
            side=known(SIDES, row.side, "side"),
            type=kind,
            time_in_force=known(self.times_in_force, row.time_in_force, "time in force"),
            status=known(self.statuses, row.status, "order status"),
            quantity=amount(row.quantity),
            price=None if kind is OrderType.MARKET else amount(row.price),
            filled_quantity=amount(row.executed),
            reported_at=from_millis(at_ms),
            fills=tuple(fills),
            reject_reason=reject_reason,
        )

    def fills(self, body: bytes, symbols: Symbols) -> list[Fill]:
        """A page of the account's trades, oldest first."""
        rows: Sequence[OwnTradeRow] = decode_all(body, self.kinds["own_trade"])
        return [
            Fill(
                str(row.trade_id), str(row.order_id), symbols.name(row.symbol), self.side_of(row),
                amount(row.quantity), amount(row.price), amount(row.fee), row.fee_asset,
                liquidity(is_maker=row.is_maker), from_millis(row.executed_ms),
            )
            for row in rows
        ]  # fmt: skip

    def permissions(self, body: bytes) -> KeyPermissions:
        found: RestrictionsRow = decode(body, self.kinds["restrictions"])
        return KeyPermissions(found.can_read, found.can_trade, found.can_withdraw, found.ip_restricted)

    def depth(self, body: bytes) -> DepthSnapshot:
        found: DepthRow = decode(body, self.kinds["depth"])
        return DepthSnapshot(found.last_id, amounts(found.bids), amounts(found.asks))

    def quotes(self, body: bytes) -> Sequence[QuoteRow]:
        """bookTicker: a list, or the one record that is answered where one symbol was asked for."""
        if body.lstrip()[:1] == b"{":
            return (decode(body, self.kinds["quote"]),)
        return decode_all(body, self.kinds["quote"])

    def trades(self, body: bytes) -> Sequence[PublicTradeRow]:
        """A page of public trades, oldest first."""
        return decode_all(body, self.kinds["public_trade"])


def liquidity(*, is_maker: bool) -> str:
    return "maker" if is_maker else "taker"


def _rules(row: SymbolRow, name: str) -> SymbolRules:
    """A symbol's filters as DES's rules."""
    filters, no_filter = {each.kind: each for each in row.filters}, FilterRow("")
    price_filter, lot = filters.get("PRICE_FILTER", no_filter), filters.get("LOT_SIZE", no_filter)
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or no_filter
    return SymbolRules(
        symbol=name,
        base=row.base,
        quote=row.quote,
        price_step=amount(price_filter.price_step),
        quantity_step=amount(lot.quantity_step),
        min_quantity=amount(lot.min_quantity),
        max_quantity=amount(lot.max_quantity),
        min_notional=amount(notional.min_notional),
        market_max_quantity=amount(filters.get("MARKET_LOT_SIZE", no_filter).max_quantity),
    )


def read_time(body: bytes) -> int:
    """The exchange's time in epoch milliseconds."""
    answer: _TimeAnswer = decode(body, _TimeAnswer)
    return answer.server_time


# A candle is a list: open time, open, high, low, close, volume, close time, and more that DES doesn't read.
_KLINE_COLUMNS = tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal, int]
_KLINES = list[list[int | str]]


def read_candles(body: bytes, symbol: str, timeframe: str, now_ms: int) -> list[Candle]:
    return [_candle(row, symbol, timeframe, now_ms) for row in decode(body, _KLINES)]


def _candle(row: Sequence[int | str], symbol: str, timeframe: str, now_ms: int) -> Candle:
    try:
        opened, first, high, low, last, volume, ends = msgspec.convert(row[:7], _KLINE_COLUMNS)
    except msgspec.ValidationError as error:
        raise UnexpectedShape(f"a candle isn't as documented: {error}") from None
    return Candle(
        symbol, timeframe, from_millis(opened), amount(first), amount(high), amount(low), amount(last),
        amount(volume), closed=ends < now_ms,
    )  # fmt: skip
