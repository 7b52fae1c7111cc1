"""Attached stops and times: which price, or when, ends a position."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from trading.exits import Attached, Why, parse_exits

AT = datetime(2026, 11, 22, tzinfo=UTC)


def attached(peak: str = "100", **exits: object) -> Attached:
    return Attached(uuid4(), parse_exits(exits), Decimal(100), AT, Decimal(peak))


@pytest.mark.parametrize(
    ("price", "why"),
    [("98.01", None), ("98", Why.STOP_LOSS), ("1", Why.STOP_LOSS), ("104.99", None), ("105", Why.TAKE_PROFIT)],
)
def test_stop_loss_and_take_profit(price: str, why: Why | None) -> None:
    assert attached(stop_loss="0.02", take_profit="0.05").reached(Decimal(price)) == why


def test_a_trailing_stop_hangs_on_the_highest_price() -> None:
    assert attached("200", trailing_stop="0.1").reached(Decimal("180.01")) is None
    assert attached("200", trailing_stop="0.1").reached(Decimal(180)) == Why.TRAILING_STOP


def test_the_highest_price_moves_in_hundredths_of_the_distance() -> None:
    stop = attached("200", trailing_stop="0.1")
    assert not stop.is_highest(Decimal("200.19"))
    assert stop.is_highest(Decimal("200.2"))


def test_prices_of_interest_are_those_beyond_the_nearest_bounds() -> None:
    stop = attached("120", stop_loss="0.02", take_profit="0.5", trailing_stop="0.1")
    assert stop.bounds() == (Decimal(108), Decimal("120.12"))


def test_the_longest_time() -> None:
    stop = attached(max_holding_seconds=60)
    assert not stop.is_over(AT + timedelta(seconds=59))
    assert stop.is_over(AT + timedelta(seconds=60))
    assert not attached().is_over(AT + timedelta(days=365))


def test_what_is_not_set_does_not_hold() -> None:
    assert attached().bounds() == (None, None)
