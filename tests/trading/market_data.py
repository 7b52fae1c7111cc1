"""Bars for strategy tests."""

import numpy as np

from trading.indicators import Floats
from trading.strategies.contract import BarWindow


def window(closes: "Floats | list[float]") -> BarWindow:
    """Second bars with these closes and nothing else in them."""
    close = np.asarray(closes, dtype=np.float64)
    opened = np.arange(len(close), dtype=np.int64) * 1000
    return BarWindow(opened, close, close, close, close, np.ones(len(close)))


def walk(length: int, seed: int = 1, start: float = 60_000.0, move: float = 1e-3) -> Floats:
    """A seeded random walk of prices."""
    steps = np.random.default_rng(seed).normal(scale=move, size=length)
    return np.asarray(start * np.exp(np.cumsum(steps)))
