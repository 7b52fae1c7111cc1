"""A market order takes only a small share of the ten best levels; without a book to be trusted there is none."""

from typing import ClassVar

from connections.gateways import OrderType
from risk.depth import total
from risk.engine import Intent, RiskState
from risk.policy import Limits
from risk.rules import figure, percent


class Rule:
    slug: ClassVar[str] = "depth"
    entries_only: ClassVar[bool] = True

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        limit = limits.max_depth_share
        if limit is None or intent.type != OrderType.MARKET:
            return None
        if not state.depth:
            return f"no order book of {intent.symbol} that can be trusted is there now"
        most = total(state.depth) * limit
        if intent.quantity <= most:
            return None
        return (
            f"a market order may take {percent(limit)} of the book's best levels, "
            f"which is {figure(most, intent.base)} now, not {figure(intent.quantity, intent.base)}"
        )
