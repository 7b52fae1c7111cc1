"""After the day's result has fallen so far from its highest nothing is entered until the next UTC day."""

from typing import ClassVar

from risk.engine import Intent, RiskState
from risk.policy import Limits
from risk.rules import figure


class Rule:
    slug: ClassVar[str] = "drawdown"
    entries_only: ClassVar[bool] = True

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        limit = limits.max_drawdown
        # A limit of 0 stops at the first fall, not before it.
        if limit is None or state.drawdown_today <= 0 or state.drawdown_today < limit:
            return None
        fall = figure(state.drawdown_today, intent.quote)
        return f"today's result fell by {fall} from its highest, the limit is {figure(limit, intent.quote)}"
