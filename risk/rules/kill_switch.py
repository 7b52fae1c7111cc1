"""Nothing new is sent while a kill switch is pressed, exits included: flattening is the switch's own business."""

from typing import ClassVar

from risk.engine import Intent, RiskState
from risk.policy import Limits


class Rule:
    slug: ClassVar[str] = "kill_switch"
    entries_only: ClassVar[bool] = False

    @staticmethod
    def check(intent: Intent, state: RiskState, limits: Limits) -> str | None:
        return state.kill_switch or None
