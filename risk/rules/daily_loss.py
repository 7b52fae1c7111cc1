"""After the day's loss has reached the limit nothing is entered until the next UTC day."""

from typing import ClassVar

from risk.engine import Intent, RiskState
from risk.policy import Limits
from risk.rules import figure


class Rule:
    slug: ClassVar[str] = "daily_loss"
    entries_only: ClassVar[bool] = True

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        limit = limits.max_daily_loss
        # A limit of 0 stops at the first loss, not before it.
        if limit is None or state.realized_today >= 0 or state.realized_today > -limit:
            return None
        loss = figure(-state.realized_today, intent.quote)
        return f"today's loss is {loss}, the limit is {figure(limit, intent.quote)}"
