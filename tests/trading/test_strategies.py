"""The registry of strategies and their parameters."""

import numpy as np
import pytest

from desproject.lib.errors import InvalidInput
from trading.strategies import UnknownStrategy, params_schema, parse_params, strategies, strategy
from trading.strategies.contract import Evaluation, Nonsense, require_sense


def refused(slug: str, raw: object) -> dict[str, list[str]]:
    with pytest.raises(InvalidInput) as caught:
        parse_params(slug, raw)
    return caught.value.fields


def test_built_in_strategies_are_found() -> None:
    assert {"rsi", "ema_cross"} <= set(strategies())


def test_an_unknown_slug_is_refused_by_name() -> None:
    with pytest.raises(UnknownStrategy) as caught:
        strategy("martingale")
    assert "rsi" in caught.value.fields["strategy"][0]


def test_defaults_fill_what_is_left_out() -> None:
    params = parse_params("rsi", {"period": 7})
    assert params.model_dump() == {"evaluate_on": "bar", "period": 7, "oversold": 30.0, "overbought": 70.0}


@pytest.mark.parametrize("value", [1, 201, "14", 14.5, True, None, [14], float("nan")])
def test_a_bad_period_is_refused_by_its_name(value: object) -> None:
    assert set(refused("rsi", {"period": value})) == {"period"}


@pytest.mark.parametrize("value", [0, 100, -1, "30", float("nan"), float("inf")])
def test_a_bad_level_is_refused_by_its_name(value: object) -> None:
    assert "oversold" in refused("rsi", {"oversold": value})


def test_levels_must_leave_room_between_them() -> None:
    assert refused("rsi", {"oversold": 60.0, "overbought": 40.0}) == {"overbought": ["must be above oversold"]}


def test_a_level_that_collides_with_a_default_is_refused() -> None:
    assert refused("rsi", {"oversold": 80.0}) == {"overbought": ["must be above oversold"]}


@pytest.mark.parametrize(("fast", "slow"), [(26, 12), (12, 12)])
def test_the_fast_average_must_be_the_faster(fast: int, slow: int) -> None:
    assert refused("ema_cross", {"fast": fast, "slow": slow}) == {"slow": ["must be more than fast"]}


def test_every_bad_parameter_is_named() -> None:
    assert set(refused("ema_cross", {"fast": 0, "slow": "x", "average": "wma"})) == {"fast", "slow", "average"}


def test_an_unknown_parameter_is_refused() -> None:
    assert set(refused("ema_cross", {"leverage": 100})) == {"leverage"}


@pytest.mark.parametrize("raw", [None, [], "period=14", 14])
def test_parameters_must_be_an_object(raw: object) -> None:
    assert set(refused("rsi", raw)) == {"params"}


def test_the_schema_tells_bounds_and_help() -> None:
    period = params_schema("rsi")["properties"]["period"]
    assert (period["minimum"], period["maximum"], period["default"]) == (2, 200, 14)
    assert period["description"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "no evaluation"), (Evaluation(np.ones(3, np.int8)), "shape"),
        (Evaluation(np.ones(2)), "integers"),  # type: ignore[arg-type]
        (Evaluation(np.array([0, 5], np.int8)), "neither"),
        (Evaluation(np.array([0, 1], np.int8), {"rsi": np.array([1.0, np.nan])}), "rsi: not a finite number"),
    ],
)  # fmt: skip
def test_an_answer_without_sense_is_refused(answer: object, said: str) -> None:
    with pytest.raises(Nonsense, match=said):
        require_sense(answer, 2)


def test_who_holds_may_have_seen_nothing_yet() -> None:
    require_sense(Evaluation(np.array([0, 1], np.int8), {"rsi": np.array([np.nan, 20.0])}), 2)
