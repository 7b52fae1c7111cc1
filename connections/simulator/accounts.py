"""Accounts of the simulated exchange: keys, permissions, balances, locks and fees, exact to the last digit.

Fees are taken off what is received, or where the venue does it so, always in the quote asset: then a buy pays them on
top.

Every amount that moves has two ends: an account, the fee pot, or the house (the market source's side). So
deposits minus withdrawals always equal balances + fees + house, per asset. `Bank` exchanges one asset for another;
what holds positions on margin is in margin.py.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Protocol

from connections.simulator.instruments import Instrument
from connections.simulator.matching import ZERO, Match, Order, OrderBook, Side

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
    """Rates of the amount that the fee is taken of."""

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
    # What closing a position with it earned, fees not counted.
    realized: Decimal = ZERO


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
    # All of them, and the same by order: a long run asks for those of one order again and again.
    fills: list[Fill] = field(default_factory=list)
    fills_by_order: dict[int, list[Fill]] = field(default_factory=lambda: defaultdict(list))
    received: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add_fill(self, fill: Fill) -> None:
        self.fills.append(fill)
        self.fills_by_order[fill.order_id].append(fill)

    def open_on(self, symbol: str) -> list[Order]:
        return [order for order in self.open_orders.values() if order.symbol == symbol]


class TradeStamp(Protocol):
    """A trade's number and time."""

    @property
    def trade_id(self) -> int: ...

    @property
    def time_ms(self) -> int: ...


class Accounts:
    """All accounts, the fee pot and the house. Who isn't given other fees pays the usual ones."""

    usual_fees = Fees()

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


class Bank(Accounts):
    """Spot: an order sets aside what it can spend, a trade exchanges it for the other asset."""

    def __init__(self, *, fees_in_quote: bool = False) -> None:
        super().__init__()
        self._fees_in_quote = fees_in_quote

    def admit(self, account: Account, order: Order, instrument: Instrument, book: OrderBook) -> None:
        """Sets aside what an order can spend at most. Raises InsufficientBalance."""
        if self._fees_in_quote and order.side is Side.BUY:
            order.fee_on_top = max(account.fees.maker, account.fees.taker)
        self._lock(account, order, instrument, _to_lock(order, book))

    def admit_triggered(self, account: Account, order: Order, instrument: Instrument, book: OrderBook) -> None:
        """A triggered market buy needs today's cost, not its stop price's. Raises InsufficientBalance."""
        if order.price is None and order.side is Side.BUY:
            self._relock_to(account, order, instrument, ZERO)
            self._lock(account, order, instrument, _to_lock(order, book))

    def unbacked(self, account: Account, symbol: str) -> list[Order]:
        """Open orders that may no longer be there after a fill: none, for all are paid for."""
        return []

    def assets_moved(self, order: Order, instrument: Instrument, fill: Fill | None) -> list[str]:
        """The assets of which a change of an order moves the free or locked amount."""
        received = [received_asset(order.side, instrument)] if fill is not None else []
        return [spent_asset(order.side, instrument), *received]

    def _lock(self, account: Account, order: Order, instrument: Instrument, amount: Decimal) -> None:
        asset = spent_asset(order.side, instrument)
        balance = account.balances[asset]
        if balance.free < amount:
            raise InsufficientBalance
        balance.free -= amount
        balance.locked += amount
        order.locked = amount

    def relock(self, account: Account, order: Order, instrument: Instrument) -> None:
        """After matching or closing: keeps locked only what the rest of the order still needs."""
        self._relock_to(account, order, instrument, exposure(order) if order.is_open else ZERO)

    def _relock_to(self, account: Account, order: Order, instrument: Instrument, needed: Decimal) -> None:
        """Frees all of an order's lock but `needed`."""
        released = order.locked - needed
        if released:
            balance = account.balances[spent_asset(order.side, instrument)]
            balance.locked -= released
            balance.free += released
            order.locked = needed

    def settle(self, match: Match, order: Order, instrument: Instrument, trade: TradeStamp, is_maker: bool) -> Fill:
        """Moves one party's amounts of a match: pays from the lock, receives; the commission is paid or kept back."""
        account = self.accounts[order.owner]
        rate = account.fees.maker if is_maker else account.fees.taker
        fill = Fill(
            trade.trade_id, order.order_id, order.symbol, match.price, match.quantity, match.quote,
            commission(match, order.side, rate, in_quote=self._fees_in_quote), self._fee_asset(order.side, instrument),
            order.side is Side.BUY, is_maker, trade.time_ms,
        )  # fmt: skip
        paid, received = _legs(order.side, match)
        if fill.commission_asset == received_asset(order.side, instrument):
            received -= fill.commission
        else:
            paid += fill.commission
        spent = account.balances[spent_asset(order.side, instrument)]
        spent.locked -= paid
        order.locked -= paid
        account.balances[received_asset(order.side, instrument)].free += received
        self.fees[fill.commission_asset] += fill.commission
        account.add_fill(fill)
        return fill

    def _fee_asset(self, side: Side, instrument: Instrument) -> str:
        return instrument.quote if self._fees_in_quote else received_asset(side, instrument)

    def settle_house(self, match: Match, side: Side, instrument: Instrument) -> None:
        """The house's party of a match; it pays no fee and its balance may go below zero."""
        paid, received = _legs(side, match)
        self.house[spent_asset(side, instrument)] -= paid
        self.house[received_asset(side, instrument)] += received


def spent_asset(side: Side, instrument: Instrument) -> str:
    return instrument.quote if side is Side.BUY else instrument.base


def received_asset(side: Side, instrument: Instrument) -> str:
    return instrument.base if side is Side.BUY else instrument.quote


def commission(match: Match, side: Side, rate: Decimal, *, in_quote: bool = False) -> Decimal:
    """In the received asset or in the quote asset, cut to eight decimals."""
    amount = match.quote if in_quote else _legs(side, match)[1]
    return (amount * rate).quantize(_UNIT, rounding=ROUND_DOWN)


def _legs(side: Side, match: Match) -> tuple[Decimal, Decimal]:
    """(paid, received) of that side."""
    return (match.quote, match.quantity) if side is Side.BUY else (match.quantity, match.quote)


def exposure(order: Order) -> Decimal:
    """The most that the open part of an order can cost, in the asset it spends."""
    if order.price is None:
        return order.locked
    if order.side is Side.SELL:
        return order.remaining
    return with_fee(order.price * order.remaining, order.fee_on_top)


def with_fee(amount: Decimal, rate: Decimal) -> Decimal:
    """What must be there to pay an amount and the fee on top of it."""
    return (amount * (1 + rate)).quantize(_UNIT, rounding=ROUND_UP)


def _to_lock(order: Order, book: OrderBook) -> Decimal:
    """What the order can spend at most: for a market order, what it would spend now."""
    if order.price is not None:
        return exposure(order)
    if order.quote_quantity is not None:
        if order.side is Side.BUY:
            return with_fee(order.quote_quantity, order.fee_on_top)
        return book.base_for(order.side, order.quote_quantity)
    if order.side is Side.SELL:
        return order.quantity
    if order.working_ms < 0 and order.stop_price is not None:
        return order.stop_price * order.quantity
    return with_fee(book.cost(order.side, order.quantity)[1], order.fee_on_top)
