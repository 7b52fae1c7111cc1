"""The risk decision: a pure function of an intent and the state it would change.

Rules are files in ``risk/rules``; each offers a ``Rule`` with a ``slug`` and ``check``. The first denial wins.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Protocol

from connections.gateways import OrderType, Side
from desproject.lib.money import ZERO, exact
from risk.policy import Limits


@dataclass(frozen=True, slots=True)
class Intent:
    """An order that somebody wants, already rounded by the symbol's rules.

    ``reference_price`` is the limit price, or the price at which a market order would now fill. ``is_exit`` marks
    orders that only lower a position: they pass every entry rule.
    """

    symbol: str
    base: str
    quote: str
    side: Side
    type: OrderType
    quantity: Decimal
    reference_price: Decimal
    is_exit: bool = False

    @property
    def notional(self) -> Decimal:
        """The order's worth in the quote asset."""
        with exact():
            return self.quantity * self.reference_price


@dataclass(frozen=True, slots=True)
class RiskState:
    """The tenant's present on the intent's connection, pending orders included. Worths are in the quote asset.

    available: what can be spent of the asset that the order spends, reservations and the reserve taken off.
    position_quantity / position_worth: held of the symbol. pending_buy_quantity: still to be bought by open orders.
    exposure: worth of all positions plus open buy orders of the connection. realized_today: the UTC day's P&L.
    """

    available: Decimal
    position_quantity: Decimal = ZERO
    position_worth: Decimal = ZERO
    pending_buy_quantity: Decimal = ZERO
    exposure: Decimal = ZERO
    realized_today: Decimal = ZERO
    open_orders: int = 0
    kill_switch: str = ""


@dataclass(frozen=True, slots=True)
class Allow:
    """The intent may become an order."""


@dataclass(frozen=True, slots=True)
class Denial:
    """Our own risk said no: ``rule`` is the rule's slug, ``reason`` is for people."""

    rule: str
    reason: str


class RiskRule(Protocol):
    slug: ClassVar[str]
    # Exits pass entry rules; rules that guard facts (balance, kill switch) hold for all.
    entries_only: ClassVar[bool]

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        """None to allow, else the reason for people."""


def evaluate(intent: Intent, state: RiskState, limits: Limits, rules: Iterable[RiskRule]) -> Allow | Denial:
    """Asks every rule; the first denial is the answer."""
    with exact():
        for rule in rules:
            if rule.entries_only and intent.is_exit:
                continue
            reason = rule.check(intent, state, limits)
            if reason is not None:
                return Denial(rule.slug, reason)
    return Allow()


def ordered(rules: dict[str, RiskRule]) -> Sequence[RiskRule]:
    """The rules in the order they are asked: the kill switch first, then by slug."""
    return sorted(rules.values(), key=lambda rule: (rule.slug != "kill_switch", rule.slug))
