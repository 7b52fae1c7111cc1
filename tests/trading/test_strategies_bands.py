"""Bollinger and Donchian against plain loops and TA-Lib."""

import numpy as np
import pytest
import talib

from tests.trading.market_data import walk, window
from trading import indicators
from trading.indicators import Bands, Floats
from trading.strategies import bollinger, donchian
from trading.strategies.contract import ENTER, EXIT, HOLD, BarWindow, Batch


def actions_over(batch: Batch, bars: BarWindow, warm: int) -> list[int]:
    columns = [getattr(bars, name) for name in BarWindow.__slots__]
    ends = range(warm, len(bars) + 1)
    return [int(batch.on_bar(BarWindow(*(column[:end] for column in columns))).actions[0]) for end in ends]


@pytest.mark.parametrize("period", [2, 5, 20, 100, 400])
def test_bands_are_talibs(period: int) -> None:
    closes = walk(500, start=100.0)
    (mean,), (deviation,) = Bands([period]).newest(closes)
    upper, middle, lower = (line[-1] for line in talib.BBANDS(closes, period, 2.0, 2.0))
    expected = pytest.approx([upper, middle, lower], abs=1e-9)
    assert [mean + 2 * deviation, mean, mean - 2 * deviation] == expected


def test_a_flat_market_has_no_deviation() -> None:
    (mean,), (deviation,) = Bands([20]).newest(np.full(30, 60_123.45))
    assert (mean, deviation) == (60_123.45, 0.0)


def test_extremes_are_those_of_each_period() -> None:
    values = np.array([9.0, 1.0, 5.0, 3.0])
    assert indicators.extremes(values, [1, 2, 4], highest=True).tolist() == [3.0, 5.0, 9.0]
    assert indicators.extremes(values, [1, 3], highest=False).tolist() == [3.0, 1.0]
    assert np.isnan(indicators.extremes(values, [5], highest=True)).all()


@pytest.mark.parametrize("exit_at", ["middle", "upper"])
def test_bollinger_acts_where_talibs_bands_are_crossed(exit_at: str) -> None:
    closes = walk(1500, start=100.0)
    params = bollinger.BollingerParams(period=20, width=1.5, exit_at=exit_at)  # type: ignore[arg-type]
    upper, middle, lower = talib.BBANDS(closes, 20, 1.5, 1.5)
    leave = upper if exit_at == "upper" else middle
    expected = [
        _crossed(closes[at - 1 : at + 1] - lower[at - 1 : at + 1], closes[at - 1 : at + 1] - leave[at - 1 : at + 1])
        for at in range(20, len(closes))
    ]
    acts = actions_over(bollinger.Strategy.batch([params]), window(closes), bollinger.Strategy.warmup_bars(params))
    assert acts == expected
    assert {ENTER, EXIT} <= set(acts)


def _crossed(above_lower: Floats, above_exit: Floats) -> int:
    if above_exit[0] <= 0 < above_exit[1]:
        return EXIT
    return ENTER if above_lower[0] >= 0 > above_lower[1] else HOLD


def test_donchian_acts_on_breakouts_of_the_bars_before() -> None:
    closes = walk(1000)
    highs, lows = closes * 1.0005, closes * 0.9995
    bars = BarWindow(np.arange(len(closes)), closes, highs, lows, closes, closes)
    params = donchian.DonchianParams(entry_period=12, exit_period=6)
    expected = []
    for at in range(12, len(closes)):
        leaves = closes[at] < lows[at - 6 : at].min()
        expected.append(EXIT if leaves else ENTER if closes[at] > highs[at - 12 : at].max() else HOLD)
    acts = actions_over(donchian.Strategy.batch([params]), bars, donchian.Strategy.warmup_bars(params))
    assert acts == expected
    assert {ENTER, EXIT} <= set(acts)


def test_a_quote_breaks_out_of_all_finished_bars() -> None:
    batch = donchian.Strategy.batch([donchian.DonchianParams(entry_period=3, exit_period=3, evaluate_on="quote")])
    bars = window([10.0, 12.0, 11.0, 11.5])
    assert [int(batch.on_quote(bars, price).actions[0]) for price in (12.1, 12.0, 11.2, 10.9)] == [
        ENTER, HOLD, HOLD, EXIT,
    ]  # fmt: skip
