"""The control API, for tests and demos on this machine: accounts, money, faults, and what really happened.

Every request carries the token in `X-Sim-Control`. Bodies and answers are JSON; amounts are decimals as text.

| request | body |
|---|---|
| POST /control/accounts | api_key, api_secret or ed25519_public_key, balances {asset: amount}, permissions, fees |
| POST /control/keys | api_key, enabled?, permissions? {can_trade, can_withdraw, can_read, ip_restricted} |
| POST /control/deposit, /control/withdraw | api_key, asset, amount |
| GET /control/ledger | (per account: balances, orders, fills, `received` and `accepted` by client id; fees; house) |
| GET /control/counters | (order_requests, orders, fills, requests by path, faults fired by kind, sockets open) |
| POST /control/faults | one fault (faults.py) |
| GET, DELETE /control/faults | (those that are set; all off) |
"""

import hmac
from collections import Counter
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from aiohttp import web

from connections.simulator.accounts import Account, Bank, Fees, InsufficientBalance, Permissions, UnknownAccount
from connections.simulator.binance_spot.front import BinanceSpot
from connections.simulator.exchange import Exchange
from connections.simulator.faults import Fault, FaultBox, FaultKind
from connections.simulator.matching import Order
from connections.simulator.sim_clock import ExchangeClock
from connections.simulator.sockets import Sockets

PREFIX = "/control"
TOKEN_HEADER = "X-Sim-Control"  # noqa: S105 - a header's name
_LOOPBACK = ("127.0.0.1", "::1")


class AccountSpec(msgspec.Struct, forbid_unknown_fields=True):
    """An account to create. Amounts and rates are decimals as text."""

    api_key: str
    api_secret: str = ""
    ed25519_public_key: str = ""
    balances: dict[str, str] = {}
    permissions: dict[str, bool] = {}
    fees: dict[str, str] = {}


class TransferSpec(msgspec.Struct, forbid_unknown_fields=True):
    """Money to put in or take out."""

    api_key: str
    asset: str
    amount: str


class KeySpec(msgspec.Struct, forbid_unknown_fields=True):
    """A key to switch on or off, or whose permissions change."""

    api_key: str
    enabled: bool | None = None
    permissions: dict[str, bool] = {}


class Refused(Exception):
    """A control request that can't be done; its text says why."""


