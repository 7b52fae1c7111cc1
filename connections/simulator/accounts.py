"""Accounts of the simulated exchange: keys, permissions, balances, locks and fees, exact to the last digit.

Every amount that moves has two ends: an account, the fee pot, or the house (the market source's side). So
deposits minus withdrawals always equal balances + fees + house, per asset.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_UP, Decimal

from connections.simulator.instruments import Instrument
from connections.simulator.matching import ZERO, Match, Order, Side

_UNIT = Decimal("1e-8")


class InsufficientBalance(Exception):
    """The account's free balance doesn't cover the request."""


class UnknownAccount(KeyError):
    """No account has this key."""


@dataclass(slots=True)
class Permissions:
    """What a key may do."""

    can_trade: bool = True
    can_withdraw: bool = False
    can_read: bool = True
    ip_restricted: bool = False


@dataclass(frozen=True, slots=True)
class Fees:
    """Rates of the received amount."""

    maker: Decimal = Decimal("0.001")
    taker: Decimal = Decimal("0.001")


@dataclass(slots=True)
class Balance:
    free: Decimal = ZERO
    locked: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Fill:
    """An account's side of one trade."""

    trade_id: int
    order_id: int
    symbol: str
    price: Decimal
    quantity: Decimal
    quote: Decimal
    commission: Decimal
    commission_asset: str
    is_buyer: bool
    is_maker: bool
    time_ms: int


@dataclass(slots=True, eq=False)
class Account:
    """One API key and what it owns. The secret never appears in the repr."""

    api_key: str
    uid: int
    api_secret: str = field(default="", repr=False)
    ed25519_public_key: str = ""
    permissions: Permissions = field(default_factory=Permissions)
    fees: Fees = field(default_factory=Fees)
    created_ms: int = 0
    updated_ms: int = 0
    enabled: bool = True
    balances: dict[str, Balance] = field(default_factory=lambda: defaultdict(Balance))
    orders: dict[int, Order] = field(default_factory=dict)
    open_orders: dict[int, Order] = field(default_factory=dict)
    open_by_client_id: dict[tuple[str, str], Order] = field(default_factory=dict)
    latest_by_client_id: dict[tuple[str, str], Order] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    received: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def open_on(self, symbol: str) -> list[Order]:
        return [order for order in self.open_orders.values() if order.symbol == symbol]


class Bank:
    """All accounts, the fee pot and the house."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.fees: dict[str, Decimal] = defaultdict(Decimal)
        self.house: dict[str, Decimal] = defaultdict(Decimal)

    def add(self, account: Account) -> None:
        self.accounts[account.api_key] = account

    def get(self, api_key: str) -> Account:
        try:
            return self.accounts[api_key]
        except KeyError:
            raise UnknownAccount(api_key) from None

    def transfer(self, account: Account, asset: str, amount: Decimal) -> None:
        """A deposit, or with a negative amount a withdrawal. Raises InsufficientBalance."""
        balance = account.balances[asset]
        if balance.free + amount < 0:
            raise InsufficientBalance
        balance.free += amount

    def lock(self, account: Account, order: Order, instrument: Instrument, amount: Decimal) -> None:
        """Sets aside what an order can spend at most. Raises InsufficientBalance."""
        asset = spent_asset(order.side, instrument)
        balance = account.balances[asset]
        if balance.free < amount:
            raise InsufficientBalance
        balance.free -= amount
        balance.locked += amount
        order.locked = amount

    def relock(self, account: Account, order: Order, instrument: Instrument) -> None:
        """After matching or closing: keeps locked only what the rest of the order still needs."""
        self.relock_to(account, order, instrument, exposure(order) if order.is_open else ZERO)

    def relock_to(self, account: Account, order: Order, instrument: Instrument, needed: Decimal) -> None:
        """Frees all of an order's lock but `needed`."""
        released = order.locked - needed
        if released:
            balance = account.balances[spent_asset(order.side, instrument)]
            balance.locked -= released
            balance.free += released
            order.locked = needed

    def settle(self, match: Match, order: Order, instrument: Instrument, fill: Fill) -> None:
        """Moves one party's amounts of a match: pays from the lock, receives less commission."""
        account = self.accounts[order.owner]
        paid, received = _legs(order.side, match)
        spent = account.balances[spent_asset(order.side, instrument)]
        spent.locked -= paid
        order.locked -= paid
        account.balances[fill.commission_asset].free += received - fill.commission
        self.fees[fill.commission_asset] += fill.commission
        account.fills.append(fill)

    def settle_house(self, match: Match, side: Side, instrument: Instrument) -> None:
        """The house's party of a match; it pays no fee and its balance may go below zero."""
        paid, received = _legs(side, match)
        self.house[spent_asset(side, instrument)] -= paid
        self.house[received_asset(side, instrument)] += received


def spent_asset(side: Side, instrument: Instrument) -> str:
    return instrument.quote if side is Side.BUY else instrument.base


def received_asset(side: Side, instrument: Instrument) -> str:
    return instrument.base if side is Side.BUY else instrument.quote


def commission(match: Match, side: Side, rate: Decimal) -> Decimal:
    """In the received asset, cut to eight decimals."""
    return (_legs(side, match)[1] * rate).quantize(_UNIT, rounding=ROUND_DOWN)


def _legs(side: Side, match: Match) -> tuple[Decimal, Decimal]:
    """(paid, received) of that side."""
    return (match.quote, match.quantity) if side is Side.BUY else (match.quantity, match.quote)


def exposure(order: Order) -> Decimal:
    """The most that the open part of an order can cost, in the asset it spends."""
    if order.price is None:
        return order.locked
    if order.side is Side.SELL:
        return order.remaining
    return (order.price * order.remaining).quantize(_UNIT, rounding=ROUND_UP)
