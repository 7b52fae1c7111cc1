"""What users want while an engine works: cancels, kill switches, deletions; found by the sweep when no hint came."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import transaction

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import database
from connections.gateways import OrderType, Side, TimeInForce
from connections.models import Connection
from risk.models import KillLevel, KillSwitch
from tests.trading.engine.harness import SYMBOL, Bench, running_bench, until
from trading.engine import planning
from trading.engine.engine import Engine
from trading.leak_drill import answer_leak
from trading.models import Command, CommandKind, Order, OrderAttempt, Position
from trading.order_states import OrderStatus

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


async def within(user: User, job: Callable[[], Any]) -> Any:
    """Runs ``job`` as that user, without telling the engine."""

    def scoped() -> Any:
        with tenant_scope(user.pk):
            return job()

    return await database.run(scoped)


async def create(user: User, model: Any, **values: Any) -> Any:
    return await within(user, lambda: model.objects.create(user=user, **values))


async def press(user: User, level: str, target: UUID, *, flatten: bool = False) -> KillSwitch:
    row: KillSwitch = await create(
        user,
        KillSwitch,
        level=level,
        target_id=target,
        reason="test",
        flatten=flatten,
        pressed_by=user,
    )
    return row


async def new_order(user: User, connection: Connection, **values: Any) -> Order:
    chosen = {
        "symbol": SYMBOL,
        "side": Side.BUY,
        "type": OrderType.MARKET,
        "time_in_force": TimeInForce.GTC,
        "quantity": Decimal("0.01"),
        **values,
    }
    row: Order = await create(user, Order, connection=connection, **chosen)
    return row


async def count(user: User, model: Any, **wanted: Any) -> int:
    found: int = await within(user, lambda: model.objects.filter(**wanted).count())
    return found


async def has(bench: Bench, order: Order, status: str) -> Order:
    async def is_so() -> bool:
        return (await bench.refreshed(order)).status == status

    await until(is_so)
    return await bench.refreshed(order)


async def known(bench: Bench, user: User) -> None:
    async def is_so() -> bool:
        tenant = bench.engine.tenants.get(user.pk)
        accounts = tenant.state.accounts.values() if tenant else ()
        return bool(accounts) and all(account.entries_open for account in accounts)

    await until(is_so)


async def resting(bench: Bench, user: User, connection: Connection) -> Order:
    bid, _ = await bench.quote_of_the_simulator()
    order = await bench.order(user, connection, type=OrderType.LIMIT, price=bid - 500)
    return await has(bench, order, "submitted")


async def test_a_leaked_key_cancels_its_orders_and_serves_for_nothing_else(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await known(bench, alice)
        order = await resting(bench, alice, connection)
        leak = await within(alice, lambda: answer_leak(user=alice, connection=connection))
        assert leak.open_orders == 1
        await has(bench, order, "cancelled")
        refused = await new_order(alice, connection)
        await has(bench, refused, "rejected")
        ledger = await bench.simulator.ledger(keys)
    assert [row["status"] for row in ledger["orders"]] == ["CANCELED"]


async def test_a_cancel_that_comes_together_with_its_order_isnt_lost(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await known(bench, alice)
        await bench.quote_of_the_simulator()
        order = await within(alice, lambda: _order_with_cancel(alice, connection))
        await has(bench, order, "cancelled")
        ledger = await bench.simulator.ledger(keys)
    assert ledger["orders"] == []
    (command,) = await within(alice, lambda: list(Command.objects.all()))
    assert command.result == "cancelled before sending"


def _order_with_cancel(user: User, connection: Connection, **values: Any) -> Order:
    order = Order(
        **values,
        user=user,
        connection=connection,
        symbol=SYMBOL,
        side=Side.BUY,
        type=OrderType.MARKET,
        time_in_force=TimeInForce.GTC,
        quantity=Decimal("0.01"),
    )
    with transaction.atomic():  # the engine sees both at once
        order.save(force_insert=True)
        Command(user=user, kind=CommandKind.CANCEL, order=order).save(force_insert=True)
    return order


async def test_a_kill_switch_stops_the_next_attempt_of_an_order(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await known(bench, alice)
        await bench.simulator.fault("http_error", path="/api/v3/order", status=503, code=-1008, retry_after=1, count=1)
        await bench.quote_of_the_simulator()
        order = await bench.order(alice, connection)

        async def refused() -> bool:
            return bool((await bench.simulator.counters())["faults"].get("http_error"))

        await until(refused)
        # The engine isn't told, and its sweep doesn't come: only the commit itself can stop the attempt.
        monkeypatch.setattr(settings.CONFIG, "sweep_seconds", 60)
        await press(alice, KillLevel.USER, alice.pk)
        done = await has(bench, order, "rejected")
        ledger = await bench.simulator.ledger(keys)
    assert done.reject_code == "RISK_KILL_SWITCH"
    assert ledger["orders"] == []
    assert await count(alice, OrderAttempt) == 1


@pytest.mark.parametrize("earlier", [False, True])
async def test_a_cancel_ends_the_attempts_of_an_order_at_once(
    alice: User, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    """Whether it comes in the pause after an attempt, or while the exchange hasn't answered one yet."""
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await known(bench, alice)
        if earlier:
            await bench.simulator.fault("delay", path="/api/v3/order", seconds=0.5, count=1)
        await bench.simulator.fault("http_error", path="/api/v3/order", status=503, code=-1008, retry_after=5, count=1)
        await bench.quote_of_the_simulator()
        order = await bench.order(alice, connection)

        async def struck() -> bool:
            return bool((await bench.simulator.counters())["faults"].get("delay" if earlier else "http_error"))

        await until(struck)
        await create(alice, Command, kind=CommandKind.CANCEL, order=order)
        await has(bench, order, "cancelled")

        async def told() -> bool:
            return bool(await count(alice, Command, done_at__isnull=False))

        await until(told)
        ledger = await bench.simulator.ledger(keys)
    assert ledger["orders"] == []
    assert await count(alice, OrderAttempt) == await count(alice, OrderAttempt, outcome="not_sent") == 1


