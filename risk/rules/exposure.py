"""All positions of a connection, together with its open buy orders, stay within the limit."""

from typing import ClassVar

from risk.engine import Intent, RiskState
from risk.policy import Limits
from risk.rules import figure


class Rule:
    slug: ClassVar[str] = "exposure"
    entries_only: ClassVar[bool] = True

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        limit = limits.max_exposure
        if limit is None or not intent.adds:
            return None
        exposure = state.exposure + intent.notional
        if exposure <= limit:
            return None
        return f"the exposure would be {figure(exposure, intent.quote)}, the limit is {figure(limit, intent.quote)}"
