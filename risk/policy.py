"""Which limits hold: strategy before connection before user before the global defaults (RSK-2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any, Protocol

from desproject.lib.money import plain


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits in force, amounts in the quote asset; None is no limit."""

    max_order_size: Decimal | None = None
    max_position_size: Decimal | None = None
    max_exposure: Decimal | None = None
    max_daily_loss: Decimal | None = None
    max_drawdown: Decimal | None = None
    max_daily_trades: int | None = None
    max_open_orders: int | None = None
    # Beyond it orders wait, they aren't denied: no rule, the engine's pace (trading/engine/pace.py).
    max_orders_per_second: int | None = None
    # The only symbols that may be entered.
    symbols: Sequence[str] | None = None
    # Of a contract, as the exchange has it set.
    max_leverage: int | None = None
    # What a market order may do to the order book: parts of one (0.001 is 0.1 %) by which its average price may be
    # worse than the best one, its share of the ten best levels, and its worth in BTC.
    max_slippage: Decimal | None = None
    max_depth_share: Decimal | None = None
    max_market_btc: Decimal | None = None


# Only what protects against runaway code and thin books: a user's own policy is expected to be tighter.
GLOBAL_LIMITS = Limits(
    max_open_orders=200, max_slippage=Decimal("0.001"), max_depth_share=Decimal("0.1"), max_market_btc=Decimal("0.1")
)


class PolicyRow(Protocol):
    """What of a RiskPolicy row matters here."""

    max_order_size: Decimal | None
    max_position_size: Decimal | None
    max_exposure: Decimal | None
    max_daily_loss: Decimal | None
    max_drawdown: Decimal | None
    max_daily_trades: int | None
    max_open_orders: int | None
    max_orders_per_second: int | None
    symbols: Sequence[str] | None
    max_leverage: int | None
    max_slippage: Decimal | None
    max_depth_share: Decimal | None
    max_market_btc: Decimal | None


def effective(policies: Sequence[PolicyRow | None], defaults: Limits = GLOBAL_LIMITS) -> Limits:
    """Each limit from the first policy that sets it; ``policies`` are ordered from the most to the least specific."""
    limits = defaults
    for policy in reversed(policies):
        if policy is not None:
            given = {f.name: getattr(policy, f.name) for f in fields(Limits) if getattr(policy, f.name) is not None}
            limits = replace(limits, **given)
    return limits


# Each of these pairs: what the first allows, the second never would.
_NESTED = (
    ("max_order_size", "max_position_size"), ("max_order_size", "max_exposure"), ("max_position_size", "max_exposure"),
)  # fmt: skip


def contradictions(limits: Mapping[str, Any]) -> dict[str, list[str]]:
    """Limits of one level that don't fit together, by field: one within another may not be above it."""
    found: dict[str, list[str]] = {}
    for inner, outer in _NESTED:
        small, large = limits.get(inner), limits.get(outer)
        if small is not None and large is not None and small > large:
            found.setdefault(inner, []).append(f"must not be above {outer}, which is {plain(large)}")
    return found
