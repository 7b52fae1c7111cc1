"""RSI: buys what was sold too far, sells what was bought too far."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field, field_validator
from pydantic_core.core_schema import ValidationInfo

from trading import indicators
from trading.strategies.contract import BarWindow, Evaluation, Params
from trading.strategies.crossing import EvaluatedParams, Floats, actions, crossed_above, crossed_below, with_close

# Values are compared to so many decimals, so that the last digit's noise decides nothing.
_DECIMALS = 9


class RsiParams(EvaluatedParams):
    period: int = Field(default=14, ge=2, le=200, description="Bars in Wilder's average.")
    oversold: float = Field(default=30.0, gt=0, lt=100, description="Enters when the RSI falls below this.")
    overbought: float = Field(default=70.0, gt=0, lt=100, description="Exits when the RSI rises above this.")

    @field_validator("overbought")
    @classmethod
    def _above_oversold(cls, overbought: float, info: ValidationInfo) -> float:
        if overbought <= info.data.get("oversold", 0):
            raise ValueError("must be above oversold")
        return overbought


class Batch:
    """RSI for many instances: each period is computed once."""

    def __init__(self, params: Sequence[RsiParams]) -> None:
        periods, self._index = indicators.distinct([each.period for each in params])
        self._rsi = indicators.RelativeStrength(periods)
        self._oversold = np.array([each.oversold for each in params])
        self._overbought = np.array([each.overbought for each in params])
        self._on_quotes = np.array([each.evaluate_on == "quote" for each in params])
        self.wants_quotes = bool(self._on_quotes.any())

    def on_bar(self, bars: BarWindow) -> Evaluation:
        return self._evaluate(bars.close)

    def on_quote(self, bars: BarWindow, price: float) -> Evaluation:
        evaluation = self._evaluate(with_close(bars.close, price))
        return Evaluation(evaluation.actions * self._on_quotes, evaluation.seen)

    def _evaluate(self, closes: Floats) -> Evaluation:
        before, now = self._values(closes[:-1]), self._values(closes)
        enter = crossed_below(before - self._oversold, now - self._oversold)
        leave = crossed_above(before - self._overbought, now - self._overbought)
        return Evaluation(actions(enter, leave), {"rsi": now, "rsi_before": before})

    def _values(self, closes: Floats) -> Floats:
        return np.round(self._rsi.newest(closes), _DECIMALS)[self._index]


class Strategy:
    slug: ClassVar[str] = "rsi"
    title: ClassVar[str] = "RSI"
    summary: ClassVar[str] = "Enters when the RSI falls below the oversold level, exits when it rises above overbought."
    Params: ClassVar[type[Params]] = RsiParams

    @staticmethod
    def warmup_bars(params: RsiParams) -> int:
        return indicators.rsi_bars(params.period) + 1

    @staticmethod
    def batch(params: Sequence[RsiParams]) -> Batch:
        return Batch(params)