async def test_the_systems_kill_switch_cancels_everybodys_orders_without_a_wake_up(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        order = await resting(bench, alice, connection)
        await press(bob, KillLevel.SYSTEM, bob.pk)
        await has(bench, order, "cancelled")


async def test_a_deactivated_user_trades_no_more(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        order = await resting(bench, alice, connection)
        await database.run(User.objects.filter(pk=alice.pk).update, is_active=False)
        await has(bench, order, "cancelled")
        later = await new_order(alice, connection)
        await has(bench, later, "rejected")


async def test_an_order_on_a_connection_deleted_just_before_ends_rejected(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await bench.bind_another(alice)
        await known(bench, alice)
        await within(alice, lambda: Connection.objects.filter(pk=connection.pk).update(is_deleted=True))
        order = await new_order(alice, connection)
        done = await has(bench, order, "rejected")
    assert done.reject_code == "CONNECTION_DELETED"


async def _sold(bench: Bench, user: User) -> None:
    async def is_so() -> bool:
        positions = await within(user, lambda: list(Position.objects.all()))
        return all(position.quantity < Decimal("0.0001") for position in positions)

    await until(is_so)


async def test_flattening_that_an_engine_didnt_finish_is_done_by_the_next(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await bench.quote_of_the_simulator()
        await has(bench, await bench.order(alice, connection), "filled")
        await bench.stop()
        await press(alice, KillLevel.CONNECTION, connection.pk, flatten=True)
        bench.engine = Engine()
        await bench.start()
        await bench.quote_of_the_simulator()
        await _sold(bench, alice)


async def test_flattening_sells_nothing_that_another_switch_merely_stops(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        other = await bench.bind_another(alice)
        await bench.quote_of_the_simulator()
        await has(bench, await bench.order(alice, connection), "filled")
        await press(alice, KillLevel.CONNECTION, connection.pk)
        await press(alice, KillLevel.CONNECTION, other.pk, flatten=True)

        async def seen() -> bool:
            return len(bench.engine.tenants[alice.pk].state.switches) == 2

        await until(seen)
        swept = bench.engine._swept_at

        async def looked_at_again() -> bool:
            tenant = bench.engine.tenants[alice.pk]
            return (bench.engine._swept_at - swept).total_seconds() > 0.5 and not tenant.is_busy

        await until(looked_at_again)
    assert await count(alice, Order, side=Side.SELL) == 0


async def test_an_unanswered_order_that_memory_doesnt_know_is_adopted(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await known(bench, alice)
        order = await new_order(alice, connection, status=OrderStatus.PENDING, client_order_id="dx-1")
        await create(
            alice,
            OrderAttempt,
            client_order_id="dx-1",
            order=order,
            connection=connection,
            shard=0,
            epoch=1,
            send_deadline=order.created_at,
        )
        done = await has(bench, order, "expired")
    assert done.reject_code == "NOT_SENT"


async def test_an_unanswered_order_is_asked_for_though_its_owner_wants_it_cancelled(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await known(bench, alice)
        order = await within(alice, lambda: _unanswered_with_cancel(alice, connection))
        done = await has(bench, order, "expired")

        async def told() -> bool:
            return bool(await count(alice, Command, result="already expired"))

        await until(told)
    assert done.reject_code == "NOT_SENT"


def _unanswered_with_cancel(user: User, connection: Connection) -> Order:
    with transaction.atomic():
        order = _order_with_cancel(user, connection, status=OrderStatus.UNKNOWN, client_order_id="dx-1")
        OrderAttempt.objects.create(
            user=user, client_order_id="dx-1", order=order, connection=connection, shard=0, epoch=1,
            send_deadline=order.created_at,
        )  # fmt: skip
    return order


async def test_an_order_that_the_database_refuses_ends_instead_of_being_tried_for_ever(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await known(bench, alice)
        await bench.quote_of_the_simulator()
        order = await within(alice, lambda: _order_with_attempt(alice, connection))
        done = await has(bench, order, "rejected")
        ledger = await bench.simulator.ledger(keys)
    assert done.reject_code == "NOT_STORABLE"
    assert ledger["orders"] == []


async def test_an_order_that_was_cancelled_in_the_database_while_it_was_decided_isnt_sent(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_for_order, planned = planning.plan_for_order, list[Order]()

    async def cancelled_meanwhile(desk: Any, tenant: Any, account: Any, order: Order) -> Any:
        plan = await plan_for_order(desk, tenant, account, order)
        await within(alice, lambda: Order.objects.filter(pk=order.pk).update(status=OrderStatus.CANCELLED))
        planned.append(order)
        return plan

    monkeypatch.setattr(planning, "plan_for_order", cancelled_meanwhile)
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await known(bench, alice)
        await bench.quote_of_the_simulator()
        order = await bench.order(alice, connection)

        async def is_decided() -> bool:
            return bool(planned) and not bench.engine.tenants[alice.pk].is_busy

        await until(is_decided)
        await bench.stop()
        ledger = await bench.simulator.ledger(keys)
    assert ledger["orders"] == []
    assert (await bench.refreshed(order)).status == "cancelled"
    assert await count(alice, OrderAttempt) == 0


def _order_with_attempt(user: User, connection: Connection) -> Order:
    """The id of the order's first attempt is taken already."""
    order = Order(
        user=user,
        connection=connection,
        symbol=SYMBOL,
        side=Side.BUY,
        type=OrderType.MARKET,
        time_in_force=TimeInForce.GTC,
        quantity=Decimal("0.01"),
    )
    with transaction.atomic():
        order.save(force_insert=True)
        OrderAttempt(
            client_order_id=f"d{order.pk.hex}-1",
            user=user,
            order=order,
            connection=connection,
            shard=0,
            epoch=1,
            send_deadline=order.created_at,
        ).save(force_insert=True)
    return order
