"""The budget drill, short: held with the budget, and broken without it. At exchanges that count by the minute: where
they count by the second, a machine that stands still may make a simulated exchange see two seconds as one."""

import pytest

from tests.drills.budget import drill

_BY_THE_MINUTE = ("binance_spot", "binance_usdm")


@pytest.mark.database("embedded", reason="the same on any database")
@pytest.mark.system
def test_tenants_at_full_throttle_are_never_refused_by_an_exchange() -> None:
    """The long drill measures fairness and how long cancels wait: a busy machine may not break a test."""
    figures = drill.run(8.0, venues=_BY_THE_MINUTE)

    assert figures["refused_by_exchange"] == 0, figures
    assert figures["cancels"] > 10, figures
    assert set(figures["shares"]) == {f"{venue}_simulator_weight" for venue in _BY_THE_MINUTE}


@pytest.mark.database("embedded", reason="the same on any database")
@pytest.mark.system
def test_without_the_budget_the_same_tenants_are_refused() -> None:
    """Where that shows soonest: eight orders a second are allowed."""
    assert drill.run(4.0, venues=("upbit",), without_budget=True)["refused_by_exchange"] > 0
