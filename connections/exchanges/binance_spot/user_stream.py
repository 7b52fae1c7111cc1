"""Binance spot's user data over the WebSocket API: many accounts on one socket."""

from decimal import Decimal

import msgspec

from connections.exchanges.binance.codec import SIDES, STATUSES, ErrorAnswer, Symbols, amount, decode, known
from connections.exchanges.binance.refusals import coded
from connections.exchanges.binance.signing import signed_params
from connections.exchanges.binance_spot.api import API
from connections.exchanges.binance_spot.codec import TIMES_IN_FORCE, TYPES
from connections.exchanges.call import Purpose
from connections.exchanges.contract import (
    BalanceNews,
    Confirmed,
    Ending,
    OrderNews,
    Refused,
    Subscribed,
    Terminated,
    UserFrame,
)
from connections.gateways import AssetBalance, Credentials, Fill, OrderReport, OrderType, Side, UnexpectedShape
from desproject.lib.clock import from_millis

_SUBSCRIBE = "userDataStream.subscribe.signature"
_UNSUBSCRIBE = "userDataStream.unsubscribe"


class _Result(msgspec.Struct, rename="camel"):
    subscription_id: int | None = None


class _Frame(msgspec.Struct, rename={"subscription_id": "subscriptionId"}):
    """An event of a subscription, or the answer to a request."""

    subscription_id: int | None = None
    event: msgspec.Raw = msgspec.Raw(b"")
    id: int | None = None
    status: int = 0
    result: _Result | None = None
    error: ErrorAnswer | None = None


class _Kind(msgspec.Struct):
    e: str


class _OrderEvent(msgspec.Struct, rename=API.fields["order_event"]):
    symbol: str
    client_order_id: str
    side: str
    type: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    happened: str
    status: str
    order_id: int
    executed: Decimal
    transacted_ms: int
    original_client_order_id: str | None = ""
    reject_reason: str = "NONE"
    last_quantity: Decimal = Decimal(0)
    last_price: Decimal = Decimal(0)
    fee: Decimal | None = None
    fee_asset: str | None = None
    trade_id: int = -1
    is_maker: bool = False


class _BalanceRow(msgspec.Struct, rename=API.fields["balance_event"]):
    asset: str
    free: Decimal
    locked: Decimal


class _BalancesEvent(msgspec.Struct, rename=API.fields["balances_event"]):
    updated_ms: int
    balances: tuple[_BalanceRow, ...]


API.check_field_names(
    {"order_event": _OrderEvent, "balance_event": _BalanceRow, "balances_event": _BalancesEvent}
)


class SpotUserDialect:
    """See connections.exchanges.contract.UserDialect."""

    lifetime = float(API.limits.socket_seconds)
    accounts_per_socket = API.limits.accounts_a_socket
    probe = ""

    def __init__(self, base: str, symbols: Symbols) -> None:
        self.url = f"{base}{API.paths.ws_api}?returnRateLimits=false"
        self._symbols = symbols

    def handshake(self, credentials: Credentials, now_ms: int) -> dict[str, str]:
        return {}

    def subscribe(self, request_id: int, credentials: Credentials, now_ms: int) -> str:
        params = signed_params(credentials.api_secret, {"apiKey": credentials.api_key, "timestamp": now_ms})
        return _message(_SUBSCRIBE, request_id, params)

    def unsubscribe(self, request_id: int, subscription: int) -> str:
        return _message(_UNSUBSCRIBE, request_id, {"subscriptionId": subscription})

    def read(self, frame: str | bytes) -> UserFrame | None:
        found = decode(frame, _Frame)
        if found.event:
            return self._event(found.event, found.subscription_id)
        if found.id is None:
            return None
        if found.error is not None:
            code, message = found.error.code, found.error.msg
            return Refused(found.id, f"{code}: {message}", coded(code, message, Purpose.READ, found.status))
        if found.result is not None and found.result.subscription_id is not None:
            return Subscribed(found.id, found.result.subscription_id)
        return Confirmed(found.id)

    def _event(self, event: msgspec.Raw, subscription: int | None) -> UserFrame | None:
        kind = decode(event, _Kind).e
        if kind == "serverShutdown":
            return Ending()
        if subscription is None:
            raise UnexpectedShape("an event names no subscription")
        if kind == "executionReport":
            return OrderNews(subscription, self._report(decode(event, _OrderEvent)))
        if kind == "outboundAccountPosition":
            return _balances(subscription, decode(event, _BalancesEvent))
        # balanceUpdate says by how much; the position that comes with it says what there is.
        return Terminated(subscription) if kind == "eventStreamTerminated" else None

    def _report(self, event: _OrderEvent) -> OrderReport:
        original = event.original_client_order_id
        side, kind = known(SIDES, event.side, "side"), known(TYPES, event.type, "order type")
        symbol = self._symbols.name(event.symbol)
        return OrderReport(
            # A cancel has an id of its own; the order's is then the "original" one.
            client_order_id=original if original not in ("", "null", None) else event.client_order_id,
            exchange_order_id=str(event.order_id),
            symbol=symbol,
            side=side,
            type=kind,
            time_in_force=known(TIMES_IN_FORCE, event.time_in_force, "time in force"),
            status=known(STATUSES, event.status, "order status"),
            quantity=amount(event.quantity),
            price=None if kind is OrderType.MARKET else amount(event.price),
            filled_quantity=amount(event.executed),
            reported_at=from_millis(event.transacted_ms),
            fills=(_fill(event, symbol, side),) if event.happened == "TRADE" else (),
            reject_reason="" if event.reject_reason == "NONE" else event.reject_reason,
        )


def _fill(event: _OrderEvent, symbol: str, side: Side) -> Fill:
    if event.fee is None or event.fee_asset is None:
        raise UnexpectedShape("a fill comes without its fee")
    return Fill(
        str(event.trade_id), str(event.order_id), symbol, side, amount(event.last_quantity), amount(event.last_price),
        amount(event.fee), event.fee_asset, "maker" if event.is_maker else "taker", from_millis(event.transacted_ms),
    )  # fmt: skip


def _balances(subscription: int, event: _BalancesEvent) -> BalanceNews:
    balances = tuple(AssetBalance(row.asset, amount(row.free), amount(row.locked)) for row in event.balances)
    return BalanceNews(subscription, balances, event.updated_ms)


def _message(method: str, request_id: int, params: dict[str, str | int]) -> str:
    return msgspec.json.encode({"id": request_id, "method": method, "params": params}).decode()
