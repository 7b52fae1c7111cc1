"""The control API, for tests and demos on this machine: accounts, money, faults, and what really happened.

Every request carries the token in `X-Sim-Control`. Ledger and counters are of all venues together; a key is one
venue's (`exchange`, Binance spot's unless told). Bodies and answers are JSON; amounts are decimals as text.

| request | body |
|---|---|
| POST /control/accounts | api_key, api_secret or ed25519_public_key, balances {asset: amount}, permissions, fees |
| POST /control/keys | api_key, enabled?, permissions? {can_trade, can_withdraw, can_read, ip_restricted} |
| POST /control/deposit, /control/withdraw | api_key, asset, amount |
| POST /control/storm | symbol, move, seconds, rate?, spread?: the price runs away wherever it is listed (walk.py) |
| POST /control/funding | symbol: funding of that contract is due now |
| GET /control/ledger[?api_key=…] | (per account: balances, positions, orders, fills, ids received, accepted) |
| GET /control/counters | (order_requests, orders, fills, requests by path, faults fired by kind, sockets open) |
| POST /control/faults | one fault (faults.py) |
| GET, DELETE /control/faults | (those that are set; all off) |
"""

import hmac
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, runtime_checkable

import msgspec
from aiohttp import web

from connections.simulator.accounts import Account, Fees, InsufficientBalance, Permissions
from connections.simulator.exchange import Exchange
from connections.simulator.faults import Fault, FaultBox, FaultKind
from connections.simulator.margin import Holding, MarginBank
from connections.simulator.matching import ZERO, Order
from connections.simulator.request_faults import RequestFaults
from connections.simulator.sim_clock import ExchangeClock
from connections.simulator.sockets import Sockets
from connections.simulator.walk import Storm

PREFIX = "/control"
TOKEN_HEADER = "X-Sim-Control"  # noqa: S105 - a header's name
_LOOPBACK = ("127.0.0.1", "::1")


class AccountSpec(msgspec.Struct, forbid_unknown_fields=True):
    """An account to create, at one venue. Amounts and rates are decimals as text."""

    api_key: str
    api_secret: str = ""
    ed25519_public_key: str = ""
    balances: dict[str, str] = {}
    permissions: dict[str, bool] = {}
    fees: dict[str, str] = {}
    exchange: str = "binance_spot"


class TransferSpec(msgspec.Struct, forbid_unknown_fields=True):
    """Money to put in or take out."""

    api_key: str
    asset: str
    amount: str


class LedgerSpec(msgspec.Struct, forbid_unknown_fields=True):
    """Whose ledger; everybody's where no key is named."""

    api_key: str | None = None


class FundingSpec(msgspec.Struct, forbid_unknown_fields=True):
    """A perpetual contract whose funding is due."""

    symbol: str


class StormSpec(msgspec.Struct, forbid_unknown_fields=True):
    """A market to run away: by which share of its price, in how many seconds."""

    symbol: str
    move: float
    seconds: float
    rate: float = 1.0
    spread: float = 1.0


class KeySpec(msgspec.Struct, forbid_unknown_fields=True):
    """A key to switch on or off, or whose permissions change."""

    api_key: str
    enabled: bool | None = None
    permissions: dict[str, bool] = {}


class Refused(Exception):
    """A control request that can't be done; its text says why."""


class Front(Protocol):
    """What control wants to know of a venue's front door."""

    requests: Counter[str]
    order_requests: int
    faults: RequestFaults


@runtime_checkable
class Funding(Protocol):
    """The front door of a venue whose positions pay funding."""

    def fund(self, symbol: str) -> None: ...


@dataclass(frozen=True, slots=True)
class ServedVenue:
    """A venue's exchange and the door before it."""

    exchange: Exchange
    front: Front


