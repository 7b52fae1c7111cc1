"""Donchian breakout: buys what rises above everything of the last bars, sells what falls below."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from trading import indicators
from trading.strategies.contract import BarWindow, Evaluation, Params
from trading.strategies.crossing import EvaluatedParams, Floats, actions


class DonchianParams(EvaluatedParams):
    entry_period: int = Field(default=20, ge=2, le=400, description="Enters above the highest high of so many bars.")
    exit_period: int = Field(default=10, ge=2, le=400, description="Exits below the lowest low of so many bars.")


class Batch:
    """Channels for many instances: each period is computed once."""

    def __init__(self, params: Sequence[DonchianParams]) -> None:
        self._entries, self._entry = indicators.distinct([each.entry_period for each in params])
        self._exits, self._exit = indicators.distinct([each.exit_period for each in params])
        self._on_quotes = np.array([each.evaluate_on == "quote" for each in params])
        self.wants_quotes = bool(self._on_quotes.any())

    def on_bar(self, bars: BarWindow) -> Evaluation:
        newest = float(bars.close[-1]) if len(bars) else np.nan
        return self._evaluate(bars.high[:-1], bars.low[:-1], newest)

    def on_quote(self, bars: BarWindow, price: float) -> Evaluation:
        newest = price if 0 < price < np.inf else np.nan
        evaluation = self._evaluate(bars.high, bars.low, newest)
        return Evaluation(evaluation.actions * self._on_quotes, evaluation.seen)

    def _evaluate(self, highs: Floats, lows: Floats, price: float) -> Evaluation:
        """``highs`` and ``lows`` are of the bars before the one that ``price`` closes."""
        upper = indicators.extremes(highs, self._entries, highest=True)[self._entry]
        lower = indicators.extremes(lows, self._exits, highest=False)[self._exit]
        seen = {"upper": upper, "lower": lower, "close": np.full(len(upper), price)}
        warm = np.isfinite(upper) & np.isfinite(lower)
        return Evaluation(actions((price > upper) & warm, (price < lower) & warm), seen)


class Strategy:
    slug: ClassVar[str] = "donchian"
    title: ClassVar[str] = "Donchian breakout"
    summary: ClassVar[str] = "Enters above the highest high of the last bars, exits below their lowest low."
    Params: ClassVar[type[Params]] = DonchianParams

    @staticmethod
    def warmup_bars(params: DonchianParams) -> int:
        return max(params.entry_period, params.exit_period) + 1

    @staticmethod
    def batch(params: Sequence[DonchianParams]) -> Batch:
        return Batch(params)
