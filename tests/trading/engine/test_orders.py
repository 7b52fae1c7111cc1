"""Orders through a real engine to a simulated exchange and back."""

import time
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import database
from connections.events import Quote
from connections.gateways import OrderType, Side
from connections.models import Connection
from risk.services import set_policy
from tests.connections.simulator.server import Keys
from tests.trading.engine.harness import FEED, SYMBOL, Bench, running_bench, until
from trading.engine import sending
from trading.models import Balance, Order, OrderAttempt, Position, Reservation, Trade
from trading.services import cancel_order

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


async def ended(bench: Bench, order: Order, status: str) -> Order:
    async def is_so() -> bool:
        return (await bench.refreshed(order)).status == status

    await until(is_so)
    return await bench.refreshed(order)


def rows(user: User, model: type) -> list:  # type: ignore[type-arg]
    with tenant_scope(user.pk):
        return list(model.objects.all())  # type: ignore[attr-defined]


async def test_a_market_order_is_filled_and_booked(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        order = await bench.order(alice, connection)
        await bench.quote_of_the_simulator()
        done = await ended(bench, order, "filled")
        ledger = await bench.simulator.ledger(keys)
    assert done.filled_quantity == Decimal("0.01")
    trades = await database.run(rows, alice, Trade)
    assert sum(trade.quantity for trade in trades) == Decimal("0.01")
    held = {row.asset: row.total for row in await database.run(rows, alice, Balance)}
    for asset, amounts in ledger["balances"].items():
        assert held[asset] == Decimal(amounts["free"]) + Decimal(amounts["locked"])
    (position,) = await database.run(rows, alice, Position)
    assert position.quantity == Decimal("0.00999")
    (reservation,) = await database.run(rows, alice, Reservation)
    assert reservation.released_at is not None
    assert reservation.remaining == 0


async def test_an_entry_waits_for_a_price_that_isnt_too_old_and_an_exit_goes_out(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000", BTC="1")
        quotes, size, long_ago = bench.engine.desk.quotes, Decimal(100), time.time_ns() - 61 * 10**9

        async def is_told() -> bool:
            return (FEED, SYMBOL) in quotes

        bid, ask = await bench.quote_of_the_simulator()
        await until(is_told)

        async def is_old() -> bool:
            return quotes[FEED, SYMBOL].seen_ns == long_ago

        await bench.tell(Quote(SYMBOL, long_ago, bid, size, ask, size))
        await until(is_old)
        entry = await bench.order(alice, connection)
        exit_ = await bench.order(alice, connection, side=Side.SELL)
        await ended(bench, exit_, "filled")
        assert (await bench.refreshed(entry)).status == "new"
        await bench.quote_of_the_simulator()
        await ended(bench, entry, "filled")


async def test_a_limit_order_rests_and_is_cancelled(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        bid, _ = await bench.quote_of_the_simulator()
        order = await bench.order(alice, connection, type=OrderType.LIMIT, price=bid - 500)
        resting = await ended(bench, order, "submitted")
        (reservation,) = await database.run(rows, alice, Reservation)
        assert reservation.remaining == resting.price * resting.quantity
        await database.run(_cancel, alice, resting)
        await ended(bench, order, "cancelled")
        ledger = await bench.simulator.ledger(keys)
    assert [row["status"] for row in ledger["orders"]] == ["CANCELED"]
    (reservation,) = await database.run(rows, alice, Reservation)
    assert reservation.remaining == 0


def _cancel(user: User, order: Order) -> None:
    with tenant_scope(user.pk):
        cancel_order(user=user, order=order)


async def test_an_order_that_cant_be_paid_is_denied_and_never_sent(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100")
        await bench.quote_of_the_simulator()
        order = await bench.order(alice, connection, quantity=Decimal("1"))
        done = await ended(bench, order, "rejected")
        ledger = await bench.simulator.ledger(keys)
    assert done.reject_code == "RISK_AVAILABLE_BALANCE"
    assert ledger["orders"] == []


async def test_concurrent_orders_never_overspend(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        bid, _ = await bench.quote_of_the_simulator()
        connection, keys = await bench.bind(alice, USDT=str(bid * Decimal("0.035")))
        price = bid - 500
        orders = [
            await bench.order(alice, connection, type=OrderType.LIMIT, price=price, quantity=Decimal("0.01"))
            for _ in range(8)
        ]

        async def decided() -> bool:
            return {(await bench.refreshed(order)).status for order in orders} <= {"submitted", "rejected"}

        await until(decided)
        ledger = await bench.simulator.ledger(keys)
        statuses = [(await bench.refreshed(order)).status for order in orders]
    assert statuses.count("submitted") == 3
    assert len(ledger["orders"]) == 3


async def test_an_answer_that_never_comes_is_asked_for_and_not_sent_again(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await bench.simulator.fault("accept_then_timeout", path="/api/v3/order", count=1)
        await bench.quote_of_the_simulator()
        order = await bench.order(alice, connection)
        await ended(bench, order, "filled")
        ledger = await bench.simulator.ledger(keys)
        fired = (await bench.simulator.counters())["faults"]["accept_then_timeout"]
    assert fired == 1
    assert len(ledger["orders"]) == 1
    assert len(await database.run(rows, alice, OrderAttempt)) == 1


async def test_an_order_that_never_arrived_ends_expired(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await bench.simulator.fault("drop_before", path="/api/v3/order", count=1)
        await bench.quote_of_the_simulator()
        order = await bench.order(alice, connection)
        done = await ended(bench, order, "expired")
        ledger = await bench.simulator.ledger(keys)
        assert (await bench.simulator.counters())["faults"]["drop_before"] == 1
    assert ledger["orders"] == []
    assert done.reject_code == "NOT_SENT"
    (reservation,) = await database.run(rows, alice, Reservation)
    assert reservation.remaining == 0


async def test_an_overloaded_exchange_is_tried_again_under_a_new_id(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await bench.simulator.fault("http_error", path="/api/v3/order", status=503, code=-1008, count=1)
        await bench.quote_of_the_simulator()
        order = await bench.order(alice, connection)
        done = await ended(bench, order, "filled")
        ledger = await bench.simulator.ledger(keys)
    attempts = await database.run(rows, alice, OrderAttempt)
    assert sorted(attempt.number for attempt in attempts) == [1, 2]
    assert done.client_order_id.endswith("-2")
    assert len(ledger["orders"]) == 1


async def test_two_tenants_never_touch_each_other(alice: User, bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        first, _ = await bench.bind(alice, USDT="100000")
        second, _ = await bench.bind(bob, BTC="1")
        await bench.quote_of_the_simulator()
        buy = await bench.order(alice, first)
        sell = await bench.order(bob, second, side=Side.SELL)
        await ended(bench, buy, "filled")
        await ended(bench, sell, "filled")
    assert {trade.side for trade in await database.run(rows, alice, Trade)} == {"buy"}
    assert {trade.side for trade in await database.run(rows, bob, Trade)} == {"sell"}


async def test_a_refused_key_makes_the_connection_unhealthy(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await bench.quote_of_the_simulator()
        await bench.simulator.fault("http_error", path="/api/v3/order", status=401, code=-2015, count=1)
        refused = await ended(bench, await bench.order(alice, connection), "rejected")
        later = await ended(bench, await bench.order(alice, connection), "rejected")
        ledger = await bench.simulator.ledger(keys)
    assert refused.reject_code == "KEY_REFUSED"
    assert later.reject_code == "RISK_CONNECTION_UNHEALTHY"
    assert ledger["orders"] == []
    (row,) = await database.run(rows, alice, Connection)
    assert row.status == "unhealthy"


async def test_an_order_given_up_too_early_is_adopted_with_an_error_in_the_log(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await bench.simulator.fault("drop_before", path="/api/v3/order", count=1)
        await bench.quote_of_the_simulator()
        order = await ended(bench, await bench.order(alice, connection), "expired")
        keys = Keys("alice-api-key-0000", "alice-secret")
        late = await bench.simulator.order(keys, "BUY", "0.01", newClientOrderId=order.client_order_id)
        assert late.status == 200
        tenant = bench.engine.tenants[alice.pk]
        account = tenant.state.accounts[connection.pk]
        gateway = await bench.engine.desk.gateway(tenant, account)
        report = await sending.whole_report(gateway, order, order.client_order_id)
        sending.post_report(bench.engine.desk, tenant, order.pk, report)
        done = await ended(bench, order, "filled")
    assert done.filled_quantity == Decimal("0.01")
    assert "expired_order_adopted" in caplog.text


async def test_orders_beyond_the_pace_wait_for_it(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await database.run(_limit, alice, max_orders_per_second=1)
        bid, _ = await bench.quote_of_the_simulator()
        resting = [await bench.order(alice, connection, type=OrderType.LIMIT, price=bid - 500) for _ in range(3)]
        for order in resting:
            await ended(bench, order, "submitted")
        assert bench.engine.desk.figures["paced"] > 0
    # An attempt is made before it is sent, and the next one at least a second after that.
    made = sorted(row.created_at for row in await database.run(rows, alice, OrderAttempt))
    assert [later - earlier >= timedelta(seconds=1) for earlier, later in pairwise(made)] == [True, True]


def _limit(user: User, **limits: Any) -> None:
    with tenant_scope(user.pk):
        set_policy(user=user, level="user", target_id=user.pk, limits=limits)


async def test_an_exit_waits_for_no_pace(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000", BTC="1")
        await database.run(_limit, alice, max_orders_per_second=1)
        await bench.quote_of_the_simulator()
        for _ in range(3):
            await ended(bench, await bench.order(alice, connection, side=Side.SELL), "filled")
        assert bench.engine.desk.figures["paced"] == 0