class Control:
    """Everything that tests may ask of the simulator."""

    def __init__(
        self,
        token: str,
        venues: Mapping[str, ServedVenue],
        clock: ExchangeClock,
        faults: FaultBox,
        sockets: Sockets,
        storm: Callable[[str, Storm], int],
    ) -> None:
        self._token = token
        self._venues = venues
        self._clock = clock
        self._faults = faults
        self._sockets = sockets
        self._storm = storm
        self._routes: dict[tuple[str, str], Callable[[bytes], Any]] = {
            ("POST", "/accounts"): lambda body: self.create_account(_read(body, AccountSpec)),
            ("POST", "/keys"): lambda body: self.change_key(_read(body, KeySpec)),
            ("POST", "/deposit"): lambda body: self.transfer(_read(body, TransferSpec), Decimal(1)),
            ("POST", "/withdraw"): lambda body: self.transfer(_read(body, TransferSpec), Decimal(-1)),
            ("POST", "/storm"): lambda body: self.storm(_read(body, StormSpec)),
            ("POST", "/funding"): lambda body: self.fund(_read(body, FundingSpec)),
            ("GET", "/ledger"): lambda query: self.ledger(_read(query, LedgerSpec).api_key),
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
            asked = msgspec.json.encode(dict(request.query)) if request.method == "GET" else await request.read()
            answer = route(asked)
        except (Refused, msgspec.DecodeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json")

    # accounts

    def create_account(self, spec: AccountSpec) -> dict[str, Any]:
        """Raises Refused for a key in use or without a secret, and for a venue that isn't served."""
        if spec.exchange not in self._venues:
            raise Refused(f"no venue is called {spec.exchange!r} here")
        accounts = self._accounts()
        if spec.api_key in accounts or not (spec.api_secret or spec.ed25519_public_key):
            raise Refused("the key exists already or has neither secret nor public key")
        exchange = self._venues[spec.exchange].exchange
        now_ms, fees = exchange.now_ms(), exchange.bank.usual_fees
        account = Account(
            spec.api_key,
            uid=len(accounts) + 1,
            api_secret=spec.api_secret,
            ed25519_public_key=spec.ed25519_public_key,
            permissions=_permissions(Permissions(), spec.permissions),
            fees=Fees(**{name: _amount(rate) for name, rate in spec.fees.items()}) if spec.fees else fees,
            created_ms=now_ms,
            updated_ms=now_ms,
        )
        for asset, amount in spec.balances.items():
            account.balances[asset].free = _amount(amount)
        exchange.bank.add(account)
        return {"api_key": account.api_key, "uid": account.uid}

    def change_key(self, spec: KeySpec) -> dict[str, Any]:
        account, _ = self._find(spec.api_key)
        if spec.enabled is not None:
            account.enabled = spec.enabled
        _permissions(account.permissions, spec.permissions)
        return {"api_key": account.api_key, "enabled": account.enabled}

    def transfer(self, spec: TransferSpec, sign: Decimal) -> dict[str, Any]:
        account, exchange = self._find(spec.api_key)
        try:
            exchange.transfer(account, spec.asset, sign * _amount(spec.amount))
        except InsufficientBalance:
            raise Refused("not enough free balance") from None
        return {"asset": spec.asset, "free": account.balances[spec.asset].free}

    def fund(self, spec: FundingSpec) -> dict[str, Any]:
        for served in self._venues.values():
            if isinstance(served.front, Funding) and spec.symbol in served.exchange.markets:
                served.front.fund(spec.symbol)
                return {"symbol": spec.symbol}
        raise Refused("no such contract")

    def storm(self, spec: StormSpec) -> dict[str, Any]:
        if not (-1 < spec.move < 10 and spec.seconds > 0 and 0 < spec.rate <= 1000 and 1 <= spec.spread <= 10_000):
            raise Refused("move must be above -1 and below 10, seconds above 0, rate to 1000, spread 1 to 10000")
        struck = self._storm(spec.symbol, Storm(spec.move, spec.seconds, spec.rate, spec.spread))
        if not struck:
            raise Refused("no market of this symbol walks here")
        return {"symbol": spec.symbol, "markets": struck}

    # what happened

    def ledger(self, api_key: str | None = None) -> dict[str, Any]:
        """Orders, fills, balances and positions of every account, or of one, and how often each client id was received;
        fees and house too. Raises Refused for a key that isn't there."""
        banks = [served.exchange.bank for served in self._venues.values()]
        accounts = self._accounts() if api_key is None else {api_key: self._find(api_key)[0]}
        return {
            "accounts": {key: self._account_ledger(account) for key, account in accounts.items()},
            "fees": _added(bank.fees for bank in banks),
            "house": _added(bank.house for bank in banks),
        }

    def counters(self) -> dict[str, Any]:
        venues = self._venues.values()
        return {
            "order_requests": sum(served.front.order_requests for served in venues),
            "orders": sum(served.exchange.orders_placed for served in venues),
            "fills": sum(served.exchange.fills for served in venues),
            "requests": sum((served.front.requests for served in venues), Counter[str]()),
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


    def _account_ledger(self, account: Account) -> dict[str, Any]:
        bank = self._find(account.api_key)[1].bank
        return _account_ledger(account, bank.margin_of(account).holdings if isinstance(bank, MarginBank) else {})

    def _accounts(self) -> dict[str, Account]:
        banks = [served.exchange.bank for served in self._venues.values()]
        return {key: account for bank in banks for key, account in bank.accounts.items()}

    def _find(self, api_key: str) -> tuple[Account, Exchange]:
        for served in self._venues.values():
            if (account := served.exchange.bank.accounts.get(api_key)) is not None:
                return account, served.exchange
        raise Refused("no such account")


def _added(sums: Iterable[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for amounts in sums:
        for asset, amount in amounts.items():
            total[asset] = total.get(asset, ZERO) + amount
    return total


def _read(body: bytes, kind: type[Any]) -> Any:
    return msgspec.json.decode(body, type=kind)


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


def _account_ledger(account: Account, holdings: Mapping[str, Holding]) -> dict[str, Any]:
    return {
        "balances": {asset: {"free": b.free, "locked": b.locked} for asset, b in account.balances.items()},
        "positions": {
            symbol: {"quantity": held.quantity, "entry_price": held.entry_price, "realized": held.realized}
            for symbol, held in holdings.items()
            if held.quantity
        },
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
