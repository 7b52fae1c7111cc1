"""Booking: whatever order reports come in, and however often, the result is the same."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connections.gateways import (
    AccountSnapshot,
    AssetBalance,
    Fill,
    OrderReport,
    OrderType,
    ReportStatus,
    Side,
    SymbolRules,
    TimeInForce,
)
from connections.models import Connection
from desproject.lib.money import ZERO
from risk.models import RiskMetrics
from trading.engine import booking
from trading.engine.committer import WriteSet
from trading.engine.state import Account, LiveOrder, TenantState
from trading.models import CLIENT_ID_LENGTH, Balance, Order, OrderAttempt, Reservation
from trading.order_states import OrderStatus

ALICE = UUID(int=1)
NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
RULES = SymbolRules(
    "BTC/USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"), ZERO, Decimal(5)
)


def opened(quantity: str = "1.0", side: Side = Side.BUY) -> tuple[TenantState, Account, LiveOrder]:
    """A tenant with 100,000 USDT and 5 BTC and one pending order."""
    account = Account(Connection(user_id=ALICE, exchange="binance_spot", mode="simulator"))
    for asset, total in (("USDT", "100000"), ("BTC", "5")):
        account.balances[asset] = Balance(
            user_id=ALICE, connection_id=account.connection.pk, asset=asset, total=Decimal(total), as_of=NOW
        )
    order = Order(
        id=uuid4(),
        user_id=ALICE,
        connection_id=account.connection.pk,
        symbol="BTC/USDT",
        side=side,
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        quantity=Decimal(quantity),
        price=Decimal(110),
        status=OrderStatus.PENDING,
        client_order_id="d1",
        created_at=NOW,
    )
    amount = Decimal(quantity) * (110 if side == Side.BUY else 1)
    reservation = Reservation(
        order_id=order.pk, user_id=ALICE, asset="USDT" if side == Side.BUY else "BTC", amount=amount, remaining=amount
    )
    live = LiveOrder(order, OrderAttempt(client_order_id="d1", order_id=order.pk), reservation)
    state = TenantState(ALICE, {account.connection.pk: account})
    state.remember(live)
    return state, account, live


def fill(number: int, quantity: str, price: str, side: Side = Side.BUY) -> Fill:
    return Fill(
        str(number),
        "77",
        "BTC/USDT",
        side,
        Decimal(quantity),
        Decimal(price),
        Decimal(quantity) / 1000,
        "BTC",
        "taker",
        NOW + timedelta(milliseconds=number),
    )


def report(status: ReportStatus, filled: str, *fills: Fill, side: Side = Side.BUY) -> OrderReport:
    return OrderReport(
        "d1",
        "77",
        "BTC/USDT",
        side,
        OrderType.LIMIT,
        TimeInForce.GTC,
        status,
        Decimal("1.0"),
        Decimal(110),
        Decimal(filled),
        NOW,
        fills,
    )


def tell(state: TenantState, account: Account, live: LiveOrder, told: OrderReport) -> booking.Booking:
    change = booking.book(state, account, live, told, RULES, cause="stream", now=NOW)
    change.apply(state)
    return change


F1, F2, F3 = fill(1, "0.2", "100"), fill(2, "0.3", "101"), fill(3, "0.5", "102")
LIFE = [
    report(ReportStatus.WORKING, "0"),
    report(ReportStatus.PARTIALLY_FILLED, "0.2", F1),
    report(ReportStatus.PARTIALLY_FILLED, "0.5", F2),
    report(ReportStatus.FILLED, "1.0", F3),
]
CANCELLED_LIFE = [*LIFE[:3], report(ReportStatus.CANCELLED, "0.5")]


def outcome(reports: list[OrderReport]) -> tuple[object, ...]:
    """Everything that a sequence of reports leaves behind."""
    state, account, live = opened()
    for told in reports:
        tell(state, account, live, told)
    assert live.reservation is not None
    position = account.positions["BTC/USDT"]
    return (
        live.order.status,
        live.order.filled_quantity,
        live.order.average_price,
        live.order.fee,
        live.reservation.remaining,
        live.reservation.released_at,
        position.quantity,
        account.balances["BTC"].total,
        account.balances["USDT"].total,
    )


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**9), life=st.sampled_from([LIFE, CANCELLED_LIFE]))
def test_late_double_and_reordered_reports_end_in_the_same_state(seed: int, life: list[OrderReport]) -> None:
    shuffler = random.Random(seed)
    told = life + shuffler.choices(life, k=3)
    shuffler.shuffle(told)
    expected, got = outcome(life), outcome(told)
    # The average cost of a position depends on the order in which its fills are booked only through rounding.
    assert got == expected


def test_a_fill_told_twice_is_booked_once() -> None:
    state, account, live = opened()
    tell(state, account, live, LIFE[1])
    again = tell(state, account, live, LIFE[1])
    assert again.is_empty
    assert live.order.filled_quantity == Decimal("0.2")


def test_an_older_report_moves_nothing_back() -> None:
    state, account, live = opened()
    tell(state, account, live, report(ReportStatus.FILLED, "1.0", F1, F2, F3))
    tell(state, account, live, LIFE[0])
    assert live.order.status == OrderStatus.FILLED


def test_the_reservation_is_held_until_every_reported_fill_is_booked() -> None:
    state, account, live = opened()
    tell(state, account, live, report(ReportStatus.FILLED, "1.0", F1))
    assert live.reservation is not None
    assert live.reservation.released_at is None
    assert not live.is_whole
    tell(state, account, live, report(ReportStatus.FILLED, "1.0", F1, F2, F3))
    assert live.reservation.released_at is not None
    assert live.is_whole


def test_a_cancelled_order_gives_its_reservation_back() -> None:
    state, account, live = opened()
    tell(state, account, live, LIFE[0])
    assert state.reserved(account.connection.pk, "USDT") == Decimal(110)
    tell(state, account, live, report(ReportStatus.CANCELLED, "0"))
    assert state.reserved(account.connection.pk, "USDT") == ZERO


def test_an_order_given_up_as_unsent_is_adopted_when_it_shows_up() -> None:
    state, account, live = opened()
    gone = booking.with_status(
        state, account, live, OrderStatus.EXPIRED, cause="never_arrived", now=NOW, code="NOT_SENT"
    )
    gone.apply(state)
    tell(state, account, live, LIFE[3])
    assert live.order.status == OrderStatus.FILLED
    assert live.order.reported_quantity == Decimal("1.0")


def test_a_fill_moves_balances_at_once() -> None:
    state, account, live = opened()
    tell(state, account, live, LIFE[1])
    assert account.balances["BTC"].total == Decimal("5.1998")
    assert account.balances["USDT"].total == Decimal("99980")


def test_a_fill_that_the_exchanges_balance_already_holds_moves_nothing() -> None:
    state, account, live = opened()
    newer = AccountSnapshot(
        (AssetBalance("BTC", Decimal("5.1998"), ZERO), AssetBalance("USDT", Decimal("99980"), ZERO)),
        NOW + timedelta(milliseconds=1),
        complete=False,
    )
    account.balances.update(booking.book_balances(state, account, newer))
    tell(state, account, live, LIFE[1])
    assert account.balances["BTC"].total == Decimal("5.1998")
    assert account.balances["USDT"].total == Decimal("99980")


def test_an_older_balance_of_the_exchange_is_ignored_after_a_fill() -> None:
    state, account, live = opened()
    tell(state, account, live, LIFE[3])
    before = account.balances["USDT"].total
    older = AccountSnapshot((AssetBalance("USDT", Decimal(100000), ZERO),), NOW, complete=True)
    assert booking.book_balances(state, account, older) == {}
    assert account.balances["USDT"].total == before


@pytest.mark.parametrize("status", [ReportStatus.CANCELLED, ReportStatus.EXPIRED, ReportStatus.REJECTED])
def test_an_ended_order_ends_once(status: ReportStatus) -> None:
    state, account, live = opened()
    first = tell(state, account, live, report(status, "0"))
    second = tell(state, account, live, report(status, "0"))
    assert len(first.events) == 1
    assert second.events == []


def test_a_rejection_after_a_partial_fill_cancels_the_rest_once_and_keeps_the_fill() -> None:
    state, account, live = opened()
    tell(state, account, live, report(ReportStatus.PARTIALLY_FILLED, "0.2", F1))

    ended = tell(state, account, live, report(ReportStatus.REJECTED, "0.2", F1))
    again = tell(state, account, live, report(ReportStatus.REJECTED, "0.2", F1))

    assert (live.order.status, live.order.filled_quantity) == (OrderStatus.CANCELLED, Decimal("0.2"))
    assert live.reservation is not None
    assert live.reservation.released_at is not None
    assert len(ended.events) == 1
    assert again.is_empty


def test_a_sale_holds_and_frees_the_base_asset() -> None:
    state, account, live = opened(side=Side.SELL)
    assert state.reserved(account.connection.pk, "BTC") == Decimal("1.0")
    sale = fill(1, "0.4", "100", Side.SELL)
    tell(
        state,
        account,
        live,
        report(ReportStatus.PARTIALLY_FILLED, "0.4", replace(sale, fee_asset="USDT"), side=Side.SELL),
    )
    assert state.reserved(account.connection.pk, "BTC") == Decimal("0.6")


def test_fills_of_two_days_in_one_report_count_for_each_day() -> None:
    state, account, live = opened()
    today = NOW.date()
    known = RiskMetrics(user_id=ALICE, date=today, quote_asset="USDT", trade_count=7)
    account.metrics[today, "USDT"] = known
    early = replace(F1, executed_at=NOW - timedelta(days=1))
    change = tell(state, account, live, report(ReportStatus.PARTIALLY_FILLED, "0.5", early, F2))
    counts = {day: row.trade_count for (day, _), row in account.metrics.items()}
    assert counts == {today - timedelta(days=1): 1, today: 8}
    writes = WriteSet(ALICE, 0, 1)
    change.write(writes)
    rows = [*writes.creates, *(row for row, *_ in writes.updates)]
    stored = {row.date for row in rows if isinstance(row, RiskMetrics)}
    assert stored == counts.keys()


def test_a_client_id_that_others_made_longer_than_ours_is_cut() -> None:
    state, account, live = opened()
    live.order.elsewhere, live.order.client_order_id = True, ""
    tell(state, account, live, replace(LIFE[0], client_order_id="x" * 64))
    assert live.order.client_order_id == "x" * CLIENT_ID_LENGTH
