"""Binance USD-M's user data: each account has a socket of its own, at an address that a listen key names."""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from connections.exchanges.binance.account_rest import AccountRest
from connections.exchanges.binance.user_events import OrderEventRow, fill_told
from connections.exchanges.binance_usdm.gateway import UsdmPublic
from connections.exchanges.contract import ONLY, BalanceNews, Ending, OrderNews, Terminated, UserFrame
from connections.exchanges.wire import Symbols, amount, decode, named
from connections.gateways import AssetBalance, Credentials, OrderReport
from desproject.lib.money import ZERO


class _ListenKey(msgspec.Struct, rename="camel"):
    listen_key: str


class _Event(msgspec.Struct):
    """Any event; those that DES reads have one of the bodies."""

    e: str
    T: int = 0
    o: msgspec.Raw = msgspec.Raw(b"")
    a: msgspec.Raw = msgspec.Raw(b"")


class BalanceRow(msgspec.Struct):
    asset: str
    total: Decimal


class AccountEventRow(msgspec.Struct):
    balances: tuple[BalanceRow, ...] = ()


USER_ROWS: Mapping[str, type[msgspec.Struct]] = {
    "order_event": OrderEventRow, "balance_event": BalanceRow, "account_event": AccountEventRow,
}  # fmt: skip
# A trade of ours, or one by which the exchange liquidates.
_EXECUTIONS = ("TRADE", "CALCULATED")


class UsdmUserDialect:
    """See connections.exchanges.contract.AddressedUserDialect."""

    accounts_per_socket = 1
    probe = ""

    def __init__(self, public: UsdmPublic, base: str, symbols: Symbols) -> None:
        self._api = api = public.api
        self.url = base + api.paths.private_stream
        self.lifetime = float(api.limits.socket_seconds)
        self._public = public
        self._codec = public.codec
        self._symbols = symbols
        self._kinds = named(USER_ROWS, api.fields)

    @property
    def keep_alive_seconds(self) -> float:
        """Twice within a key's life."""
        return self._api.limits.listen_key_seconds / 2

    async def address(self, credentials: Credentials) -> str:
        body = await self._rest(credentials).keyed("POST", self._api.paths.listen_key, {})
        found: _ListenKey = decode(body, _ListenKey)
        return f"{self.url}/{found.listen_key}"

    async def keep_alive(self, credentials: Credentials) -> None:
        await self._rest(credentials).keyed("PUT", self._api.paths.listen_key, {})

    def handshake(self, credentials: Credentials, now_ms: int) -> dict[str, str]:
        return {}

    def subscribe(self, request_id: int, credentials: Credentials, now_ms: int) -> str:
        return ""

    def unsubscribe(self, request_id: int, subscription: int) -> str:
        return ""

    def read(self, frame: str | bytes) -> UserFrame | None:
        event = decode(frame, _Event)
        if event.e == "ORDER_TRADE_UPDATE":
            return OrderNews(ONLY, self._report(decode(event.o, self._kinds["order_event"])))
        if event.e == "ACCOUNT_UPDATE":
            return _balances(decode(event.a, self._kinds["account_event"]), event.T)
        if event.e == "listenKeyExpired":
            return Terminated(ONLY)
        return Ending() if event.e == "serverShutdown" else None

    def _rest(self, credentials: Credentials) -> AccountRest:
        return AccountRest(credentials, self._public, self._api.limits.max_recv_window_ms)

    def _report(self, event: OrderEventRow) -> OrderReport:
        fills = [fill_told(event, self._symbols)] if event.happened in _EXECUTIONS else ()
        return self._codec.report(event, self._symbols, event.transacted_ms, fills=fills)


def _balances(event: AccountEventRow, at_ms: int) -> BalanceNews:
    """What is in the wallet. What of it margins positions and orders isn't told here."""
    balances = tuple(AssetBalance(row.asset, amount(row.total), ZERO) for row in event.balances)
    return BalanceNews(ONLY, balances, at_ms)
