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
