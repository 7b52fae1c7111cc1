"""Which limits hold: strategy before connection before user before the global defaults (RSK-2)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits in force, in the quote asset; None is no limit."""

    max_order_size: Decimal | None = None
    max_position_size: Decimal | None = None
    max_exposure: Decimal | None = None
    max_daily_loss: Decimal | None = None
    max_open_orders: int | None = None


# Only what protects against runaway code: a user's own policy is expected to be tighter.
GLOBAL_LIMITS = Limits(max_open_orders=200)


class PolicyRow(Protocol):
    """What of a RiskPolicy row matters here."""

    max_order_size: Decimal | None
    max_position_size: Decimal | None
    max_exposure: Decimal | None
    max_daily_loss: Decimal | None
    max_open_orders: int | None


def effective(policies: Sequence[PolicyRow | None], defaults: Limits = GLOBAL_LIMITS) -> Limits:
    """Each limit from the first policy that sets it; ``policies`` are ordered from the most to the least specific."""
    limits = defaults
    for policy in reversed(policies):
        if policy is not None:
            given = {f.name: getattr(policy, f.name) for f in fields(Limits) if getattr(policy, f.name) is not None}
            limits = replace(limits, **given)
    return limits
