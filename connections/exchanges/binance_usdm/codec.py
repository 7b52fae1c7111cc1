"""Binance USD-M's REST answers as DES's types. Knows no sockets; unknown fields are tolerated, wrong ones are not."""

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

import msgspec

from connections.exchanges.binance.codec import SIDES, STATUSES, BinanceCodec, OrderRow, OwnTradeRow, SymbolRow
from connections.exchanges.wire import Symbols, amount, decode, decode_all, known
from connections.gateways import (
    AccountPosition,
    AccountSnapshot,
    AssetBalance,
    FundingPayment,
    KeyPermissions,
    MarginSettings,
    MarginType,
    OrderReport,
    OrderType,
    ReportStatus,
    Side,
    TimeInForce,
    UnexpectedShape,
)
from desproject.lib.clock import from_millis

_POST_ONLY = "GTX"
_MARGIN_TYPES = {"cross": MarginType.CROSS, "isolated": MarginType.ISOLATED}
_PERPETUAL = "PERPETUAL"
# In one-way mode a contract has one position, of both sides.
_ONE_WAY = "BOTH"


class UsdmOrderRow(OrderRow):
    updated_ms: int


class UsdmOwnTradeRow(OwnTradeRow):
    side: str


class AssetRow(msgspec.Struct):
    asset: str
    total: Decimal
    position_margin: Decimal
    order_margin: Decimal


class AccountRow(msgspec.Struct):
    assets: tuple[AssetRow, ...]


class AccountConfigRow(msgspec.Struct):
    can_trade: bool


class PositionRow(msgspec.Struct):
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


class IncomeRow(msgspec.Struct):
    symbol: str
    amount: Decimal
    asset: str
    paid_ms: int
    payment_id: int


class ContractRow(SymbolRow):
    contract: str
    margin: str


class UsdmCodec(BinanceCodec):
    """See BinanceCodec. Fills are asked for, or come by the stream."""

    rows: ClassVar[Mapping[str, type[msgspec.Struct]]] = {
        **BinanceCodec.rows, "order": UsdmOrderRow, "own_trade": UsdmOwnTradeRow, "asset": AssetRow,
        "account": AccountRow, "account_config": AccountConfigRow, "position": PositionRow, "income": IncomeRow,
        "symbol": ContractRow,
    }  # fmt: skip
    # The last two are what the exchange itself does to an account past its margin.
    statuses: ClassVar = {**STATUSES, "NEW_INSURANCE": ReportStatus.WORKING, "NEW_ADL": ReportStatus.WORKING}
    # Only orders that somebody placed by hand elsewhere, and the exchange's own, have types other than the first two.
    types: ClassVar = {
        "MARKET": OrderType.MARKET,
        "LIMIT": OrderType.LIMIT,
        "STOP": OrderType.LIMIT,
        "TAKE_PROFIT": OrderType.LIMIT,
        "STOP_MARKET": OrderType.MARKET,
        "TAKE_PROFIT_MARKET": OrderType.MARKET,
        "TRAILING_STOP_MARKET": OrderType.MARKET,
        "LIQUIDATION": OrderType.LIMIT,
    }
    # GTD ends at a date, GTE_GTC with its position, RPI only meets retail takers: to us they rest.
    times_in_force: ClassVar = {
        "GTC": TimeInForce.GTC,
        "IOC": TimeInForce.IOC,
        "FOK": TimeInForce.FOK,
        _POST_ONLY: TimeInForce.GTC,
        "GTD": TimeInForce.GTC,
        "GTE_GTC": TimeInForce.GTC,
        "RPI": TimeInForce.GTC,
    }

    def name_of(self, row: ContractRow) -> str:
        """``BTC/USDT:USDT``: the last part is the asset that margin, profit and fees are in. Contracts with an end are
        left out."""
        return f"{row.base}/{row.quote}:{row.margin}" if row.contract == _PERPETUAL else ""

    def type_of(self, row: OrderRow) -> OrderType:
        """Here post-only is a time in force."""
        kind = super().type_of(row)
        return OrderType.POST_ONLY if kind is OrderType.LIMIT and row.time_in_force == _POST_ONLY else kind

    def report_of(self, row: UsdmOrderRow, symbols: Symbols) -> OrderReport:
        return self.report(row, symbols, row.updated_ms)

    def side_of(self, row: UsdmOwnTradeRow) -> Side:
        return known(SIDES, row.side, "side")

    def account(self, body: bytes, asked_ms: int) -> AccountSnapshot:
        """Locked is what margins open positions and orders."""
        found: AccountRow = decode(body, self.kinds["account"])
        return AccountSnapshot(tuple(_balance(row) for row in found.assets), from_millis(asked_ms), complete=True)

    def testnet_permissions(self, body: bytes) -> KeyPermissions:
        """What the account itself tells; there is no money to withdraw."""
        found: AccountConfigRow = decode(body, self.kinds["account_config"])
        return KeyPermissions(can_read=True, can_trade=found.can_trade, can_withdraw=False, ip_restricted=False)

    def positions(self, body: bytes, symbols: Symbols) -> list[AccountPosition]:
        """Those that are open; an account in hedge mode isn't served by this adapter."""
        return [_position(row, symbols) for row in self._positions(body) if row.quantity]

    def margin_settings(self, body: bytes) -> MarginSettings:
        """Of the one symbol that was asked for."""
        rows = self._positions(body)
        if not rows:
            raise UnexpectedShape("the exchange told nothing of the symbol that was asked for")
        return MarginSettings(int(amount(rows[0].leverage)), known(_MARGIN_TYPES, rows[0].margin_type, "margin type"))

    def _positions(self, body: bytes) -> tuple[PositionRow, ...]:
        return decode_all(body, self.kinds["position"])

    def leverage(self, body: bytes) -> int:
        """The leverage in force after it was set."""
        found: _Leverage = decode(body, _Leverage)
        return found.leverage

    def funding(self, body: bytes, symbols: Symbols) -> list[FundingPayment]:
        """A page of income, oldest first."""
        rows: tuple[IncomeRow, ...] = decode_all(body, self.kinds["income"])
        return [
            FundingPayment(
                str(row.payment_id), symbols.name(row.symbol), amount(row.amount), row.asset, from_millis(row.paid_ms)
            )
            for row in rows
        ]


def _balance(row: AssetRow) -> AssetBalance:
    locked = amount(row.position_margin) + amount(row.order_margin)
    return AssetBalance(row.asset, amount(row.total) - locked, locked)


def _position(row: PositionRow, symbols: Symbols) -> AccountPosition:
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
