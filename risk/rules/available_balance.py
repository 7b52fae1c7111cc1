"""An order spends only what is there and not held back for others."""

from typing import ClassVar

from connections.gateways import Side
from risk.engine import Intent, RiskState
from risk.policy import Limits
from risk.rules import figure


class Rule:
    slug: ClassVar[str] = "available_balance"
    entries_only: ClassVar[bool] = False

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        buys = intent.side == Side.BUY
        needed, asset = (intent.notional, intent.quote) if buys else (intent.quantity, intent.base)
        if intent.margin is not None:
            needed, asset = intent.margin, intent.quote
        if needed <= state.available:
            return None
        return f"needs {figure(needed, asset)}, available are {figure(state.available, asset)}"
