"""Binance spot's REST answers as DES's types. Knows no sockets; unknown fields are tolerated, wrong ones are not."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from connections.exchanges.binance_spot.api import API, BadApiFile
from connections.exchanges.contract import DepthSnapshot, Levels
from connections.gateways import (
    AccountSnapshot,
    AssetBalance,
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
from desproject.lib.errors import InvalidInput
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
# Only orders that somebody placed by hand elsewhere have the types with a stop.
TYPES = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "LIMIT_MAKER": OrderType.POST_ONLY,
    "STOP_LOSS": OrderType.MARKET,
    "TAKE_PROFIT": OrderType.MARKET,
    "STOP_LOSS_LIMIT": OrderType.LIMIT,
    "TAKE_PROFIT_LIMIT": OrderType.LIMIT,
}
SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
TIMES_IN_FORCE = {"GTC": TimeInForce.GTC, "IOC": TimeInForce.IOC, "FOK": TimeInForce.FOK}


class ErrorAnswer(msgspec.Struct):
    code: int
    msg: str = ""


class TimeAnswer(msgspec.Struct, rename="camel"):
    server_time: int


class _OrderFill(msgspec.Struct, rename=API.fields["order_fill"]):
    trade_id: int
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str


class _Order(msgspec.Struct, rename=API.fields["order"]):
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
    original_client_order_id: str = ""
    transacted_ms: int | None = None
    updated_ms: int | None = None
    fills: tuple[_OrderFill, ...] = ()


class _OwnTrade(msgspec.Struct, rename=API.fields["own_trade"]):
    symbol: str
    trade_id: int
    order_id: int
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    executed_ms: int
    is_buyer: bool
    is_maker: bool


class _Balance(msgspec.Struct):
    asset: str
    free: Decimal
    locked: Decimal


class _Account(msgspec.Struct, rename=API.fields["account"]):
    balances: tuple[_Balance, ...]
    updated_ms: int


class _Restrictions(msgspec.Struct, rename=API.fields["restrictions"]):
    can_read: bool
    can_trade: bool
    can_withdraw: bool
    ip_restricted: bool


class _Filter(msgspec.Struct, rename=API.fields["filter"]):
    kind: str
    price_step: Decimal = ZERO
    quantity_step: Decimal = ZERO
    min_quantity: Decimal = ZERO
    max_quantity: Decimal = ZERO
    min_notional: Decimal = ZERO


class _Symbol(msgspec.Struct, rename=API.fields["symbol"]):
    symbol: str
    status: str
    base: str
    quote: str
    filters: tuple[_Filter, ...]


class _ExchangeInfo(msgspec.Struct):
    symbols: tuple[_Symbol, ...]


class _Depth(msgspec.Struct, rename=API.fields["depth"]):
    last_id: int
    bids: Levels
    asks: Levels


def check_field_names(structs: dict[str, type[msgspec.Struct]]) -> None:
    """Raises BadApiFile when api.toml maps a field that no such record has."""
    for record, struct in structs.items():
        if unknown := set(API.fields[record]) - set(struct.__struct_fields__):
            raise BadApiFile(f"fields.{record} names unknown fields: {', '.join(sorted(unknown))}")


check_field_names({
    "order": _Order, "order_fill": _OrderFill, "own_trade": _OwnTrade, "account": _Account,
    "restrictions": _Restrictions, "symbol": _Symbol, "filter": _Filter, "depth": _Depth,
})  # fmt: skip


def decode(body: bytes | str | msgspec.Raw, kind: Any) -> Any:
    """``body`` as ``kind``. Raises UnexpectedShape, which doesn't quote the body."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnexpectedShape(f"the exchange's answer isn't as documented: {error}") from None


def amount(value: Decimal) -> Decimal:
    """The value. Raises UnexpectedShape for NaN and infinities."""
    if not value.is_finite():
        raise UnexpectedShape("the exchange's answer holds an amount that is no number")
    return value


def amounts(levels: Levels) -> Levels:
    """The levels of a book. Raises UnexpectedShape where one is no number."""
    for price, size in levels:
        if not (price.is_finite() and size.is_finite()):
            raise UnexpectedShape("the exchange sent a book level that is no number")
    return levels


class Symbols:
    """The exchange's symbols: its spelling, DES's spelling, and the filters of those that are traded."""

    def __init__(self, rules: Iterable[tuple[str, SymbolRules]]) -> None:
        pairs = list(rules)
        self.rules = {found.symbol: found for _, found in pairs}
        self._names = {spelling: found.symbol for spelling, found in pairs}
        self._spellings = {found.symbol: spelling for spelling, found in pairs}

    def spelling(self, symbol: str) -> str:
        """``BTC/USDT`` → ``BTCUSDT``. Raises InvalidInput for a symbol that isn't traded."""
        found = self._spellings.get(symbol)
        if found is None:
            raise InvalidInput("this symbol isn't traded here", fields={"symbol": ["not traded on this exchange"]})
        return found

    def name(self, spelling: str) -> str:
        """``BTCUSDT`` → ``BTC/USDT``; a spelling that isn't known (no longer traded) stays as it is."""
        return self._names.get(spelling, spelling)

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._spellings


