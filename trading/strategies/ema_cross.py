"""Moving-average cross: follows the trend that a fast average shows against a slow one."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from trading import indicators
from trading.strategies.contract import BarWindow, Evaluation, Params
from trading.strategies.crossing import EvaluatedParams, Floats, actions, crossed_above, crossed_below, with_close

# Averages closer than this share of the price are the same: the last digit's noise is no cross.
_TIE = 1e-12

_BARS = {"ema": indicators.ema_bars, "sma": indicators.sma_bars}
_WEIGHTS = {"ema": indicators.ema_weights, "sma": indicators.sma_weights}


class CrossParams(EvaluatedParams):
    fast: int = Field(default=12, ge=2, le=399, description="Bars of the fast average.")
    slow: int = Field(default=26, ge=3, le=400, description="Bars of the slow average; more than the fast one's.")
    average: Literal["ema", "sma"] = Field(default="ema", description="Exponential or simple moving averages.")

    @field_validator("slow")
    @classmethod
    def _slower_than_fast(cls, slow: int, info: ValidationInfo) -> int:
        if slow <= info.data.get("fast", 0):
            raise ValueError("must be more than fast")
        return slow


class Batch:
    """Crosses for many instances: each average is computed once."""

    def __init__(self, params: Sequence[CrossParams]) -> None:
        fast = [(each.average, each.fast) for each in params]
        slow = [(each.average, each.slow) for each in params]
        lines, index = indicators.distinct(fast + slow)
        self._averages = indicators.Averages([_WEIGHTS[kind](period) for kind, period in lines])
        self._fast, self._slow = index[: len(fast)], index[len(fast) :]
        self._on_quotes = np.array([each.evaluate_on == "quote" for each in params])
        self.wants_quotes = bool(self._on_quotes.any())

    def on_bar(self, bars: BarWindow) -> Evaluation:
        return self._evaluate(bars.close)

    def on_quote(self, bars: BarWindow, price: float) -> Evaluation:
        evaluation = self._evaluate(with_close(bars.close, price))
        return Evaluation(evaluation.actions * self._on_quotes, evaluation.seen)

    def _evaluate(self, closes: Floats) -> Evaluation:
        before, now = self._averages.newest(closes[:-1]), self._averages.newest(closes)
        lead_before, lead = self._lead(before), self._lead(now)
        acts = actions(crossed_above(lead_before, lead), crossed_below(lead_before, lead))
        return Evaluation(acts, {"fast": now[self._fast], "slow": now[self._slow]})

    def _lead(self, averages: Floats) -> Floats:
        """How far the fast average is above the slow one, as a share of the latter; 0 when they are the same."""
        lead = averages[self._fast] / averages[self._slow] - 1
        return np.where(np.abs(lead) <= _TIE, 0.0, lead)


class Strategy:
    slug: ClassVar[str] = "ema_cross"
    title: ClassVar[str] = "Moving-average cross"
    summary: ClassVar[str] = "Enters when the fast average rises above the slow one, exits when it falls below."
    Params: ClassVar[type[Params]] = CrossParams

    @staticmethod
    def warmup_bars(params: CrossParams) -> int:
        # The value of the bar before is needed too; both averages must be warm then.
        return max(_BARS[params.average](period) for period in (params.fast, params.slow)) + 1

    @staticmethod
    def batch(params: Sequence[CrossParams]) -> Batch:
        return Batch(params)
