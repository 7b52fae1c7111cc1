"""A market order's average price, as the book is now, is hardly worse than the best one."""

from typing import ClassVar

from connections.gateways import OrderType
from risk.depth import safe_quantity, slippage
from risk.engine import Intent, RiskState
from risk.policy import Limits
from risk.rules import figure, percent


class Rule:
    slug: ClassVar[str] = "slippage"
    entries_only: ClassVar[bool] = True

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        limit = limits.max_slippage
        if limit is None or intent.type != OrderType.MARKET:
            return None
        expected = slippage(state.depth, intent.quantity)
        if expected is not None and expected <= limit:
            return None
        would = "take more than the book's best levels" if expected is None else f"slip by {percent(expected)}"
        safe = figure(safe_quantity(state.depth, limit), intent.base)
        return f"the order would {would}, the limit is {percent(limit)}: up to {safe} stay within it"
