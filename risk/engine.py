"""The risk decision: a pure function of an intent and the state it would change.

Rules are files in ``risk/rules``; each offers a ``Rule`` with a ``slug`` and ``check``. The first denial wins.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Protocol

from connections.gateways import OrderType, Side
from desproject.lib.money import ZERO, exact
from risk.depth import Levels
from risk.policy import Limits


@dataclass(frozen=True, slots=True)
class Intent:
    """An order that somebody wants, already rounded by the symbol's rules.

    ``reference_price`` is the limit price, or the price at which a market order would now fill. ``is_exit`` marks
    orders that only lower a position: they pass every entry rule. ``margin`` is what the order ties up of the quote
    asset where positions are held on margin, ``leverage`` what is in force there; None where orders spend what they
    trade.
    """

    symbol: str
    base: str
    quote: str
    side: Side
    type: OrderType
    quantity: Decimal
    reference_price: Decimal
    is_exit: bool = False
    margin: Decimal | None = None
    leverage: int | None = None

    @property
    def adds(self) -> bool:
        """Whether it can add to what is held: on margin a sale does too, unless it is an exit."""
        return not self.is_exit and (self.side == Side.BUY or self.margin is not None)

    @property
    def notional(self) -> Decimal:
        """The order's worth in the quote asset."""
        with exact():
            return self.quantity * self.reference_price


@dataclass(frozen=True, slots=True)
class RiskState:
    """The tenant's present on the intent's connection, pending orders included. Worths are in the quote asset.

    available: what can be spent of the asset that the order spends, reservations and the reserve taken off.
    position_quantity / position_worth: held of the symbol, long or short. pending_buy_quantity: still to be added to it
    by open orders.
    exposure: worth of all positions plus open buy orders of the connection. realized_today: the UTC day's P&L,
    drawdown_today: how far it has fallen from the day's highest, trades_today: the connection's fills since 0:00 UTC.
    depth: what a market order of the intent's side would now take from the book, best price first, at most ten levels;
    empty when no book can be trusted. bitcoin_price: of one BTC, None where it isn't known.
    """

    available: Decimal
    position_quantity: Decimal = ZERO
    position_worth: Decimal = ZERO
    pending_buy_quantity: Decimal = ZERO
    exposure: Decimal = ZERO
    realized_today: Decimal = ZERO
    drawdown_today: Decimal = ZERO
    trades_today: int = 0
    open_orders: int = 0
    kill_switch: str = ""
    depth: Levels = ()
    bitcoin_price: Decimal | None = None


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
