"""No more is traded in a UTC day than the limit. Each open order counts as the trade that it may become."""

from typing import ClassVar

from risk.engine import Intent, RiskState
from risk.policy import Limits


class Rule:
    slug: ClassVar[str] = "daily_trades"
    entries_only: ClassVar[bool] = True

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        limit = limits.max_daily_trades
        used = state.trades_today + state.open_orders
        if limit is None or used < limit:
            return None
        return f"{used} trades today with open orders, the limit is {limit}"