class Control:
    """Everything that tests may ask of the simulator."""

    def __init__(
        self,
        token: str,
        exchange: Exchange,
        clock: ExchangeClock,
        faults: FaultBox,
        sockets: Sockets,
        spot: BinanceSpot,
    ) -> None:
        self._token = token
        self._exchange = exchange
        self._clock = clock
        self._faults = faults
        self._sockets = sockets
        self._spot = spot
        self._routes: dict[tuple[str, str], Callable[[bytes], Any]] = {
            ("POST", "/accounts"): lambda body: self.create_account(_read(body, AccountSpec)),
            ("POST", "/keys"): lambda body: self.change_key(_read(body, KeySpec)),
            ("POST", "/deposit"): lambda body: self.transfer(_read(body, TransferSpec), Decimal(1)),
            ("POST", "/withdraw"): lambda body: self.transfer(_read(body, TransferSpec), Decimal(-1)),
            ("GET", "/ledger"): lambda _body: self.ledger(),
            ("GET", "/counters"): lambda _body: self.counters(),
            ("GET", "/faults"): lambda _body: self._faults.all(),
            ("POST", "/faults"): lambda body: self.add_fault(_read(body, Fault)),
            ("DELETE", "/faults"): lambda _body: self.clear_faults(),
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers loopback callers that know the token; to others it isn't there."""
        sent = request.headers.get(TOKEN_HEADER, "")
        if request.remote not in _LOOPBACK or not hmac.compare_digest(sent.encode(), self._token.encode()):
            return web.Response(status=404)
        route = self._routes.get((request.method, request.path.removeprefix(PREFIX)))
        if route is None:
            return web.Response(status=404)
        try:
            answer = route(await request.read())
        except (Refused, msgspec.DecodeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json")

    # accounts

    def create_account(self, spec: AccountSpec) -> dict[str, Any]:
        """Raises Refused for a key in use or without a secret."""
        bank = self._exchange.bank
        if spec.api_key in bank.accounts or not (spec.api_secret or spec.ed25519_public_key):
            raise Refused("the key exists already or has neither secret nor public key")
        now_ms = self._exchange.now_ms()
        account = Account(
            spec.api_key,
            uid=len(bank.accounts) + 1,
            api_secret=spec.api_secret,
            ed25519_public_key=spec.ed25519_public_key,
            permissions=_permissions(Permissions(), spec.permissions),
            fees=Fees(**{name: _amount(rate) for name, rate in spec.fees.items()}) if spec.fees else Fees(),
            created_ms=now_ms,
            updated_ms=now_ms,
        )
        for asset, amount in spec.balances.items():
            account.balances[asset].free = _amount(amount)
        bank.add(account)
        return {"api_key": account.api_key, "uid": account.uid}

    def change_key(self, spec: KeySpec) -> dict[str, Any]:
        account = _find(self._exchange.bank, spec.api_key)
        if spec.enabled is not None:
            account.enabled = spec.enabled
        _permissions(account.permissions, spec.permissions)
        return {"api_key": account.api_key, "enabled": account.enabled}

    def transfer(self, spec: TransferSpec, sign: Decimal) -> dict[str, Any]:
        account = _find(self._exchange.bank, spec.api_key)
        try:
            self._exchange.transfer(account, spec.asset, sign * _amount(spec.amount))
        except InsufficientBalance:
            raise Refused("not enough free balance") from None
        return {"asset": spec.asset, "free": account.balances[spec.asset].free}

    # what happened

    def ledger(self) -> dict[str, Any]:
        """Every account's orders, fills, balances, and how often each client id was received; fees and house too."""
        bank = self._exchange.bank
        accounts = {key: _account_ledger(account) for key, account in bank.accounts.items()}
        return {"accounts": accounts, "fees": bank.fees, "house": bank.house}

    def counters(self) -> dict[str, Any]:
        return {
            "order_requests": self._spot.order_requests,
            "orders": self._exchange.orders_placed,
            "fills": self._exchange.fills,
            "requests": self._spot.requests,
            "faults": self._faults.fired,
            "sockets": self._sockets.count(),
        }

    # faults

    def add_fault(self, fault: Fault) -> dict[str, Any]:
        """Sets a fault; those of sockets and of the clock act at once."""
        struck = 0
        if fault.kind is FaultKind.WS_CUT:
            struck = self._cut(fault)
        elif fault.kind is FaultKind.WS_FREEZE:
            struck = self._freeze(fault)
        elif fault.kind is FaultKind.CLOCK_SKEW:
            self._clock.skew_ms = fault.milliseconds
            self._faults.count(fault)
        else:
            self._faults.add(fault)
        return {"kind": fault.kind, "struck": struck}

    def clear_faults(self) -> dict[str, Any]:
        self._faults.clear()
        self._clock.skew_ms = 0
        return {"faults": 0}

    def _cut(self, fault: Fault) -> int:
        targets = self._sockets.of(fault.socket)[: fault.count or None]
        for socket in targets:
            self._faults.count(fault)
            if fault.abort:
                socket.abort()
            else:
                socket.close(1001)
        return len(targets)

    def _freeze(self, fault: Fault) -> int:
        targets = self._sockets.of(fault.socket)[: fault.count or None]
        for socket in targets:
            self._faults.count(fault)
            socket.freeze(fault.seconds)
        return len(targets)


def _read(body: bytes, kind: type[Any]) -> Any:
    return msgspec.json.decode(body, type=kind)


def _find(bank: Bank, api_key: str) -> Account:
    try:
        return bank.get(api_key)
    except UnknownAccount:
        raise Refused("no such account") from None


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise Refused(f"{text!r} is no amount") from None
    if not amount.is_finite() or amount < 0:
        raise Refused(f"{text!r} is no amount")
    return amount


def _permissions(permissions: Permissions, changes: dict[str, bool]) -> Permissions:
    for name, value in changes.items():
        if not hasattr(permissions, name):
            raise Refused(f"no permission is called {name!r}")
        setattr(permissions, name, value)
    return permissions


def _account_ledger(account: Account) -> dict[str, Any]:
    return {
        "balances": {asset: {"free": b.free, "locked": b.locked} for asset, b in account.balances.items()},
        "orders": [_order_row(order) for order in account.orders.values()],
        "fills": account.fills,
        "received": account.received,
        "accepted": Counter(order.client_order_id for order in account.orders.values()),
    }


def _order_row(order: Order) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "client_order_id": order.client_order_id,
        "symbol": order.symbol,
        "side": order.side,
        "type": order.type,
        "status": order.status,
        "quantity": order.quantity,
        "executed": order.executed,
        "quote_executed": order.quote_executed,
        "price": order.price,
        "created_ms": order.created_ms,
        "updated_ms": order.updated_ms,
    }
