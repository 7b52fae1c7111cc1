"""The won exchanges' REST answers as DES's types, by the names of a venue's api.toml."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec

from connections.events import PublicTrade
from connections.exchanges.contract import DepthSnapshot, Levels
from connections.exchanges.krw.api import KrwApi
from connections.exchanges.wire import Symbols, amount, amounts, decode, decode_all, known, named, price
from connections.gateways import (
    AccountSnapshot,
    AssetBalance,
    Candle,
    Fill,
    OrderReport,
    OrderType,
    ReportStatus,
    Side,
    SymbolRules,
    TimeInForce,
    UnexpectedShape,
)
from desproject.lib.money import ZERO, exact

SIDES = {"bid": Side.BUY, "ask": Side.SELL}
# A buy by its total and "best" come only from elsewhere: DES sends neither.
TYPES = {"limit": OrderType.LIMIT, "price": OrderType.MARKET, "market": OrderType.MARKET, "best": OrderType.MARKET}
TIMES_IN_FORCE = {"ioc": TimeInForce.IOC, "fok": TimeInForce.FOK, "post_only": TimeInForce.GTC}
OPEN_STATES = {"wait", "watch"}
STATES = OPEN_STATES | {"trade", "done", "cancel", "prevented"}
POST_ONLY = "post_only"
FEE_UNIT = Decimal("1e-8")


class OwnTradeRow(msgspec.Struct):
    trade_id: str
    price: Decimal
    quantity: Decimal
    funds: Decimal
    executed_at: datetime


class OrderRow(msgspec.Struct):
    order_id: str
    symbol: str
    side: str
    type: str
    state: str
    executed: Decimal
    paid_fee: Decimal
    price: Decimal | None = None
    quantity: Decimal | None = None
    client_order_id: str | None = None
    time_in_force: str | None = None
    trades: tuple[OwnTradeRow, ...] = ()


class AckRow(msgspec.Struct):
    """The answer to placing. What it says of the order's state was true before the order met the book."""

    order_id: str


class BalanceRow(msgspec.Struct):
    asset: str
    free: Decimal
    locked: Decimal


class MarketRow(msgspec.Struct):
    symbol: str


class BookUnit(msgspec.Struct):
    """One level of both sides."""

    bid: Decimal
    bid_size: Decimal
    ask: Decimal
    ask_size: Decimal


class BookRow(msgspec.Struct):
    symbol: str
    as_of_ms: int
    units: tuple[BookUnit, ...]


class CandleRow(msgspec.Struct):
    # UTC, without saying so.
    opened_at: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class PublicTradeRow(msgspec.Struct):
    trade_id: int
    price: Decimal
    quantity: Decimal
    executed_ms: int


class RequestRow(msgspec.Struct):
    """The words of a request that places an order, or asks for one."""

    symbol: str
    type: str
    quantity: str
    client_order_id: str
    order_id: str


CODEC_ROWS: Mapping[str, type[msgspec.Struct]] = {
    "own_trade": OwnTradeRow, "order": OrderRow, "ack": AckRow, "balance": BalanceRow, "market": MarketRow,
    "candle": CandleRow, "book_unit": BookUnit, "book": BookRow, "public_trade": PublicTradeRow,
    "request": RequestRow,
}  # fmt: skip


class KrwCodec:
    """Reads one venue's bodies. Each method raises UnexpectedShape."""

    def __init__(self, api: KrwApi) -> None:
        self._api = api
        kinds = named(CODEC_ROWS, api.fields)
        self._order, self._ack, self._balance = kinds["order"], kinds["ack"], kinds["balance"]
        self._market, self._public_trade = kinds["market"], kinds["public_trade"]
        self._candle, self._book = kinds["candle"], kinds["book"]

    def symbols(self, body: bytes) -> Symbols:
        """The markets that are quoted in won; other quotes have other filters."""
        trading = self._api.trading
        bands = tuple((band.lowest, band.step) for band in self._api.price_bands)
        spellings = [row.symbol for row in decode_all(body, self._market)]
        pairs = []
        for spelling in spellings:
            quote, _, base = spelling.partition("-")
            if quote == trading.quote and base:
                rules = SymbolRules(
                    f"{base}/{quote}", base, quote, bands[-1][1], trading.quantity_step, ZERO, ZERO, trading.min_total,
                    price_bands=bands,
                )  # fmt: skip
                pairs.append((spelling, rules))
        return Symbols(pairs)

    def ack(self, body: bytes) -> str:
        """The exchange's id of an order that was just placed."""
        row: AckRow = decode(body, self._ack)
        return row.order_id

    def order(self, body: bytes, symbols: Symbols, now: datetime) -> OrderReport:
        """One order with the fills that came along; it has no time of its own, so it is as of ``now``."""
        return self._report(decode(body, self._order), symbols, now)

    def orders(self, body: bytes, symbols: Symbols, now: datetime) -> list[OrderReport]:
        rows = decode_all(body, self._order)
        return [self._report(row, symbols, now) for row in rows]

    def account(self, body: bytes, now: datetime) -> AccountSnapshot:
        rows = decode_all(body, self._balance)
        balances = tuple(AssetBalance(row.asset, amount(row.free), amount(row.locked)) for row in rows)
        return AccountSnapshot(balances, now, complete=True)

    def candles(self, body: bytes, symbol: str, timeframe: str, seconds: int, now: datetime) -> list[Candle]:
        """Oldest first; the exchange leaves out spans in which nothing was traded."""
        rows = decode_all(body, self._candle)
        found = [_candle(row, symbol, timeframe, seconds, now) for row in rows]
        return sorted(found, key=lambda candle: candle.opened_at)

    def depth(self, body: bytes) -> DepthSnapshot:
        """The only book asked for; its number is the exchange's time in milliseconds."""
        books = self.books(body)
        if len(books) != 1:
            raise UnexpectedShape("the exchange told of another number of books than one")
        return books[0][1]

    def books(self, body: bytes) -> list[tuple[str, DepthSnapshot]]:
        """Each book with the exchange's name of its market."""
        rows: Sequence[BookRow] = decode_all(body, self._book)
        return [(row.symbol, DepthSnapshot(row.as_of_ms, *sides_of(row.units))) for row in rows]

    def trades(self, body: bytes, symbol: str, seen_ns: int) -> list[PublicTrade]:
        """Oldest first; the exchange tells the newest first."""
        rows: Sequence[PublicTradeRow] = decode_all(body, self._public_trade)
        found = [
            PublicTrade(symbol, seen_ns, row.trade_id, price(row.price), amount(row.quantity), row.executed_ms)
            for row in rows
        ]
        return sorted(found, key=lambda trade: trade.trade_id)

    def _report(self, row: OrderRow, symbols: Symbols, now: datetime) -> OrderReport:
        side, kind = known(SIDES, row.side, "side"), known(TYPES, row.type, "order type")
        executed = amount(row.executed)
        # A buy by its total has no quantity but what it got.
        quantity = amount(row.quantity) if row.quantity is not None else executed
        symbol = symbols.name(row.symbol)
        return OrderReport(
            client_order_id=row.client_order_id or "",
            exchange_order_id=row.order_id,
            symbol=symbol,
            side=side,
            type=type_of(kind, row.time_in_force),
            time_in_force=time_in_force_of(kind, row.time_in_force),
            status=status_of(row.state, kind, row.time_in_force, quantity, executed),
            quantity=quantity,
            price=amount(row.price) if row.price is not None and kind is OrderType.LIMIT else None,
            filled_quantity=executed,
            reported_at=now,
            fills=tuple(fills_of(row, symbol, side, self._api.trading.quote)),
        )


