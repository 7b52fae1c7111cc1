"""No more orders are open at once than the limit."""

from typing import ClassVar

from risk.engine import Intent, RiskState
from risk.policy import Limits


class Rule:
    slug: ClassVar[str] = "open_orders"
    entries_only: ClassVar[bool] = True

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        limit = limits.max_open_orders
        if limit is None or state.open_orders < limit:
            return None
        return f"{state.open_orders} orders are open, the limit is {limit}"
