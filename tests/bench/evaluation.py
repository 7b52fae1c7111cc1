"""Evaluating all instances of a strategy on one bar: the batch's one call, as the engine makes it on each tick.

DES: ``on_bar`` of the moving-average cross on 1000 bars; the instances have 20 different pairs of averages. Floor: bare
numpy on the same arrays: the distinct weighted averages of this bar and of the one before, spread over the instances,
their leads compared, and nothing else.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tests.bench.measure import Result
from tests.bench.turns import in_turns
from trading import indicators
from trading.strategies.contract import BarWindow
from trading.strategies.ema_cross import CrossParams, Strategy

_BARS = 1000


def run(seconds: float, *, instances: int) -> Iterator[Result]:
    params = [CrossParams(fast=5 + number % 10, slow=20 + number % 20) for number in range(instances)]
    closes = 60_000 + np.cumsum(np.random.default_rng(1).normal(0, 5, _BARS))
    bars = BarWindow(np.arange(_BARS, dtype=np.int64) * 1000, closes, closes, closes, closes, np.ones(_BARS))
    batch = Strategy.batch(params)
    rates = in_turns((partial(batch.on_bar, bars), _bare(params, closes)), seconds)
    des, floor = (replace(each, value=each.p50) for each in rates)
    yield Result(f"evaluate_{instances}_strategies", "µs", des, floor, time_unit="µs", about={"bars": _BARS})


def _bare(params: list[CrossParams], closes: NDArray[np.float64]) -> Callable[[], object]:
    periods = sorted({each.fast for each in params} | {each.slow for each in params})
    rows = [indicators.ema_weights(period) for period in periods]
    weights = np.array([np.pad(row, (len(closes) - len(row), 0)) for row in rows])
    weights = weights[:, -max(map(len, rows)) :]
    fast = np.array([periods.index(each.fast) for each in params])
    slow = np.array([periods.index(each.slow) for each in params])
    length = weights.shape[1]

    def work() -> object:
        now, before = np.vecdot(weights, closes[-length:]), np.vecdot(weights, closes[-length - 1 : -1])
        lead, lead_before = now[fast] - now[slow], before[fast] - before[slow]
        return (lead > 0).astype(np.int8) * (lead_before <= 0) - (lead < 0).astype(np.int8) * (lead_before >= 0)

    return work
