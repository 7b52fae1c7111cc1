"""What every strategy must keep to, whoever writes it. A new file in trading/strategies is tested by being there."""

import json

import numpy as np
import pytest

from desproject.lib.errors import InvalidInput
from tests.trading.market_data import walk, window
from trading.indicators import Floats
from trading.strategies import bar_strategies, params_schema, parse_params, strategies
from trading.strategies.contract import ENTER, EXIT, HOLD, BarWindow, Evaluation, Params, StrategyClass

of_every_kind = pytest.mark.parametrize("slug", strategies())
on_bars = pytest.mark.parametrize("slug", bar_strategies())

COUNT = 5


def parts(slug: str) -> tuple[StrategyClass, Params, int]:
    """The strategy, its default parameters and how many bars they need."""
    kind = bar_strategies()[slug]
    params = parse_params(slug, {})
    return kind, params, kind.warmup_bars(params)


def wide(closes: Floats) -> BarWindow:
    """Bars with wicks and volumes too."""
    bars = window(closes)
    return BarWindow(bars.opened_ms, bars.open, bars.high * 1.001, bars.low * 0.999, bars.close, bars.volume)


def keen(params: Params) -> Params:
    """The same parameters, on quotes too where the strategy can."""
    return params.model_copy(update={"evaluate_on": "quote"}) if hasattr(params, "evaluate_on") else params


def same(one: Evaluation, other: Evaluation) -> bool:
    return one.actions.tolist() == other.actions.tolist() and all(
        np.array_equal(values, other.seen[name], equal_nan=True) for name, values in one.seen.items()
    )


@of_every_kind
def test_is_named_and_described(slug: str) -> None:
    kind = strategies()[slug]
    assert kind.slug == slug
    assert len(slug) <= 32
    assert kind.title
    assert kind.summary


@of_every_kind
def test_schema_is_json_and_helps_with_every_parameter(slug: str) -> None:
    schema = json.loads(json.dumps(params_schema(slug)))
    assert schema["additionalProperties"] is False
    assert all(each.get("description") for each in schema["properties"].values())


@of_every_kind
def test_numbers_are_bounded(slug: str) -> None:
    for each in params_schema(slug)["properties"].values():
        if each.get("type") in ("integer", "number"):
            assert each.keys() & {"minimum", "exclusiveMinimum"}
            assert each.keys() & {"maximum", "exclusiveMaximum"}


@of_every_kind
def test_every_parameter_out_of_bounds_is_refused_by_its_name(slug: str) -> None:
    for name, each in params_schema(slug)["properties"].items():
        if each.get("type") in ("integer", "number"):
            for value in (-(10**9), 10**9, "1", None, float("nan")):
                with pytest.raises(InvalidInput) as caught:
                    parse_params(slug, {name: value})
                assert name in caught.value.fields


@of_every_kind
def test_parameters_survive_json(slug: str) -> None:
    params = parse_params(slug, {})
    assert parse_params(slug, json.loads(params.model_dump_json())) == params


@on_bars
def test_one_action_and_one_value_an_instance(slug: str) -> None:
    kind, params, warm = parts(slug)
    evaluation = kind.batch([params] * COUNT).on_bar(wide(walk(warm + 10)))
    assert evaluation.actions.shape == (COUNT,)
    assert evaluation.actions.dtype == np.int8
    assert all(values.shape == (COUNT,) for values in evaluation.seen.values())


@on_bars
@pytest.mark.parametrize("missing", [1, 2, None])
def test_holds_until_it_is_warm(slug: str, missing: int | None) -> None:
    kind, params, warm = parts(slug)
    batch = kind.batch([params])
    length = 0 if missing is None else warm - missing
    for seed in range(20):
        evaluation = batch.on_bar(wide(walk(length, seed, move=0.05)))
        assert evaluation.actions.tolist() == [HOLD]


@on_bars
def test_acts_both_ways_on_a_long_walk_and_knows_what_it_saw(slug: str) -> None:
    kind, params, warm = parts(slug)
    batch, closes = kind.batch([params]), walk(warm + 2000)
    acted = set()
    for end in range(warm, len(closes) + 1):
        evaluation = batch.on_bar(wide(closes[:end]))
        action = int(evaluation.actions[0])
        assert action in (HOLD, ENTER, EXIT)
        if action != HOLD:
            acted.add(action)
            assert all(np.isfinite(values[0]) for values in evaluation.seen.values())
    assert acted == {ENTER, EXIT}


@on_bars
def test_a_restart_changes_nothing(slug: str) -> None:
    """A process that runs for long and one that just started from its warm-up bars decide alike."""
    kind, params, warm = parts(slug)
    closes, running = walk(warm + 300), kind.batch([params])
    for end in range(warm, len(closes) + 1):
        bars = wide(closes[:end])
        fresh = wide(closes[:end])
        newest = BarWindow(*(getattr(fresh, name)[-warm:] for name in BarWindow.__slots__))
        assert same(running.on_bar(bars), kind.batch([params]).on_bar(newest))


@on_bars
def test_a_batch_decides_as_each_would_alone(slug: str) -> None:
    kind, params, warm = parts(slug)
    together, alone = kind.batch([params, keen(params), params]), kind.batch([params])
    closes = walk(warm + 300)
    for end in range(warm, len(closes) + 1):
        bars = wide(closes[:end])
        assert together.on_bar(bars).actions[0] == together.on_bar(bars).actions[2] == alone.on_bar(bars).actions[0]


@on_bars
def test_a_quote_moves_nobody_who_wants_bars_only(slug: str) -> None:
    kind, params, warm = parts(slug)
    batch, bars = kind.batch([params] * COUNT), wide(walk(warm + 10))
    for price in (1.0, 50_000.0, 10**9):
        acted = batch.on_quote(bars, price).actions
        assert batch.wants_quotes or not acted.any()


@on_bars
@pytest.mark.parametrize("price", [float("nan"), float("inf"), 0.0, -5.0])
def test_nonsense_prices_move_nobody(slug: str, price: float) -> None:
    kind, params, warm = parts(slug)
    assert kind.batch([keen(params)]).on_quote(wide(walk(warm + 10)), price).actions.tolist() == [HOLD]


@on_bars
def test_a_market_that_stands_still_moves_nobody(slug: str) -> None:
    kind, params, warm = parts(slug)
    assert kind.batch([params]).on_bar(window(np.full(warm + 5, 60_000.0))).actions.tolist() == [HOLD]


@on_bars
def test_leaves_the_bars_alone(slug: str) -> None:
    kind, params, warm = parts(slug)
    bars = wide(walk(warm + 10))
    for name in BarWindow.__slots__:
        getattr(bars, name).flags.writeable = False
    kind.batch([params]).on_bar(bars)
    kind.batch([params]).on_quote(bars, 60_000.0)