def type_of(kind: OrderType, condition: str | None) -> OrderType:
    return OrderType.POST_ONLY if condition == POST_ONLY else kind


def time_in_force_of(kind: OrderType, condition: str | None) -> TimeInForce:
    """These exchanges name no condition where an order rests, or where its type says that it doesn't."""
    if condition:
        return known(TIMES_IN_FORCE, condition, "time in force")
    return TimeInForce.IOC if kind is OrderType.MARKET else TimeInForce.GTC


def status_of(
    state: str, kind: OrderType, condition: str | None, quantity: Decimal, executed: Decimal
) -> ReportStatus:
    """Their states don't tell why an order ended, nor (Bithumb) whether one that is "done" was filled."""
    if state not in STATES:
        raise UnexpectedShape("unknown order state in the exchange's answer")
    if state in OPEN_STATES or (state in ("trade", "prevented") and executed < quantity):
        return ReportStatus.PARTIALLY_FILLED if executed else ReportStatus.WORKING
    if executed and executed >= quantity:
        return ReportStatus.FILLED
    never_rests = time_in_force_of(kind, condition) is not TimeInForce.GTC
    return ReportStatus.EXPIRED if never_rests else ReportStatus.CANCELLED


def fills_of(row: OrderRow, symbol: str, side: Side, quote: str) -> list[Fill]:
    """The order's fills, oldest first. Each has its share of the order's fee: the rate is the same for all of them."""
    with exact():
        funds = sum((amount(trade.funds) for trade in row.trades), ZERO)
        rate = amount(row.paid_fee) / funds if funds else ZERO
        found = [
            Fill(
                trade.trade_id, row.order_id, symbol, side, amount(trade.quantity), price(trade.price),
                (trade.funds * rate).quantize(FEE_UNIT), quote, liquidity_of(row), trade.executed_at.astimezone(UTC),
            )
            for trade in row.trades
        ]  # fmt: skip
    return sorted(found, key=lambda fill: fill.executed_at)


def liquidity_of(row: OrderRow) -> str:
    """Not told but where the order says it: one that never rests takes, one that only rests makes."""
    if row.time_in_force == POST_ONLY:
        return "maker"
    never_rests = time_in_force_of(known(TYPES, row.type, "order type"), row.time_in_force) is not TimeInForce.GTC
    return "taker" if never_rests else ""


def sides_of(units: Sequence[BookUnit]) -> tuple[Levels, Levels]:
    """(bids, asks) of a book; a level without a size is none (Bithumb pads with them)."""
    bids = tuple((unit.bid, unit.bid_size) for unit in units if unit.bid_size)
    asks = tuple((unit.ask, unit.ask_size) for unit in units if unit.ask_size)
    return amounts(bids), amounts(asks)


def opened_at(text: str) -> datetime:
    """When a candle began: UTC, though the exchange doesn't say so in it."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise UnexpectedShape("a candle isn't as documented: its time") from None


def _candle(row: CandleRow, symbol: str, timeframe: str, seconds: int, now: datetime) -> Candle:
    begun = opened_at(row.opened_at)
    return Candle(
        symbol, timeframe, begun, price(row.open), price(row.high), price(row.low), price(row.close),
        amount(row.volume), closed=begun + timedelta(seconds=seconds) <= now,
    )  # fmt: skip
