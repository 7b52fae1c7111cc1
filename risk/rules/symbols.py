"""Where symbols are listed, no other is entered."""

from typing import ClassVar

from risk.engine import Intent, RiskState
from risk.policy import Limits

_SHOWN = 5


class Rule:
    slug: ClassVar[str] = "symbols"
    entries_only: ClassVar[bool] = True

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        allowed = limits.symbols
        if allowed is None or intent.symbol in allowed:
            return None
        named = ", ".join(sorted(allowed)[:_SHOWN]) or "none"
        more = f" and {len(allowed) - _SHOWN} more" if len(allowed) > _SHOWN else ""
        return f"{intent.symbol} isn't among the allowed symbols: {named}{more}"
