"""Which limit holds where several policies speak."""

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest

from risk.models import RiskPolicy
from risk.policy import GLOBAL_LIMITS, Limits, contradictions, effective

STRATEGY = RiskPolicy(max_order_size=Decimal(10))
CONNECTION = RiskPolicy(max_order_size=Decimal(20), max_exposure=Decimal(200))
USER = RiskPolicy(max_order_size=Decimal(30), max_exposure=Decimal(300), max_daily_loss=Decimal(5), max_open_orders=7)


def test_without_policies_the_global_limits_hold() -> None:
    assert effective([]) == effective([None, None, None]) == GLOBAL_LIMITS


def test_each_limit_comes_from_the_most_specific_policy_that_sets_it() -> None:
    assert effective([STRATEGY, CONNECTION, USER]) == replace(
        GLOBAL_LIMITS,
        max_order_size=Decimal(10), max_exposure=Decimal(200), max_daily_loss=Decimal(5), max_open_orders=7,
    )  # fmt: skip


EVERY_LIMIT = [each.name for each in fields(Limits)]


@pytest.mark.parametrize("name", EVERY_LIMIT)
def test_every_limit_follows_the_precedence(name: str) -> None:
    """Strategy before connection before user before global: a limit that a policy can't set would show here."""
    user, connection, strategy = (RiskPolicy(**{name: value}) for value in (_value(name, n) for n in (1, 2, 3)))
    chosen = [
        getattr(effective(policies), name)
        for policies in ([strategy, connection, user], [None, connection, user], [None, None, user])
    ]
    assert chosen == [_value(name, 3), _value(name, 2), _value(name, 1)]
    assert getattr(effective([None, None, None]), name) == getattr(GLOBAL_LIMITS, name)


def _value(name: str, number: int) -> Any:
    return [f"A{number}/USDT"] if name == "symbols" else number


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"max_order_size": Decimal(9), "max_position_size": Decimal(8)}, {"max_order_size"}),
        ({"max_order_size": Decimal(9), "max_exposure": Decimal(8)}, {"max_order_size"}),
        ({"max_position_size": Decimal(9), "max_exposure": Decimal(8)}, {"max_position_size"}),
        ({"max_order_size": Decimal(9), "max_position_size": Decimal(9), "max_exposure": Decimal(9)}, set()),
        ({"max_order_size": Decimal(9), "max_exposure": None}, set()),
    ],
)
def test_limits_that_contradict_each_other_are_named(given: dict[str, Any], named: set[str]) -> None:
    assert set(contradictions(given)) == named


def test_a_missing_level_is_left_out() -> None:
    assert effective([None, CONNECTION, None]).max_order_size == 20
    assert effective([None, CONNECTION, None]).max_open_orders == GLOBAL_LIMITS.max_open_orders


def test_a_limit_of_zero_is_a_limit() -> None:
    assert effective([RiskPolicy(max_order_size=Decimal(0)), USER]).max_order_size == 0
