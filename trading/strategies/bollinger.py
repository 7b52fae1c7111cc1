"""Bollinger mean reversion: buys far below the average, sells when the price is back."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from trading import indicators
from trading.strategies.contract import BarWindow, Evaluation, Params
from trading.strategies.crossing import EvaluatedParams, Floats, actions, crossed_above, crossed_below, with_close

# Closer to a band than this share of the price is on it: the last digit's noise is no cross.
_TIE = 1e-12


class BollingerParams(EvaluatedParams):
    period: int = Field(default=20, ge=2, le=400, description="Bars of the average and of the deviation.")
    width: float = Field(default=2.0, ge=0.1, le=10, description="Deviations between the average and a band.")
    exit_at: Literal["middle", "upper"] = Field(
        default="middle", description="Exits when the price rises above the average, or above the upper band."
    )


class Batch:
    """Bands for many instances: each period is computed once."""

    def __init__(self, params: Sequence[BollingerParams]) -> None:
        periods, self._index = indicators.distinct([each.period for each in params])
        self._bands = indicators.Bands(periods)
        self._width = np.array([each.width for each in params])
        self._exit_width = np.array([each.width if each.exit_at == "upper" else 0.0 for each in params])
        self._on_quotes = np.array([each.evaluate_on == "quote" for each in params])
        self.wants_quotes = bool(self._on_quotes.any())

    def on_bar(self, bars: BarWindow) -> Evaluation:
        return self._evaluate(bars.close)

    def on_quote(self, bars: BarWindow, price: float) -> Evaluation:
        evaluation = self._evaluate(with_close(bars.close, price))
        return Evaluation(evaluation.actions * self._on_quotes, evaluation.seen)

    def _evaluate(self, closes: Floats) -> Evaluation:
        lower_before, exit_before = self._levels(closes[:-1])
        lower, leave = self._levels(closes)
        newest, before = (closes[-1], closes[-2]) if len(closes) > 1 else (np.nan, np.nan)
        return Evaluation(
            actions(
                crossed_below(_above(before, lower_before), _above(newest, lower)),
                crossed_above(_above(before, exit_before), _above(newest, leave)),
            ),
            {"lower": lower, "exit": leave, "close": np.full(len(lower), newest)},
        )

    def _levels(self, closes: Floats) -> tuple[Floats, Floats]:
        """Where to enter and where to exit, one value an instance each."""
        means, deviations = self._bands.newest(closes)
        mean, deviation = means[self._index], deviations[self._index]
        return mean - self._width * deviation, mean + self._exit_width * deviation


def _above(close: float, level: Floats) -> Floats:
    """How far the close is above the level; 0 when it is on it."""
    distance = close - level
    return np.where(np.abs(distance) <= _TIE * close, 0.0, distance)


class Strategy:
    slug: ClassVar[str] = "bollinger"
    title: ClassVar[str] = "Bollinger mean reversion"
    summary: ClassVar[str] = "Enters when the price falls below the lower band, exits when it is back at the average."
    Params: ClassVar[type[Params]] = BollingerParams

    @staticmethod
    def warmup_bars(params: BollingerParams) -> int:
        return indicators.sma_bars(params.period) + 1

    @staticmethod
    def batch(params: Sequence[BollingerParams]) -> Batch:
        return Batch(params)
