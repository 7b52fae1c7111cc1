"""Which limit holds where several policies speak."""

from decimal import Decimal

from risk.models import RiskPolicy
from risk.policy import GLOBAL_LIMITS, Limits, effective

STRATEGY = RiskPolicy(max_order_size=Decimal(10))
CONNECTION = RiskPolicy(max_order_size=Decimal(20), max_exposure=Decimal(200))
USER = RiskPolicy(max_order_size=Decimal(30), max_exposure=Decimal(300), max_daily_loss=Decimal(5), max_open_orders=7)


def test_without_policies_the_global_limits_hold() -> None:
    assert effective([]) == effective([None, None, None]) == GLOBAL_LIMITS


def test_each_limit_comes_from_the_most_specific_policy_that_sets_it() -> None:
    assert effective([STRATEGY, CONNECTION, USER]) == Limits(
        max_order_size=Decimal(10), max_exposure=Decimal(200), max_daily_loss=Decimal(5), max_open_orders=7
    )


def test_a_missing_level_is_left_out() -> None:
    assert effective([None, CONNECTION, None]).max_order_size == 20
    assert effective([None, CONNECTION, None]).max_open_orders == GLOBAL_LIMITS.max_open_orders


def test_a_limit_of_zero_is_a_limit() -> None:
    assert effective([RiskPolicy(max_order_size=Decimal(0)), USER]).max_order_size == 0
