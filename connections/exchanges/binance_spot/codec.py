"""Binance spot's REST answers as DES's types. Knows no sockets; unknown fields are tolerated, wrong ones are not."""

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

import msgspec

from connections.exchanges.binance.codec import SIDES, BinanceCodec, OrderRow, OwnTradeRow, SymbolRow, liquidity
from connections.exchanges.wire import Symbols, amount, decode, known
from connections.gateways import (
    AccountSnapshot,
    AssetBalance,
    Fill,
    OrderReport,
    OrderType,
    Side,
    TimeInForce,
    UnexpectedShape,
)
from desproject.lib.clock import from_millis


class OrderFillRow(msgspec.Struct):
    trade_id: int
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str


class SpotOrderRow(OrderRow):
    original_client_order_id: str = ""
    transacted_ms: int | None = None
    updated_ms: int | None = None
    fills: tuple[OrderFillRow, ...] = ()


class SpotOwnTradeRow(OwnTradeRow):
    is_buyer: bool


class _Balance(msgspec.Struct):
    asset: str
    free: Decimal
    locked: Decimal


class AccountRow(msgspec.Struct):
    balances: tuple[_Balance, ...]
    updated_ms: int


class SpotCodec(BinanceCodec):
    """See BinanceCodec."""

    rows: ClassVar[Mapping[str, type[msgspec.Struct]]] = {
        **BinanceCodec.rows, "order_fill": OrderFillRow, "order": SpotOrderRow, "own_trade": SpotOwnTradeRow,
        "account": AccountRow, "symbol": SymbolRow,
    }  # fmt: skip
    # Only orders that somebody placed by hand elsewhere have the types with a stop.
    types: ClassVar = {
        "MARKET": OrderType.MARKET,
        "LIMIT": OrderType.LIMIT,
        "LIMIT_MAKER": OrderType.POST_ONLY,
        "STOP_LOSS": OrderType.MARKET,
        "TAKE_PROFIT": OrderType.MARKET,
        "STOP_LOSS_LIMIT": OrderType.LIMIT,
        "TAKE_PROFIT_LIMIT": OrderType.LIMIT,
    }
    times_in_force: ClassVar = {"GTC": TimeInForce.GTC, "IOC": TimeInForce.IOC, "FOK": TimeInForce.FOK}

    def name_of(self, row: SymbolRow) -> str:
        return f"{row.base}/{row.quote}"

    def report_of(self, row: SpotOrderRow, symbols: Symbols) -> OrderReport:
        at = row.transacted_ms if row.transacted_ms is not None else row.updated_ms
        if at is None:
            raise UnexpectedShape("the exchange's answer to an order has no time")
        fills = [_fill(fill, row, symbols, at) for fill in row.fills]
        return self.report(row, symbols, at, client_order_id=row.original_client_order_id, fills=fills)

    def side_of(self, row: SpotOwnTradeRow) -> Side:
        return Side.BUY if row.is_buyer else Side.SELL

    def account(self, body: bytes, asked_ms: int) -> AccountSnapshot:
        """As of the last change where that is later than the question."""
        found: AccountRow = decode(body, self.kinds["account"])
        balances = tuple(AssetBalance(row.asset, amount(row.free), amount(row.locked)) for row in found.balances)
        return AccountSnapshot(balances, from_millis(max(asked_ms, found.updated_ms)), complete=True)


def _fill(fill: OrderFillRow, order: SpotOrderRow, symbols: Symbols, at_ms: int) -> Fill:
    """Fills that come with the answer happened at once: the order took."""
    return Fill(
        str(fill.trade_id), str(order.order_id), symbols.name(order.symbol), known(SIDES, order.side, "side"),
        amount(fill.quantity), amount(fill.price), amount(fill.fee), fill.fee_asset, liquidity(is_maker=False),
        from_millis(at_ms),
    )  # fmt: skip
