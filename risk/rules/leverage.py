"""No contract is entered with more leverage than the limit."""

from typing import ClassVar

from risk.engine import Intent, RiskState
from risk.policy import Limits


class Rule:
    slug: ClassVar[str] = "leverage"
    entries_only: ClassVar[bool] = True

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        limit = limits.max_leverage
        if limit is None or intent.leverage is None or intent.leverage <= limit:
            return None
        return f"the leverage of {intent.symbol} is {intent.leverage}, the limit is {limit}"
