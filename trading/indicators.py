"""Indicators over a stated window of the newest bars, as weights applied to that window.

An EMA or a Wilder average remembers for ever, so its value would depend on where one began to count. Here each value
derives from exactly the newest N bars, whatever came before: the recursion is seeded at the oldest of them by a simple
average, as TA-Lib does, and ``*_bars`` says N. It is long enough that the seed's weight is below SEED_WEIGHT, but never
longer than MAX_BARS, which one request of history serves at every exchange that DES knows; longer periods start from
a seed of more weight (EMA past 63, RSI past 31), just as exactly repeatable.

All of them are weighted sums, so many periods are one call (``Averages``, ``RelativeStrength``).
"""

import math
from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SEED_WEIGHT = 1e-12
# Exchanges give 1,000 candles a request; the newest of them may not be closed yet.
MAX_BARS = 900

Key = TypeVar("Key", bound=Hashable)


def _seeded_bars(seed_bars: int, decay: float) -> int:
    """How many values until a seed over the first ``seed_bars`` has less than SEED_WEIGHT of weight."""
    if decay <= 0:
        return seed_bars
    return min(seed_bars + math.ceil(math.log(SEED_WEIGHT) / math.log(decay)), MAX_BARS)


def _seeded_weights(seed_bars: int, length: int, newest_weight: float) -> Floats:
    """Weights, oldest first, of an exponential average that starts as the mean of the first ``seed_bars``."""
    ages = np.arange(length - 1, -1, -1, dtype=np.float64)
    weights = newest_weight * (1 - newest_weight) ** ages
    weights[:seed_bars] = (1 - newest_weight) ** (length - seed_bars) / seed_bars
    return weights


def sma_bars(period: int) -> int:
    """How many bars the newest SMA derives from."""
    return period


def sma_weights(period: int) -> Floats:
    """The SMA's weights on the newest ``sma_bars(period)`` closes, oldest first."""
    return np.full(period, 1 / period)


def ema_bars(period: int) -> int:
    """How many bars the newest EMA derives from. ``period`` is below MAX_BARS."""
    return _seeded_bars(period, 1 - 2 / (period + 1))


def ema_weights(period: int) -> Floats:
    """The EMA's weights on the newest ``ema_bars(period)`` closes, oldest first."""
    return _seeded_weights(period, ema_bars(period), 2 / (period + 1))


def rsi_bars(period: int) -> int:
    """How many bars the newest RSI derives from. ``period`` is at least 2 and below MAX_BARS."""
    # One bar more than there are changes; the bound is on bars.
    return min(_seeded_bars(period, 1 - 1 / period) + 1, MAX_BARS)


def rsi_weights(period: int) -> Floats:
    """The weights of Wilder's average gain (and loss) on the newest ``rsi_bars(period) - 1`` changes, oldest first."""
    return _seeded_weights(period, rsi_bars(period) - 1, 1 / period)


def distinct(keys: Sequence[Key]) -> tuple[list[Key], NDArray[np.intp]]:
    """The different keys in order of appearance, and for each given key its index among them."""
    order: dict[Key, int] = {}
    index = [order.setdefault(key, len(order)) for key in keys]
    return list(order), np.array(index, dtype=np.intp)


class WeightTable:
    """Weight vectors of different lengths, all applied at once to the newest values."""

    def __init__(self, rows: Sequence[Floats]) -> None:
        self.lengths = np.array([len(row) for row in rows], dtype=np.intp)
        self.longest = int(self.lengths.max(initial=0))
        self._matrix = np.zeros((len(rows), self.longest))
        for line, row in zip(self._matrix, rows, strict=True):
            line[self.longest - len(row) :] = row

    def apply(self, values: Floats) -> Floats:
        """For each row its weighted sum of the newest values, NaN where there are too few.

        ``values`` is (time,) or (series, time); the answer is (rows,) or (series, rows).
        """
        length = values.shape[-1]
        count = min(self.longest, length)
        # A row's weights are right-aligned: cutting the matrix to the values at hand takes zeros off the rows that fit.
        weights, newest = self._matrix[:, self.longest - count :], values[..., np.newaxis, length - count :]
        # Row by row: a matrix product would start the linear algebra library's threads, whose hand-over takes
        # milliseconds when the cores are busy, and its last digits would depend on the other rows.
        sums = np.vecdot(weights, newest)
        sums[..., self.lengths > length] = np.nan
        return np.asarray(sums)


class Averages:
    """Weighted means (weights sum to 1) of closes, for several weight vectors at once."""

    def __init__(self, rows: Sequence[Floats]) -> None:
        self._table = WeightTable(rows)

    def newest(self, closes: Floats) -> Floats:
        """One value a row, NaN where there are too few closes."""
        if not len(closes):
            return np.full(len(self._table.lengths), np.nan)
        # Averaging the distances from the newest close keeps a flat market exactly flat: no rounding noise in the
        # last digit that could pass for a cross of two averages.
        return np.asarray(closes[-1] + self._table.apply(closes - closes[-1]))


class Bands:
    """Simple mean and standard deviation (of the whole window, as TA-Lib's BBANDS) for several periods at once."""

    def __init__(self, periods: Sequence[int]) -> None:
        self._table = WeightTable([sma_weights(period) for period in periods])

    def newest(self, closes: Floats) -> tuple[Floats, Floats]:
        """(mean, deviation), one value a period each; NaN where there are too few closes."""
        if not len(closes):
            return (nothing := np.full(len(self._table.lengths), np.nan)), nothing
        # From the newest close, so that the difference of squares keeps its digits.
        distances = closes - closes[-1]
        mean, square = self._table.apply(np.stack([distances, distances**2]))
        return np.asarray(closes[-1] + mean), np.sqrt(np.maximum(square - mean**2, 0))


class RelativeStrength:
    """RSI for several periods at once."""

    def __init__(self, periods: Sequence[int]) -> None:
        self._table = WeightTable([rsi_weights(period) for period in periods])

    def newest(self, closes: Floats) -> Floats:
        """One RSI (0 to 100) a period; NaN where there are too few closes, or where none of them moved.

        TA-Lib calls a window without any move 0, which would read as oversold; it is neither.
        """
        changes = np.diff(closes)
        gains, losses = self._table.apply(np.stack([np.maximum(changes, 0), np.maximum(-changes, 0)]))
        moved = gains + losses
        return np.asarray(np.divide(100 * gains, moved, out=np.full_like(moved, np.nan), where=moved > 0))


def extremes(values: Floats, periods: Sequence[int], *, highest: bool) -> Floats:
    """The highest (or lowest) of the newest values for each period, NaN where there are too few."""
    best = np.maximum if highest else np.minimum
    # One pass backwards in time answers every period.
    running = best.accumulate(values[::-1][: max(periods)])
    return np.array([running[period - 1] if period <= len(running) else np.nan for period in periods])


def sma(closes: Floats, period: int) -> float:
    """The newest simple moving average, NaN while there are fewer than ``sma_bars(period)`` closes."""
    return float(Averages([sma_weights(period)]).newest(closes)[0])


def ema(closes: Floats, period: int) -> float:
    """The newest exponential moving average, NaN while there are fewer than ``ema_bars(period)`` closes."""
    return float(Averages([ema_weights(period)]).newest(closes)[0])


def rsi(closes: Floats, period: int) -> float:
    """The newest RSI, NaN while there are fewer than ``rsi_bars(period)`` closes or none of them moved."""
    return float(RelativeStrength([period]).newest(closes)[0])
