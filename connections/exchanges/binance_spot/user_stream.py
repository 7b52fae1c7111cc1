"""Binance spot's user data over the WebSocket API: many accounts on one socket."""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from connections.exchanges.binance.codec import ErrorAnswer
from connections.exchanges.binance.refusals import coded
from connections.exchanges.binance.signing import signed_params
from connections.exchanges.binance.user_events import OrderEventRow, fill_told
from connections.exchanges.binance_spot.api import SpotApi
from connections.exchanges.binance_spot.codec import SpotCodec
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
from connections.exchanges.wire import Symbols, amount, decode, named
from connections.gateways import AssetBalance, Credentials, OrderReport, UnexpectedShape

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


class SpotOrderEventRow(OrderEventRow):
    original_client_order_id: str | None = ""
    reject_reason: str = "NONE"


class BalanceRow(msgspec.Struct):
    asset: str
    free: Decimal
    locked: Decimal


class BalancesEventRow(msgspec.Struct):
    updated_ms: int
    balances: tuple[BalanceRow, ...]


USER_ROWS: Mapping[str, type[msgspec.Struct]] = {
    "order_event": SpotOrderEventRow, "balance_event": BalanceRow, "balances_event": BalancesEventRow,
}  # fmt: skip


class SpotUserDialect:
    """See connections.exchanges.contract.UserDialect."""

    probe = ""

    def __init__(self, api: SpotApi, codec: SpotCodec, base: str, symbols: Symbols) -> None:
        self.url = f"{base}{api.paths.ws_api}?returnRateLimits=false"
        self.lifetime = float(api.limits.socket_seconds)
        self.accounts_per_socket = api.limits.accounts_a_socket
        self._codec = codec
        self._symbols = symbols
        self._kinds = named(USER_ROWS, api.fields)

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
            return OrderNews(subscription, self._report(decode(event, self._kinds["order_event"])))
        if kind == "outboundAccountPosition":
            return _balances(subscription, decode(event, self._kinds["balances_event"]))
        # balanceUpdate says by how much; the position that comes with it says what there is.
        return Terminated(subscription) if kind == "eventStreamTerminated" else None

    def _report(self, event: SpotOrderEventRow) -> OrderReport:
        original = event.original_client_order_id
        return self._codec.report(
            event,
            self._symbols,
            event.transacted_ms,
            # A cancel has an id of its own; the order's is then the "original" one.
            client_order_id=original if original not in ("null", None) else "",
            fills=[fill_told(event, self._symbols)] if event.happened == "TRADE" else (),
            reject_reason="" if event.reject_reason == "NONE" else event.reject_reason,
        )


def _balances(subscription: int, event: BalancesEventRow) -> BalanceNews:
    balances = tuple(AssetBalance(row.asset, amount(row.free), amount(row.locked)) for row in event.balances)
    return BalanceNews(subscription, balances, event.updated_ms)


def _message(method: str, request_id: int, params: dict[str, str | int]) -> str:
    return msgspec.json.encode({"id": request_id, "method": method, "params": params}).decode()
