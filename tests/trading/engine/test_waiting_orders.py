"""The part of a tenant's queue that an engine has in memory (ORD-2)."""

from collections.abc import Sequence
from uuid import uuid4

import pytest
from django.conf import settings

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections.database import run as run_in_db
from connections.gateways import OrderType
from tests.trading.engine.harness import running_bench, until
from trading.engine.waiting_orders import WaitingOrders
from trading.models import Order
from trading.order_states import OrderStatus


def orders(count: int) -> list[Order]:
    return [Order(pk=uuid4()) for _ in range(count)]


def refilled(queue: WaitingOrders, rows: Sequence[Order], left: int = 0) -> int:
    return queue.refill([row.pk for row in rows], {row.pk: row for row in rows if row.pk not in queue.known}, left)


def test_what_leaves_the_market_overtakes_what_was_in_memory_before() -> None:
    queue, (first, second, exit_) = WaitingOrders(10), orders(3)
    refilled(queue, [first, second])
    refilled(queue, [exit_, first, second])
    assert [queue.next(), queue.next(), queue.next(), queue.next()] == [exit_, first, second, None]


def test_an_order_that_is_no_longer_waiting_leaves() -> None:
    queue, (first, second) = WaitingOrders(10), orders(2)
    refilled(queue, [first, second])
    refilled(queue, [second])
    assert (queue.next(), queue.next()) == (second, None)


def test_orders_past_its_size_overflow_and_each_is_counted_once() -> None:
    queue, rows = WaitingOrders(2), orders(4)
    assert refilled(queue, rows[:2]) == 0
    assert refilled(queue, rows, left=5) == 7
    assert refilled(queue, rows, left=5) == 0
    assert (len(queue), queue.pending, queue.overflow, queue.max_pending) == (4, 9, 7, 9)


def test_it_goes_on_until_each_was_tried_once() -> None:
    queue, rows = WaitingOrders(2), orders(3)
    refilled(queue, rows[:2], left=1)
    for row in rows[:2]:
        queue.was_tried(row.pk, waits=True)
    assert (queue.goes_on, queue.tried) == (True, {row.pk for row in rows[:2]})
    refilled(queue, [rows[2], rows[0]], left=1)
    assert (queue.goes_on, queue.tried) == (False, set())


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("redis_server")
async def test_a_burst_beyond_memory_is_decided_to_the_last_order_without_waiting_for_a_sweep(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings.CONFIG, "order_queue_batch", 2)
    monkeypatch.setattr(settings.CONFIG, "order_queue_overflow", 1)
    monkeypatch.setattr(settings.CONFIG, "sweep_seconds", 60.0)
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        bid, _ = await bench.quote_of_the_simulator()

        async def is_open() -> bool:
            tenant = bench.engine.tenants.get(alice.pk)
            return tenant is not None and all(each.entries_open for each in tenant.state.accounts.values())

        bench.engine._sweep_now.set()
        await until(is_open)
        for _ in range(7):
            await bench.order(alice, connection, type=OrderType.LIMIT, price=bid - 500)

        def none_waits() -> bool:
            with tenant_scope(alice.pk):
                return not Order.objects.filter(status=OrderStatus.NEW).exists()

        async def all_are() -> bool:
            return await run_in_db(none_waits)

        await until(all_are)
        queue = bench.engine.tenants[alice.pk].queue
        assert (queue.pending, queue.overflow) == (0, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("redis_server")
async def test_orders_that_cant_be_decided_yet_hold_up_no_others_though_they_fill_the_memory(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings.CONFIG, "order_queue_batch", 2)
    monkeypatch.setattr(settings.CONFIG, "order_queue_overflow", 1)
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        # No price of these is told.
        waiting = [await bench.order(alice, connection, symbol="ETH/USDT") for _ in range(5)]
        bid, _ = await bench.quote_of_the_simulator()
        order = await bench.order(alice, connection, type=OrderType.LIMIT, price=bid - 500)

        async def is_sent() -> bool:
            return (await bench.refreshed(order)).status == OrderStatus.SUBMITTED

        await until(is_sent, seconds=5)
        assert [(await bench.refreshed(each)).status for each in waiting] == [OrderStatus.NEW] * 5
