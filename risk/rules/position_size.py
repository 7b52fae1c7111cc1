"""What is held of a symbol, together with what open orders may still buy, stays within the limit."""

from typing import ClassVar

from risk.engine import Intent, RiskState
from risk.policy import Limits
from risk.rules import figure


class Rule:
    slug: ClassVar[str] = "position_size"
    entries_only: ClassVar[bool] = True

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        limit = limits.max_position_size
        if limit is None or not intent.adds:
            return None
        pending = state.pending_buy_quantity * intent.reference_price
        worth = state.position_worth + pending + intent.notional
        if worth <= limit:
            return None
        return (
            f"the position would be worth {figure(worth, intent.quote)} with open orders, "
            f"the limit is {figure(limit, intent.quote)}"
        )
