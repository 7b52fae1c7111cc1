"""No single order is worth more than the limit."""

from typing import ClassVar

from risk.engine import Intent, RiskState
from risk.policy import Limits
from risk.rules import figure


class Rule:
    slug: ClassVar[str] = "order_size"
    entries_only: ClassVar[bool] = True

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        limit = limits.max_order_size
        if limit is None or intent.notional <= limit:
            return None
        return f"the order is worth {figure(intent.notional, intent.quote)}, the limit is {figure(limit, intent.quote)}"
