"""What the figures of a strategy instance's trades mean, and when its owner hears of them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import User
from accounts.tenancy import tenant_scope
from audit.models import AuditLog
from connections.gateways import Side
from desproject.lib.clock import ManualClock
from desproject.lib.money import ZERO
from tests.web.exchange import ALICE_KEY
from tests.web.rows import make_connection, make_instance, make_order
from trading.models import StrategyInstance, Trade
from trading.performance import ENOUGH_RESULTS, Fill, Performance, measure, performance, results, review

D = Decimal
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def bought(amount: str, fee: str = "0", *, days: float = 0, order: UUID | None = None) -> Fill:
    return Fill(order or uuid4(), Side.BUY, D(amount), -D(fee), NOW - timedelta(days=days))


def sold(amount: str, won: str, *, days: float = 0, order: UUID | None = None) -> Fill:
    return Fill(order or uuid4(), Side.SELL, D(amount), D(won), NOW - timedelta(days=days))


def trips(*amounts: str, days: float = 0) -> list[Fill]:
    """Each bought and sold again for this result."""
    return [fill for amount in amounts for fill in (bought("1", days=days), sold("1", amount, days=days))]


def test_without_trades_there_are_no_rates() -> None:
    assert measure([], NOW) == Performance()


def test_an_entrys_fee_belongs_to_the_result() -> None:
    (result,) = results([bought("1", "0.5"), sold("1", "2")])
    assert result.amount == D("1.5")


def test_the_fills_of_one_closing_order_are_one_result() -> None:
    order = uuid4()
    (result,) = results([bought("1"), sold("0.4", "1", order=order), sold("0.6", "-3", order=order)])
    assert result.amount == -2


def test_each_order_that_closes_a_part_is_a_result() -> None:
    assert [each.amount for each in results([bought("1"), sold("0.4", "1"), sold("0.6", "-3")])] == [1, -3]


def test_a_short_closes_by_buying() -> None:
    covers = Fill(uuid4(), Side.BUY, D(1), D(7), NOW)
    assert [each.amount for each in results([sold("1", "0"), covers])] == [7]


def test_the_figures_of_four_results() -> None:
    found = measure(trips("3", "-1", "-2", "4"), NOW)
    assert (found.trades, found.realized_pnl) == (8, D(4))
    assert (found.whole.results, found.whole.win_rate, found.whole.average_profit) == (4, D("0.5"), D(1))
    assert found.profit_factor == D("2.3333")
    assert found.max_drawdown == 3


def test_nothing_lost_has_no_profit_factor() -> None:
    assert measure(trips("3", "1"), NOW).profit_factor is None


def test_the_last_week_stands_by_itself() -> None:
    found = measure([*trips("-5", days=7.01), *trips("3", days=6.99)], NOW)
    assert (found.whole.results, found.last_7_days.results, found.last_7_days.win_rate) == (2, 1, D(1))


def test_sharpe_counts_days_without_a_result_as_zero() -> None:
    # Daily results 3, 0, 3: mean 2, deviation sqrt(3); over a year 2 / sqrt(3) * sqrt(365).
    assert measure([*trips("3", days=2), *trips("3")], NOW).sharpe == D("22.0605")


@pytest.mark.parametrize("fills", [trips("3", "4"), [*trips("3", days=1), *trips("3")]])
def test_one_day_and_equal_days_have_no_sharpe(fills: list[Fill]) -> None:
    assert measure(fills, NOW).sharpe is None


amounts = st.integers(-(10**9), 10**9).map(lambda units: str(D(units).scaleb(-4)))


@given(st.lists(amounts, max_size=30))
def test_results_sum_up_to_what_was_realised(found: list[str]) -> None:
    fills = trips(*found)
    assert sum((result.amount for result in results(fills)), ZERO) == measure(fills, NOW).realized_pnl


@given(st.lists(amounts, min_size=1, max_size=30))
def test_the_drawdown_is_never_less_than_the_worst_result(found: list[str]) -> None:
    assert measure(trips(*found), NOW).max_drawdown >= max(-min(map(D, found)), ZERO)


# Alerts.


def make_trips(user: User, *amounts: str, status: str = "running") -> StrategyInstance:
    connection = make_connection(user, ALICE_KEY, name=uuid4().hex)
    instance = make_instance(connection, status=status)
    for number, amount in enumerate(amounts):
        for side, won in (("buy", "0"), ("sell", amount)):
            order = make_order(connection, instance=instance, side=side, status="filled")
            with tenant_scope(user.pk):
                Trade.objects.create(
                    user=user, connection=connection, order=order, exchange_trade_id=f"{number}-{side}",
                    symbol="BTC/USDT", side=side, quantity=D(1), price=D(100), realized_pnl=D(won),
                    executed_at=NOW - timedelta(hours=2, minutes=-number, seconds=-(side == "sell")),
                )  # fmt: skip
    return instance


def alerts(user: User) -> list[dict[str, Any]]:
    with tenant_scope(user.pk):
        rows = AuditLog.objects.filter(event_type="strategy.underperforms").order_by("pk")
        return list(rows.values_list("details", flat=True))


BAD = ("-1",) * 6 + ("1",) * 4


@pytest.mark.django_db
def test_the_owner_of_a_bad_week_is_told_once_a_day(alice: User, bob: User) -> None:
    make_trips(alice, *BAD)
    make_trips(bob, "5", *BAD[1:])
    clock = ManualClock(NOW)
    assert [review(clock), review(clock)] == [1, 0]
    assert alerts(alice) == [{"name": "dip buyer", "results": 10, "win_rate": "0.4", "average_profit": "-0.2"}]
    assert alerts(bob) == []
    assert review(ManualClock(NOW + timedelta(hours=25))) == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("amounts", "status"), [(BAD, "stopped"), (BAD[: ENOUGH_RESULTS - 1], "running")], ids=["stopped", "too few"]
)
def test_nobody_is_told_of(alice: User, amounts: tuple[str, ...], status: str) -> None:
    make_trips(alice, *amounts, status=status)
    assert review(ManualClock(NOW)) == 0


@pytest.mark.django_db
def test_many_wins_with_one_large_loss_are_told_too(alice: User) -> None:
    make_trips(alice, *("1",) * 9, "-10")
    assert review(ManualClock(NOW)) == 1


@pytest.mark.django_db
def test_an_instance_is_measured_by_its_own_trades(alice: User) -> None:
    first, second = make_trips(alice, "3"), make_trips(alice, "-4")
    with tenant_scope(alice.pk):
        found = performance([first.pk, second.pk], ManualClock(NOW))
    assert {key: each.realized_pnl for key, each in found.items()} == {first.pk: 3, second.pk: -4}
