"""Tram's bodies as DES's types, by the names of api.toml. No I/O, no clock."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from connections.events import PublicTrade
from connections.exchanges.contract import DepthSnapshot, Levels
from connections.exchanges.wire import Symbols, amount, amounts, decode, decode_all, known, named, price
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
)
from desproject.lib.clock import from_millis

from .api import TramApi

SIDES = {"B": Side.BUY, "S": Side.SELL}
KINDS = {"market": OrderType.MARKET, "limit": OrderType.LIMIT, "maker": OrderType.POST_ONLY}
LIVES = {"stay": TimeInForce.GTC, "now": TimeInForce.IOC, "all": TimeInForce.FOK}
STATES = {
    "open": ReportStatus.WORKING, "part": ReportStatus.PARTIALLY_FILLED, "done": ReportStatus.FILLED,
    "gone": ReportStatus.CANCELLED, "lapsed": ReportStatus.EXPIRED,
}  # fmt: skip


class MarketRow(msgspec.Struct):
    symbol: str
    base: str
    quote: str
    price_step: Decimal
    quantity_step: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    min_notional: Decimal
    market_max_quantity: Decimal


class DealRow(msgspec.Struct):
    trade_id: str
    order_id: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    liquidity: str
    executed_ms: int


class OrderRow(msgspec.Struct):
    exchange_order_id: str
    client_order_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    quantity: Decimal
    executed: Decimal
    state: str
    reported_ms: int
    price: Decimal | None = None


class WalletRow(msgspec.Struct):
    asset: str
    free: Decimal
    held: Decimal


class Wallet(msgspec.Struct):
    rows: tuple[WalletRow, ...]
    at: int


class KeyRow(msgspec.Struct):
    reads: bool
    trades: bool
    withdraws: bool
    bound: bool


class Book(msgspec.Struct):
    market: str
    seq: int
    at: int
    bids: Levels
    asks: Levels


class PublicDeal(msgspec.Struct):
    market: str
    id: int
    price: Decimal
    size: Decimal
    at: int


class Bar(msgspec.Struct):
    at: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    size: Decimal
    ended: bool


class Clock(msgspec.Struct):
    now: int


class Problem(msgspec.Struct):
    problem: str = ""
    detail: str = ""


RECORDS: Mapping[str, type[msgspec.Struct]] = {"market": MarketRow, "order": OrderRow, "deal": DealRow}


class TramCodec:
    """Reads what one version of api.toml names."""

    def __init__(self, api: TramApi) -> None:
        kinds = named(RECORDS, api.fields)
        self._market, self._order, self._deal = kinds["market"], kinds["order"], kinds["deal"]

    def symbols(self, body: bytes) -> Symbols:
        rows: Sequence[MarketRow] = decode_all(body, self._market)
        return Symbols(
            (row.symbol, SymbolRules(
                f"{row.base}/{row.quote}", row.base, row.quote, price(row.price_step), price(row.quantity_step),
                amount(row.min_quantity), amount(row.max_quantity), amount(row.min_notional),
                amount(row.market_max_quantity),
            ))
            for row in rows
        )  # fmt: skip

    def order(self, body: bytes | msgspec.Raw, table: Symbols, fills: tuple[Fill, ...] = ()) -> OrderReport:
        row: OrderRow = decode(body, self._order)
        return OrderReport(
            client_order_id=row.client_order_id,
            exchange_order_id=row.exchange_order_id,
            symbol=table.name(row.symbol),
            side=known(SIDES, row.side, "side"),
            type=known(KINDS, row.type, "order type"),
            time_in_force=known(LIVES, row.time_in_force, "time in force"),
            status=known(STATES, row.state, "state"),
            quantity=amount(row.quantity),
            price=row.price,
            filled_quantity=amount(row.executed),
            reported_at=from_millis(row.reported_ms),
            fills=fills,
        )

    def orders(self, body: bytes, table: Symbols) -> list[OrderReport]:
        return [self.order(row, table) for row in decode(body, list[msgspec.Raw])]

    def fill(self, body: bytes | msgspec.Raw, table: Symbols) -> Fill:
        row: DealRow = decode(body, self._deal)
        return Fill(
            row.trade_id, row.order_id, table.name(row.symbol), known(SIDES, row.side, "side"), amount(row.quantity),
            price(row.price), amount(row.fee), row.fee_asset, row.liquidity, from_millis(row.executed_ms),
        )  # fmt: skip

    def fills(self, body: bytes, table: Symbols) -> list[Fill]:
        return [self.fill(row, table) for row in decode(body, list[msgspec.Raw])]


def balances(rows: tuple[WalletRow, ...]) -> tuple[AssetBalance, ...]:
    return tuple(AssetBalance(row.asset, amount(row.free), amount(row.held)) for row in rows)


def account(body: bytes) -> AccountSnapshot:
    wallet: Wallet = decode(body, Wallet)
    return AccountSnapshot(balances(wallet.rows), from_millis(wallet.at), complete=True)


def permissions(body: bytes) -> KeyPermissions:
    row: KeyRow = decode(body, KeyRow)
    return KeyPermissions(row.reads, row.trades, row.withdraws, row.bound)


def depth(body: bytes) -> DepthSnapshot:
    book: Book = decode(body, Book)
    return DepthSnapshot(book.seq, amounts(book.bids), amounts(book.asks))


def trades(body: bytes, symbol: str, seen_ns: int) -> list[PublicTrade]:
    rows: list[PublicDeal] = decode(body, list[PublicDeal])
    return [PublicTrade(symbol, seen_ns, row.id, price(row.price), amount(row.size), row.at) for row in rows]


def candles(body: bytes, symbol: str, timeframe: str) -> list[Candle]:
    rows: list[Bar] = decode(body, list[Bar])
    return [
        Candle(
            symbol, timeframe, from_millis(row.at), price(row.open), price(row.high), price(row.low),
            price(row.close), amount(row.size), row.ended,
        )
        for row in rows
    ]  # fmt: skip


def server_ms(body: bytes) -> int:
    clock: Clock = decode(body, Clock)
    return clock.now


