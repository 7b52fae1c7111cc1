"""Indicators against TA-Lib on the same window."""

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.market_data import walk
from trading import indicators
from trading.indicators import Averages, RelativeStrength, WeightTable

PERIODS = [2, 3, 5, 9, 12, 14, 21, 26, 50, 63, 100, 200]


@pytest.mark.parametrize("period", PERIODS)
def test_ema_is_talibs_on_the_stated_window(period: int) -> None:
    closes = walk(2000)
    window = closes[-indicators.ema_bars(period) :]
    assert indicators.ema(closes, period) == pytest.approx(talib.EMA(window, period)[-1], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("period", PERIODS)
def test_sma_is_talibs_on_the_stated_window(period: int) -> None:
    closes = walk(2000)
    window = closes[-indicators.sma_bars(period) :]
    assert indicators.sma(closes, period) == pytest.approx(talib.SMA(window, period)[-1], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("period", PERIODS)
def test_rsi_is_talibs_on_the_stated_window(period: int) -> None:
    closes = walk(2000)
    window = closes[-indicators.rsi_bars(period) :]
    assert indicators.rsi(closes, period) == pytest.approx(talib.RSI(window, period)[-1], abs=1e-9)


@pytest.mark.parametrize("period", [2, 9, 12, 14, 26, 31])
def test_usual_periods_agree_with_talib_over_any_history(period: int) -> None:
    closes = walk(5000)
    assert indicators.rsi(closes, period) == pytest.approx(talib.RSI(closes, period)[-1], abs=1e-9)
    assert indicators.ema(closes, period) == pytest.approx(talib.EMA(closes, period)[-1], rel=1e-12, abs=1e-9)


@given(seed=st.integers(0, 10_000), period=st.integers(2, 200), start=st.floats(1e-2, 1e6), move=st.floats(1e-5, 0.05))
def test_talib_agrees_on_any_walk(seed: int, period: int, start: float, move: float) -> None:
    closes = walk(indicators.MAX_BARS, seed, start, move)
    rsi, ema = closes[-indicators.rsi_bars(period) :], closes[-indicators.ema_bars(period) :]
    assert indicators.rsi(closes, period) == pytest.approx(talib.RSI(rsi, period)[-1], abs=1e-9)
    assert indicators.ema(closes, period) == pytest.approx(talib.EMA(ema, period)[-1], rel=1e-12)


@pytest.mark.parametrize("period", PERIODS)
def test_older_bars_than_the_stated_ones_change_nothing(period: int) -> None:
    recent = walk(indicators.MAX_BARS)
    other_past = np.concatenate([walk(300, seed=2, start=5.0), recent])
    assert indicators.ema(other_past, period) == indicators.ema(recent, period)
    assert indicators.rsi(other_past, period) == indicators.rsi(recent, period)


@pytest.mark.parametrize(
    ("bars", "value"), [(indicators.ema_bars, indicators.ema), (indicators.rsi_bars, indicators.rsi)]
)
@pytest.mark.parametrize("period", PERIODS)
def test_the_oldest_stated_bar_counts_and_without_it_there_is_no_value(bars, value, period: int) -> None:  # type: ignore[no-untyped-def]
    closes = walk(bars(period))
    assert np.isfinite(value(closes, period))
    assert np.isnan(value(closes[1:], period))


def test_no_window_is_longer_than_one_request_of_history() -> None:
    for period in range(2, 401):
        assert period < indicators.ema_bars(period) <= indicators.MAX_BARS
        assert period < indicators.rsi_bars(period) <= indicators.MAX_BARS


@pytest.mark.parametrize("period", [2, 14, 26, 60])
def test_the_seed_of_a_usual_period_weighs_next_to_nothing(period: int) -> None:
    assert indicators.ema_weights(period)[:period].sum() < 2 * indicators.SEED_WEIGHT


@pytest.mark.parametrize("period", PERIODS)
def test_weights_sum_to_one(period: int) -> None:
    for weights in (indicators.ema_weights(period), indicators.rsi_weights(period), indicators.sma_weights(period)):
        assert weights.sum() == pytest.approx(1, abs=1e-12)


def test_ema_of_period_one_is_the_close() -> None:
    assert indicators.ema(np.array([5.0, 7.0]), 1) == 7.0


def test_a_flat_market_has_exactly_its_price_as_average() -> None:
    flat = np.full(indicators.MAX_BARS, 60_123.45)
    averages = Averages([indicators.ema_weights(period) for period in PERIODS])
    assert (averages.newest(flat) == 60_123.45).all()


def test_rsi_of_a_flat_market_is_no_number() -> None:
    assert np.isnan(indicators.rsi(np.full(500, 5.0), 14))


def test_rsi_is_100_when_it_only_rose_and_0_when_it_only_fell() -> None:
    rising = np.arange(1.0, 901.0)
    assert indicators.rsi(rising, 14) == 100.0
    assert indicators.rsi(rising[::-1], 14) == 0.0


def test_many_periods_at_once_are_what_each_is_alone() -> None:
    closes = walk(700)
    together = RelativeStrength(PERIODS).newest(closes)
    alone = np.array([indicators.rsi(closes, period) for period in PERIODS])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-12)


def test_no_closes_give_no_values() -> None:
    none = np.array([])
    assert np.isnan(Averages([np.ones(1)]).newest(none)).all()
    assert np.isnan(RelativeStrength([2, 3]).newest(none)).all()
    assert np.isnan(RelativeStrength([2, 3]).newest(np.ones(1))).all()


def test_table_takes_rows_of_different_lengths() -> None:
    table = WeightTable([np.array([1.0]), np.array([1.0, 10.0, 100.0])])
    np.testing.assert_array_equal(table.apply(np.array([2.0, 3.0])), [3.0, np.nan])
    np.testing.assert_array_equal(table.apply(np.array([9.0, 1.0, 2.0, 3.0])), [3.0, 321.0])


def test_distinct_keys_keep_their_order() -> None:
    keys, index = indicators.distinct(["b", "a", "b", "c"])
    assert keys == ["b", "a", "c"]
    assert index.tolist() == [0, 1, 0, 2]
