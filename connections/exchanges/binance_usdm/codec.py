"""Binance USD-M's REST answers as DES's types. Knows no sockets; unknown fields are tolerated, wrong ones are not."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from connections.exchanges.binance import codec as shared
from connections.exchanges.binance.codec import (
    SIDES,
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
from connections.exchanges.binance_usdm.api import API
from connections.exchanges.contract import DepthSnapshot, Levels
from connections.gateways import (
    AccountPosition,
    AccountSnapshot,
    AssetBalance,
    Fill,
    FundingPayment,
    KeyPermissions,
    MarginSettings,
    MarginType,
    OrderReport,
    OrderType,
    ReportStatus,
    SymbolRules,
    TimeInForce,
    UnexpectedShape,
)
from desproject.lib.clock import from_millis
from desproject.lib.money import ZERO

# The last two are what the exchange itself does to an account past its margin.
STATUSES = {**shared.STATUSES, "NEW_INSURANCE": ReportStatus.WORKING, "NEW_ADL": ReportStatus.WORKING}
# Only orders that somebody placed by hand elsewhere, and the exchange's own, have types other than the first two.
_TYPES = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "STOP": OrderType.LIMIT,
    "TAKE_PROFIT": OrderType.LIMIT,
    "STOP_MARKET": OrderType.MARKET,
    "TAKE_PROFIT_MARKET": OrderType.MARKET,
    "TRAILING_STOP_MARKET": OrderType.MARKET,
    "LIQUIDATION": OrderType.LIMIT,
}
_POST_ONLY = "GTX"
# GTD ends at a date, GTE_GTC with its position, RPI only meets retail takers: to us they rest.
_TIMES_IN_FORCE = {
    "GTC": TimeInForce.GTC,
    "IOC": TimeInForce.IOC,
    "FOK": TimeInForce.FOK,
    _POST_ONLY: TimeInForce.GTC,
    "GTD": TimeInForce.GTC,
    "GTE_GTC": TimeInForce.GTC,
    "RPI": TimeInForce.GTC,
}
_MARGIN_TYPES = {"cross": MarginType.CROSS, "isolated": MarginType.ISOLATED}
_PERPETUAL = "PERPETUAL"
# In one-way mode a contract has one position, of both sides.
_ONE_WAY = "BOTH"


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
    updated_ms: int


class _OwnTrade(msgspec.Struct, rename=API.fields["own_trade"]):
    symbol: str
    trade_id: int
    order_id: int
    side: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    executed_ms: int
    maker: bool


class _Asset(msgspec.Struct, rename=API.fields["asset"]):
    asset: str
    total: Decimal
    position_margin: Decimal
    order_margin: Decimal


class _Account(msgspec.Struct):
    assets: tuple[_Asset, ...]


class _AccountConfig(msgspec.Struct, rename=API.fields["account_config"]):
    can_trade: bool


class _Restrictions(msgspec.Struct, rename=API.fields["restrictions"]):
    can_read: bool
    can_trade: bool
    can_withdraw: bool
    ip_restricted: bool


class _Position(msgspec.Struct, rename=API.fields["position"]):
    symbol: str
    quantity: Decimal
    entry_price: Decimal
    mark_price: Decimal
    unrealized_pnl: Decimal
    liquidation_price: Decimal
    leverage: Decimal
    margin_type: str
    side: str


class _Leverage(msgspec.Struct):
    leverage: int


class _Income(msgspec.Struct, rename=API.fields["income"]):
    symbol: str
    amount: Decimal
    asset: str
    paid_ms: int
    payment_id: int


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
    contract: str
    base: str
    quote: str
    margin: str
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
    "order": _Order, "own_trade": _OwnTrade, "asset": _Asset, "account_config": _AccountConfig,
    "restrictions": _Restrictions, "position": _Position, "income": _Income, "symbol": _Symbol, "filter": _Filter,
    "depth": _Depth, "quote": _Quote, "public_trade": _PublicTrade,
})  # fmt: skip


def read_symbols(body: bytes) -> Symbols:
    """exchangeInfo. What isn't being traded, and contracts with an end, are left out."""
    info = decode(body, _ExchangeInfo)
    return Symbols(
        (row.symbol, _rules(row)) for row in info.symbols if row.status == "TRADING" and row.contract == _PERPETUAL
    )


def _rules(row: _Symbol) -> SymbolRules:
    """``BTC/USDT:USDT``: the last part is the asset that margin, profit and fees are in."""
    return symbol_rules(f"{row.base}/{row.quote}:{row.margin}", row.base, row.quote, row.filters, _Filter(""))


def read_order(body: bytes, symbols: Symbols) -> OrderReport:
    """One order, as answered to placing, cancelling or asking. Fills are asked for, or come by the stream."""
    return _report(decode(body, _Order), symbols)


def read_orders(body: bytes, symbols: Symbols) -> list[OrderReport]:
    return [_report(row, symbols) for row in decode(body, tuple[_Order, ...])]


