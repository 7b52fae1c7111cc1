"""Binance spot's REST answers as DES's types. Knows no sockets; unknown fields are tolerated, wrong ones are not."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from connections.exchanges.binance.codec import (
    SIDES,
    STATUSES,
    QuoteRow,
    Symbols,
    TradeRow,
    amount,
    amounts,
    decode,
    known,
    read_rows,
    symbol_rules,
)
from connections.exchanges.binance_spot.api import API
from connections.exchanges.contract import DepthSnapshot, Levels
from connections.gateways import (
    AccountSnapshot,
    AssetBalance,
    Fill,
    KeyPermissions,
    OrderReport,
    OrderType,
    Side,
    SymbolRules,
    TimeInForce,
    UnexpectedShape,
)
from desproject.lib.clock import from_millis
from desproject.lib.money import ZERO

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
TIMES_IN_FORCE = {"GTC": TimeInForce.GTC, "IOC": TimeInForce.IOC, "FOK": TimeInForce.FOK}


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


class _Quote(msgspec.Struct, rename=API.fields["quote"]):
    symbol: str
    bid: Decimal
    bid_size: Decimal
    ask: Decimal
    ask_size: Decimal


class _PublicTrade(msgspec.Struct, rename=API.fields["public_trade"]):
    trade_id: int
    price: Decimal
    quantity: Decimal
    executed_ms: int


API.check_field_names({
    "order": _Order, "order_fill": _OrderFill, "own_trade": _OwnTrade, "account": _Account,
    "restrictions": _Restrictions, "symbol": _Symbol, "filter": _Filter, "depth": _Depth, "quote": _Quote,
    "public_trade": _PublicTrade,
})  # fmt: skip


def read_symbols(body: bytes) -> Symbols:
    """exchangeInfo. Symbols that are not being traded are left out."""
    info = decode(body, _ExchangeInfo)
    return Symbols((row.symbol, _rules(row)) for row in info.symbols if row.status == "TRADING")


def _rules(row: _Symbol) -> SymbolRules:
    return symbol_rules(f"{row.base}/{row.quote}", row.base, row.quote, row.filters, _Filter(""))


def read_order(body: bytes, symbols: Symbols) -> OrderReport:
    """One order, as answered to placing, cancelling or asking."""
    return _report(decode(body, _Order), symbols)


def read_orders(body: bytes, symbols: Symbols) -> list[OrderReport]:
    return [_report(row, symbols) for row in decode(body, tuple[_Order, ...])]


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


def read_depth(body: bytes) -> DepthSnapshot:
    depth = decode(body, _Depth)
    return DepthSnapshot(depth.last_id, amounts(depth.bids), amounts(depth.asks))


def read_quotes(body: bytes) -> Sequence[QuoteRow]:
    """bookTicker, of one symbol or of all."""
    return read_rows(body, _Quote)


def read_trades(body: bytes) -> Sequence[TradeRow]:
    """A page of trades, oldest first."""
    return read_rows(body, _PublicTrade)