def read_symbols(body: bytes) -> Symbols:
    """exchangeInfo. Symbols that are not being traded are left out."""
    info = decode(body, _ExchangeInfo)
    return Symbols((row.symbol, _rules(row)) for row in info.symbols if row.status == "TRADING")


def _rules(row: _Symbol) -> SymbolRules:
    filters = {found.kind: found for found in row.filters}
    none = _Filter("")
    price, lot = filters.get("PRICE_FILTER", none), filters.get("LOT_SIZE", none)
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or none
    return SymbolRules(
        symbol=f"{row.base}/{row.quote}",
        base=row.base,
        quote=row.quote,
        price_step=amount(price.price_step),
        quantity_step=amount(lot.quantity_step),
        min_quantity=amount(lot.min_quantity),
        max_quantity=amount(lot.max_quantity),
        min_notional=amount(notional.min_notional),
        market_max_quantity=amount(filters.get("MARKET_LOT_SIZE", none).max_quantity),
    )


def read_time(body: bytes) -> int:
    """The exchange's time in epoch milliseconds."""
    answer: TimeAnswer = decode(body, TimeAnswer)
    return answer.server_time


def read_order(body: bytes, symbols: Symbols) -> OrderReport:
    """One order, as answered to placing, cancelling or asking."""
    return _report(decode(body, _Order), symbols)


def read_orders(body: bytes, symbols: Symbols) -> list[OrderReport]:
    return [_report(row, symbols) for row in decode(body, tuple[_Order, ...])]


def known(table: dict[str, T], word: str, what: str) -> T:
    """DES's word for the exchange's. Raises UnexpectedShape for one that the documents don't have."""
    if word not in table:
        raise UnexpectedShape(f"unknown {what} in the exchange's answer")
    return table[word]


def _report(order: _Order, symbols: Symbols) -> OrderReport:
    at = order.transacted_ms if order.transacted_ms is not None else order.updated_ms
    if at is None:
        raise UnexpectedShape("the exchange's answer to an order has no time")
    side, kind = known(SIDES, order.side, "side"), known(TYPES, order.type, "order type")
    symbol = symbols.name(order.symbol)
    return OrderReport(
        client_order_id=order.original_client_order_id or order.client_order_id,
        exchange_order_id=str(order.order_id),
        symbol=symbol,
        side=side,
        type=kind,
        time_in_force=known(TIMES_IN_FORCE, order.time_in_force, "time in force"),
        status=known(STATUSES, order.status, "order status"),
        quantity=amount(order.quantity),
        price=None if kind is OrderType.MARKET else amount(order.price),
        filled_quantity=amount(order.executed),
        reported_at=from_millis(at),
        fills=tuple(_order_fill(fill, order, symbol, side, at) for fill in order.fills),
    )


def _order_fill(fill: _OrderFill, order: _Order, symbol: str, side: Side, at_ms: int) -> Fill:
    """Fills that come with the answer happened at once: the order took."""
    return Fill(
        str(fill.trade_id), str(order.order_id), symbol, side, amount(fill.quantity), amount(fill.price),
        amount(fill.fee), fill.fee_asset, "taker", from_millis(at_ms),
    )  # fmt: skip


def read_fills(body: bytes, symbols: Symbols) -> list[Fill]:
    """A page of myTrades, oldest first."""
    return [_fill(row, symbols) for row in decode(body, tuple[_OwnTrade, ...])]


def _fill(row: _OwnTrade, symbols: Symbols) -> Fill:
    return Fill(
        str(row.trade_id), str(row.order_id), symbols.name(row.symbol), Side.BUY if row.is_buyer else Side.SELL,
        amount(row.quantity), amount(row.price), amount(row.fee), row.fee_asset,
        "maker" if row.is_maker else "taker", from_millis(row.executed_ms),
    )  # fmt: skip


def read_account(body: bytes, asked_ms: int) -> AccountSnapshot:
    """Balances as of ``asked_ms``, or of their last change where that is later."""
    account = decode(body, _Account)
    balances = tuple(AssetBalance(row.asset, amount(row.free), amount(row.locked)) for row in account.balances)
    return AccountSnapshot(balances, from_millis(max(asked_ms, account.updated_ms)), complete=True)


def read_permissions(body: bytes) -> KeyPermissions:
    found = decode(body, _Restrictions)
    return KeyPermissions(found.can_read, found.can_trade, found.can_withdraw, found.ip_restricted)


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


def read_depth(body: bytes) -> DepthSnapshot:
    depth = decode(body, _Depth)
    return DepthSnapshot(depth.last_id, amounts(depth.bids), amounts(depth.asks))
