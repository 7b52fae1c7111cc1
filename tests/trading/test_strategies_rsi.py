import numpy as np
import pytest
import talib

from tests.trading.market_data import walk, window
from trading.indicators import Floats, rsi_bars
from trading.strategies.contract import ENTER, EXIT, HOLD
from trading.strategies.rsi import RsiParams, Strategy

WARM = rsi_bars(3) + 1
THREE = RsiParams(period=3)


def actions_over(closes: Floats, *params: RsiParams) -> Floats:
    """The actions of each bar from the first warm one on: (bars, instances)."""
    batch = Strategy.batch(params)
    return np.array([batch.on_bar(window(closes[:end])).actions for end in range(WARM, len(closes) + 1)])


def calm_then(*closes: float) -> Floats:
    """Enough up and down for an RSI near 50, then these closes."""
    return np.array([100.0 + (index % 2) for index in range(WARM)] + list(closes))


def test_enters_when_it_falls_below_oversold_and_only_then() -> None:
    acts = actions_over(calm_then(95.0, 90.0, 85.0), THREE)[:, 0]
    assert acts.tolist() == [HOLD, ENTER, HOLD, HOLD]


def test_exits_when_it_rises_above_overbought_and_only_then() -> None:
    acts = actions_over(calm_then(110.0, 120.0, 130.0), THREE)[:, 0]
    assert acts.tolist() == [HOLD, EXIT, HOLD, HOLD]


def test_crosses_are_those_of_talib() -> None:
    closes = walk(1500)
    batch = Strategy.batch([RsiParams(period=9, oversold=35.0, overbought=60.0)])
    warm = Strategy.warmup_bars(RsiParams(period=9))
    acts = [int(batch.on_bar(window(closes[:end])).actions[0]) for end in range(warm, len(closes) + 1)]
    rsi = talib.RSI(closes, 9)[warm - 2 :]
    expected = np.where(
        (rsi[:-1] <= 60) & (rsi[1:] > 60), EXIT, np.where((rsi[:-1] >= 35) & (rsi[1:] < 35), ENTER, HOLD)
    )
    assert acts == expected.tolist()
    assert {ENTER, EXIT} <= set(acts)


def test_says_what_it_saw() -> None:
    closes = calm_then(95.0)
    evaluation = Strategy.batch([THREE]).on_bar(window(closes))
    assert evaluation.seen["rsi"][0] == pytest.approx(talib.RSI(closes[-rsi_bars(3) :], 3)[-1], abs=1e-8)
    assert evaluation.seen["rsi"][0] < 30 <= evaluation.seen["rsi_before"][0]


def test_instances_of_a_batch_have_their_own_levels() -> None:
    levels = [RsiParams(period=3, oversold=level) for level in (1.0, 30.0, 45.0)]
    acts = actions_over(calm_then(95.0), *levels)
    assert acts[1].tolist() == [HOLD, ENTER, ENTER]


def test_a_market_that_stood_still_is_not_oversold() -> None:
    flat = np.full(WARM, 100.0)
    batch = Strategy.batch([THREE])
    assert batch.on_bar(window(flat)).actions.tolist() == [HOLD]
    assert batch.on_bar(window(np.append(flat, 99.0))).actions.tolist() == [HOLD]


def test_quotes_move_only_those_who_asked() -> None:
    batch = Strategy.batch([THREE, RsiParams(period=3, evaluate_on="quote")])
    assert batch.wants_quotes
    assert batch.on_quote(window(calm_then()), 95.0).actions.tolist() == [HOLD, ENTER]
    assert batch.on_bar(window(calm_then(95.0))).actions.tolist() == [ENTER, ENTER]


def test_a_quote_says_what_a_bar_closing_there_would() -> None:
    quoted = Strategy.batch([RsiParams(period=3, evaluate_on="quote")])
    for price in (90.0, 99.0, 100.5, 112.0):
        by_quote, by_bar = quoted.on_quote(window(calm_then()), price), quoted.on_bar(window(calm_then(price)))
        assert by_quote.actions.tolist() == by_bar.actions.tolist()
        assert by_quote.seen["rsi"].tolist() == by_bar.seen["rsi"].tolist()
