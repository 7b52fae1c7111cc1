import numpy as np
import pytest
import talib

from tests.trading.market_data import walk, window
from trading.indicators import Floats
from trading.strategies.contract import ENTER, EXIT, HOLD
from trading.strategies.ema_cross import CrossParams, Strategy


def actions_over(closes: Floats, params: CrossParams) -> list[int]:
    batch = Strategy.batch([params])
    warm = Strategy.warmup_bars(params)
    return [int(batch.on_bar(window(closes[:end])).actions[0]) for end in range(warm, len(closes) + 1)]


@pytest.mark.parametrize(("average", "talibs"), [("ema", talib.EMA), ("sma", talib.SMA)])
def test_crosses_are_those_of_talib(average: str, talibs) -> None:  # type: ignore[no-untyped-def]
    closes, params = walk(1200), CrossParams(fast=5, slow=12, average=average)  # type: ignore[arg-type]
    lead = (talibs(closes, 5) - talibs(closes, 12))[Strategy.warmup_bars(params) - 2 :]
    expected = np.where(
        (lead[:-1] <= 0) & (lead[1:] > 0), ENTER, np.where((lead[:-1] >= 0) & (lead[1:] < 0), EXIT, HOLD)
    )
    assert actions_over(closes, params) == expected.tolist()
    assert {ENTER, EXIT} <= set(expected.tolist())


def test_enters_once_on_the_way_up_and_exits_once_on_the_way_down() -> None:
    hill = np.concatenate([np.linspace(200, 100, 120), np.linspace(100, 200, 60), np.linspace(200, 100, 60)])
    acts = [act for act in actions_over(hill, CrossParams(fast=3, slow=6)) if act != HOLD]
    assert acts == [ENTER, EXIT]


def test_a_market_that_stands_still_crosses_nothing() -> None:
    params = CrossParams(fast=3, slow=9)
    closes = np.concatenate([walk(150, move=1e-4), np.full(400, 60_000.01)])
    acts = actions_over(closes, params)
    # The averages meet where the price stands, within the last digits: no trade comes of it.
    assert set(acts[-300:]) == {HOLD}


@pytest.mark.parametrize("fast", [3, 5, 7])
def test_averages_that_are_the_same_but_for_rounding_cross_nothing(fast: int) -> None:
    """Over prices that repeat every few bars both averages are the same number, give or take its last digit."""
    closes = np.tile(np.random.default_rng(0).uniform(1, 60_000, size=fast).round(2), 40)
    assert set(actions_over(closes, CrossParams(fast=fast, slow=3 * fast, average="sma"))) == {HOLD}


def test_says_what_it_saw() -> None:
    closes = walk(300)
    seen = Strategy.batch([CrossParams(fast=3, slow=9)]).on_bar(window(closes)).seen
    assert seen["fast"][0] == pytest.approx(talib.EMA(closes, 3)[-1], rel=1e-12)
    assert seen["slow"][0] == pytest.approx(talib.EMA(closes, 9)[-1], rel=1e-12)


def test_quotes_move_only_those_who_asked() -> None:
    down = window(np.linspace(200, 100, 120))
    batch = Strategy.batch([CrossParams(fast=3, slow=6), CrossParams(fast=3, slow=6, evaluate_on="quote")])
    assert batch.on_quote(down, 150.0).actions.tolist() == [HOLD, ENTER]
