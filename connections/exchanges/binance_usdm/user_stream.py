"""Binance USD-M's user data: each account has a socket of its own, at an address that a listen key names."""

from decimal import Decimal

import msgspec

from connections.exchanges.binance.account_rest import AccountRest
from connections.exchanges.binance.codec import SIDES, Symbols, amount, decode, known
from connections.exchanges.binance.public import BinancePublic
from connections.exchanges.binance_usdm.api import API
from connections.exchanges.binance_usdm.codec import STATUSES, time_in_force_of, type_of
from connections.exchanges.contract import ONLY, BalanceNews, Ending, OrderNews, Terminated, UserFrame
from connections.gateways import AssetBalance, Credentials, Fill, OrderReport, OrderType, UnexpectedShape
from desproject.lib.clock import from_millis
from desproject.lib.money import ZERO


class _ListenKey(msgspec.Struct, rename="camel"):
    listen_key: str


class _Event(msgspec.Struct):
    """Any event; those that DES reads have one of the bodies."""

    e: str
    T: int = 0
    o: msgspec.Raw = msgspec.Raw(b"")
    a: msgspec.Raw = msgspec.Raw(b"")


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
    last_quantity: Decimal = ZERO
    last_price: Decimal = ZERO
    fee: Decimal | None = None
    fee_asset: str | None = None
    trade_id: int = 0
    is_maker: bool = False


class _BalanceRow(msgspec.Struct, rename=API.fields["balance_event"]):
    asset: str
    total: Decimal


class _AccountEvent(msgspec.Struct):
    B: tuple[_BalanceRow, ...] = ()


API.check_field_names({"order_event": _OrderEvent, "balance_event": _BalanceRow})


# A trade of ours, or one by which the exchange liquidates.
_EXECUTIONS = ("TRADE", "CALCULATED")


class UsdmUserDialect:
    """See connections.exchanges.contract.AddressedUserDialect."""

    accounts_per_socket = 1
    probe = ""
    lifetime = float(API.limits.socket_seconds)
    # Twice within a key's life.
    keep_alive_seconds = API.limits.listen_key_seconds / 2

    def __init__(self, base: str, public: BinancePublic, symbols: Symbols) -> None:
        self.url = base + API.paths.private_stream
        self._public = public
        self._symbols = symbols

    async def address(self, credentials: Credentials) -> str:
        body = await self._rest(credentials).keyed("POST", API.paths.listen_key, {})
        found: _ListenKey = decode(body, _ListenKey)
        return f"{self.url}/{found.listen_key}"

    async def keep_alive(self, credentials: Credentials) -> None:
        await self._rest(credentials).keyed("PUT", API.paths.listen_key, {})

    def handshake(self, credentials: Credentials, now_ms: int) -> dict[str, str]:
        return {}

    def subscribe(self, request_id: int, credentials: Credentials, now_ms: int) -> str:
        return ""

    def unsubscribe(self, request_id: int, subscription: int) -> str:
        return ""

    def read(self, frame: str | bytes) -> UserFrame | None:
        event = decode(frame, _Event)
        if event.e == "ORDER_TRADE_UPDATE":
            return OrderNews(ONLY, self._report(decode(event.o, _OrderEvent)))
        if event.e == "ACCOUNT_UPDATE":
            return _balances(decode(event.a, _AccountEvent), event.T)
        if event.e == "listenKeyExpired":
            return Terminated(ONLY)
        return Ending() if event.e == "serverShutdown" else None

    def _rest(self, credentials: Credentials) -> AccountRest:
        return AccountRest(credentials, self._public, API.limits.max_recv_window_ms)

    def _report(self, event: _OrderEvent) -> OrderReport:
        kind = type_of(event.type, event.time_in_force)
        return OrderReport(
            client_order_id=event.client_order_id,
            exchange_order_id=str(event.order_id),
            symbol=self._symbols.name(event.symbol),
            side=known(SIDES, event.side, "side"),
            type=kind,
            time_in_force=time_in_force_of(event.time_in_force),
            status=known(STATUSES, event.status, "order status"),
            quantity=amount(event.quantity),
            price=None if kind is OrderType.MARKET else amount(event.price),
            filled_quantity=amount(event.executed),
            reported_at=from_millis(event.transacted_ms),
            fills=(self._fill(event),) if event.happened in _EXECUTIONS else (),
        )

    def _fill(self, event: _OrderEvent) -> Fill:
        if event.fee is None or event.fee_asset is None:
            raise UnexpectedShape("a fill comes without its fee")
        return Fill(
            str(event.trade_id), str(event.order_id), self._symbols.name(event.symbol),
            known(SIDES, event.side, "side"), amount(event.last_quantity), amount(event.last_price), amount(event.fee),
            event.fee_asset, "maker" if event.is_maker else "taker", from_millis(event.transacted_ms),
        )  # fmt: skip


def _balances(event: _AccountEvent, at_ms: int) -> BalanceNews:
    """What is in the wallet. What of it margins positions and orders isn't told here."""
    balances = tuple(AssetBalance(row.asset, amount(row.total), ZERO) for row in event.B)
    return BalanceNews(ONLY, balances, at_ms)