def type_of(word: str, time_in_force: str) -> OrderType:
    """DES's type: here post-only is a time in force. Raises UnexpectedShape."""
    kind = known(_TYPES, word, "order type")
    return OrderType.POST_ONLY if kind is OrderType.LIMIT and time_in_force == _POST_ONLY else kind


def time_in_force_of(word: str) -> TimeInForce:
    """Raises UnexpectedShape."""
    return known(_TIMES_IN_FORCE, word, "time in force")


def _report(order: _Order, symbols: Symbols) -> OrderReport:
    kind = type_of(order.type, order.time_in_force)
    return OrderReport(
        client_order_id=order.client_order_id,
        exchange_order_id=str(order.order_id),
        symbol=symbols.name(order.symbol),
        side=known(SIDES, order.side, "side"),
        type=kind,
        time_in_force=time_in_force_of(order.time_in_force),
        status=known(STATUSES, order.status, "order status"),
        quantity=amount(order.quantity),
        price=None if kind is OrderType.MARKET else amount(order.price),
        filled_quantity=amount(order.executed),
        reported_at=from_millis(order.updated_ms),
    )


def read_fills(body: bytes, symbols: Symbols) -> list[Fill]:
    """A page of userTrades, oldest first."""
    return [_fill(row, symbols) for row in decode(body, tuple[_OwnTrade, ...])]


def _fill(row: _OwnTrade, symbols: Symbols) -> Fill:
    return Fill(
        str(row.trade_id), str(row.order_id), symbols.name(row.symbol), known(SIDES, row.side, "side"),
        amount(row.quantity), amount(row.price), amount(row.fee), row.fee_asset, "maker" if row.maker else "taker",
        from_millis(row.executed_ms),
    )  # fmt: skip


def read_account(body: bytes, asked_ms: int) -> AccountSnapshot:
    """Balances as of when they were asked for. Locked is what margins open positions and orders."""
    account = decode(body, _Account)
    return AccountSnapshot(tuple(_balance(row) for row in account.assets), from_millis(asked_ms), complete=True)


def _balance(row: _Asset) -> AssetBalance:
    locked = amount(row.position_margin) + amount(row.order_margin)
    return AssetBalance(row.asset, amount(row.total) - locked, locked)


def read_permissions(body: bytes) -> KeyPermissions:
    found = decode(body, _Restrictions)
    return KeyPermissions(found.can_read, found.can_trade, found.can_withdraw, found.ip_restricted)


def read_testnet_permissions(body: bytes) -> KeyPermissions:
    """What the account itself tells; there is no money to withdraw."""
    found = decode(body, _AccountConfig)
    return KeyPermissions(can_read=True, can_trade=found.can_trade, can_withdraw=False, ip_restricted=False)


def read_positions(body: bytes, symbols: Symbols) -> list[AccountPosition]:
    """Those that are open. Raises UnexpectedShape for an account in hedge mode, which this adapter doesn't serve."""
    return [_position(row, symbols) for row in decode(body, tuple[_Position, ...]) if row.quantity]


def _position(row: _Position, symbols: Symbols) -> AccountPosition:
    if row.side != _ONE_WAY:
        raise UnexpectedShape("the account is in hedge mode: switch it to one-way mode")
    return AccountPosition(
        symbol=symbols.name(row.symbol),
        quantity=amount(row.quantity),
        entry_price=amount(row.entry_price),
        mark_price=amount(row.mark_price),
        unrealized_pnl=amount(row.unrealized_pnl),
        leverage=int(amount(row.leverage)),
        margin_type=known(_MARGIN_TYPES, row.margin_type, "margin type"),
        liquidation_price=amount(row.liquidation_price) if row.liquidation_price > 0 else None,
    )


def read_margin_settings(body: bytes) -> MarginSettings:
    """Of the one symbol that was asked for. Raises UnexpectedShape."""
    rows = decode(body, tuple[_Position, ...])
    if not rows:
        raise UnexpectedShape("the exchange told nothing of the symbol that was asked for")
    return MarginSettings(int(amount(rows[0].leverage)), known(_MARGIN_TYPES, rows[0].margin_type, "margin type"))


def read_leverage(body: bytes) -> int:
    """The leverage in force after it was set."""
    found: _Leverage = decode(body, _Leverage)
    return found.leverage


def read_funding(body: bytes, symbols: Symbols) -> list[FundingPayment]:
    """A page of income, oldest first."""
    return [
        FundingPayment(
            str(row.payment_id), symbols.name(row.symbol), amount(row.amount), row.asset, from_millis(row.paid_ms)
        )
        for row in decode(body, tuple[_Income, ...])
    ]


def read_depth(body: bytes) -> DepthSnapshot:
    depth = decode(body, _Depth)
    return DepthSnapshot(depth.last_id, amounts(depth.bids), amounts(depth.asks))


def read_quotes(body: bytes) -> Sequence[QuoteRow]:
    """bookTicker, of one symbol or of all."""
    return read_rows(body, _Quote)


def read_trades(body: bytes) -> Sequence[TradeRow]:
    """A page of aggTrades, oldest first."""
    return read_rows(body, _PublicTrade)
