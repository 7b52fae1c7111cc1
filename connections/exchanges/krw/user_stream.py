"""A won exchange's private socket: the token opens it, and it tells one account's orders, fills and assets."""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from connections.exchanges.contract import ONLY, BalanceNews, OrderNews, UserFrame
from connections.exchanges.krw.api import KrwApi
from connections.exchanges.krw.codec import FEE_UNIT, TYPES, status_of, time_in_force_of, type_of
from connections.exchanges.krw.market_stream import PROBE, Head, read_answer
from connections.exchanges.krw.tokens import bearer
from connections.exchanges.wire import Symbols, amount, decode, known, named, price
from connections.gateways import AssetBalance, Credentials, Fill, OrderReport, OrderType, Side, UnexpectedShape
from desproject.lib.clock import from_millis
from desproject.lib.money import ZERO, exact

ORDERS, ASSETS = "myOrder", "myAsset"
_SIDES = {"BID": Side.BUY, "ASK": Side.SELL, "buy": Side.BUY, "sell": Side.SELL}
_LIQUIDITY = {True: "maker", False: "taker", None: ""}


class OrderEvent(msgspec.Struct):
    """An order's change, or with the state "trade" one fill of it.

    Upbit says a fill's price in the order's place, and its fee. Bithumb says its price and funds, and the order's fee
    so far.
    """

    symbol: str
    order_id: str
    side: str
    type: str
    state: str
    executed: Decimal
    told_ms: int
    client_order_id: str | None = None
    time_in_force: str | None = None
    order_price: Decimal | None = None
    remaining: Decimal | None = None
    trade_id: str | None = None
    trade_price: Decimal | None = None
    quantity: Decimal | None = None
    funds: Decimal | None = None
    executed_funds: Decimal | None = None
    paid_fee: Decimal | None = None
    trade_fee: Decimal | None = None
    is_maker: bool | None = None
    executed_ms: int | None = None


class AssetRow(msgspec.Struct):
    asset: str
    free: Decimal
    locked: Decimal


class AssetsEvent(msgspec.Struct):
    assets: tuple[AssetRow, ...]
    as_of_ms: int


USER_ROWS: Mapping[str, type[msgspec.Struct]] = {
    "private_event": Head, "order_event": OrderEvent, "asset_event": AssetRow, "assets_event": AssetsEvent,
}  # fmt: skip


class KrwUserDialect:
    """See connections.exchanges.contract.UserDialect."""

    accounts_per_socket = 1
    probe = PROBE

    def __init__(self, api: KrwApi, base: str, symbols: Symbols, *, stamps_requests: bool) -> None:
        self.url = base + api.paths.private_socket
        self.lifetime = float(api.limits.socket_seconds)
        self._quote = api.trading.quote
        self._format = api.formats.private
        self._symbols = symbols
        self._stamps_requests = stamps_requests
        kinds = named(USER_ROWS, api.fields)
        self._head, self._order_event = kinds["private_event"], kinds["order_event"]
        self._assets_event = kinds["assets_event"]

    def handshake(self, credentials: Credentials, now_ms: int) -> dict[str, str]:
        return bearer(credentials, timestamp_ms=now_ms if self._stamps_requests else None)

    def subscribe(self, request_id: int, credentials: Credentials, now_ms: int) -> str:
        message = [{"ticket": f"des-{request_id}"}, {"type": ORDERS}, {"type": ASSETS}, {"format": self._format}]
        return msgspec.json.encode(message).decode()

    def unsubscribe(self, request_id: int, subscription: int) -> str:
        """Never asked for: the account's socket goes with it."""
        raise NotImplementedError("a private socket has one account")

    def read(self, frame: str | bytes) -> UserFrame | None:
        head: Head = decode(frame, self._head)
        if head.kind == ORDERS:
            return OrderNews(ONLY, self._report(decode(frame, self._order_event)))
        if head.kind == ASSETS:
            return _balances(decode(frame, self._assets_event))
        return read_answer(head)

    def _report(self, event: OrderEvent) -> OrderReport:
        side, kind = known(_SIDES, event.side, "side"), known(TYPES, event.type, "order type")
        symbol, executed = self._symbols.name(event.symbol), amount(event.executed)
        quantity = executed + amount(event.remaining or ZERO)
        return OrderReport(
            client_order_id=event.client_order_id or "",
            exchange_order_id=event.order_id,
            symbol=symbol,
            side=side,
            type=type_of(kind, event.time_in_force),
            time_in_force=time_in_force_of(kind, event.time_in_force),
            status=status_of(event.state, kind, event.time_in_force, quantity, executed),
            quantity=quantity,
            price=event.order_price if kind is OrderType.LIMIT and event.state != "trade" else None,
            filled_quantity=executed,
            reported_at=from_millis(event.told_ms),
            fills=(self._fill(event, symbol, side),) if event.state == "trade" else (),
        )

    def _fill(self, event: OrderEvent, symbol: str, side: Side) -> Fill:
        paid, fee = event.trade_price or event.order_price, _fee(event)
        if not event.trade_id or paid is None or event.quantity is None or fee is None:
            raise UnexpectedShape("a fill comes without its id, price, quantity or fee")
        return Fill(
            event.trade_id, event.order_id, symbol, side, amount(event.quantity), price(paid), amount(fee),
            self._quote, _LIQUIDITY[event.is_maker],
            from_millis(event.executed_ms or event.told_ms),
        )  # fmt: skip


def _fee(event: OrderEvent) -> Decimal | None:
    """The fill's fee, or its share of the order's so far: the rate is the same for all fills of an order."""
    if event.trade_fee is not None:
        return event.trade_fee
    if event.paid_fee is None or event.funds is None or not event.executed_funds:
        return None
    with exact():
        return (event.paid_fee * event.funds / event.executed_funds).quantize(FEE_UNIT)


def _balances(event: AssetsEvent) -> BalanceNews:
    rows = tuple(AssetBalance(row.asset, amount(row.free), amount(row.locked)) for row in event.assets)
    return BalanceNews(ONLY, rows, event.as_of_ms)
