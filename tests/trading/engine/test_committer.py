"""Group commit: fenced by the lease's epoch, stopped by kill switches, one bad row hurting only its own set."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection

from accounts.models import User
from accounts.tenancy import everyone, shard_of, tenant_scope
from audit.record import entry
from connections.models import Connection, Lease
from desproject.lib.clock import SYSTEM_CLOCK
from risk.models import KillLevel, KillSwitch
from trading.engine import committer
from trading.engine.committer import BadRow, Committer, CommitUnknown, Fenced, Killed, Scope, WriteSet, write_group
from trading.engine.state import changed
from trading.engine_count import SHARD
from trading.models import Decision, Order, Signal, StrategyInstance
from trading.order_states import OrderStatus

pytestmark = pytest.mark.django_db(transaction=True)
EPOCH = 3


def connection_of(user: User) -> Connection:
    with tenant_scope(user.pk):
        row: Connection = Connection.objects.create(
            user=user,
            name="spot",
            exchange="binance_spot",
            mode="simulator",
            api_key_sealed="x",
            api_secret_sealed="x",
            api_key_masked="x",
            key_version=1,
        )
    return row


def instance_of(user: User) -> StrategyInstance:
    connection = connection_of(user)
    with tenant_scope(user.pk):
        row: StrategyInstance = StrategyInstance.objects.create(
            user=user, connection=connection, name="rsi", strategy="rsi", symbol="BTC/USDT", timeframe="1s"
        )
    return row


def lease_of(user: User, epoch: int = EPOCH) -> Lease:
    return Lease.objects.create(
        kind=SHARD, key=str(shard_of(user.pk)), epoch=epoch, expires_at=SYSTEM_CLOCK.now() + timedelta(minutes=1)
    )


def signal_set(
    user: User, instance: StrategyInstance, key: str, *, epoch: int = EPOCH, intent: bool = False
) -> WriteSet:
    writes = WriteSet(user.pk, shard_of(user.pk), epoch)
    if intent:
        writes.intent = Scope(user.pk, instance.connection_id, instance.pk)
    now = SYSTEM_CLOCK.now()
    writes.create(
        Signal(
            user_id=user.pk,
            instance_id=instance.pk,
            event_key=key,
            action="enter",
            price=Decimal(1),
            decision=Decision.ORDERED,
            observed_at=now,
            decided_at=now,
        )
    )
    return writes


def stored(user: User) -> set[str]:
    with tenant_scope(user.pk):
        return set(Signal.objects.values_list("event_key", flat=True))


def test_a_set_of_the_present_epoch_is_written(alice: User) -> None:
    instance = instance_of(alice)
    lease_of(alice)
    assert write_group([signal_set(alice, instance, "a")]) == {}
    assert stored(alice) == {"a"}


def test_a_set_of_an_overtaken_epoch_is_refused(alice: User) -> None:
    instance = instance_of(alice)
    lease_of(alice, EPOCH + 1)
    refused = write_group([signal_set(alice, instance, "a")])
    assert isinstance(refused[0], Fenced)
    assert stored(alice) == set()


def test_a_fenced_tenant_doesnt_stop_another_one(alice: User, bob: User) -> None:
    lease_of(alice, EPOCH + 1)
    lease_of(bob)
    refused = write_group(
        [
            signal_set(alice, instance_of(alice), "a"),
            signal_set(bob, instance_of(bob), "b"),
        ]
    )
    assert set(refused) == {0}
    assert stored(bob) == {"b"}


@pytest.mark.parametrize("level", [KillLevel.USER, KillLevel.CONNECTION, KillLevel.STRATEGY])
def test_an_intent_under_a_kill_switch_is_refused(alice: User, level: KillLevel) -> None:
    instance = instance_of(alice)
    lease_of(alice)
    target = {"user": alice.pk, "connection": instance.connection_id, "strategy": instance.pk}[level]
    with tenant_scope(alice.pk):
        KillSwitch.objects.create(user=alice, level=level, target_id=target, reason="test", pressed_by=alice)
    refused = write_group([signal_set(alice, instance, "a", intent=True)])
    assert isinstance(refused[0], Killed)
    assert stored(alice) == set()


def test_a_kill_switch_of_another_user_stops_nothing(alice: User, bob: User) -> None:
    instance = instance_of(alice)
    lease_of(alice)
    with tenant_scope(bob.pk):
        KillSwitch.objects.create(user=bob, level=KillLevel.USER, target_id=bob.pk, reason="test", pressed_by=bob)
    assert write_group([signal_set(alice, instance, "a", intent=True)]) == {}


def test_the_whole_systems_switch_stops_everybody_whoever_pressed_it(alice: User, bob: User) -> None:
    instance = instance_of(alice)
    lease_of(alice)
    with tenant_scope(bob.pk):
        KillSwitch.objects.create(user=bob, level=KillLevel.SYSTEM, target_id=bob.pk, reason="test", pressed_by=bob)
    refused = write_group([signal_set(alice, instance, "a", intent=True)])
    assert isinstance(refused[0], Killed)


def test_bookings_go_on_under_a_kill_switch(alice: User) -> None:
    instance = instance_of(alice)
    lease_of(alice)
    with tenant_scope(alice.pk):
        KillSwitch.objects.create(user=alice, level=KillLevel.USER, target_id=alice.pk, reason="t", pressed_by=alice)
    assert write_group([signal_set(alice, instance, "a")]) == {}


async def _commit_all(sets: list[WriteSet]) -> list[BaseException | None]:
    writer = Committer()
    runner = asyncio.create_task(writer.run())
    results = await asyncio.gather(*(writer.commit(writes) for writes in sets), return_exceptions=True)
    runner.cancel()
    return results


def test_a_signal_is_decided_once_and_a_bad_row_hurts_only_its_own_set(alice: User, bob: User) -> None:
    first, second = instance_of(alice), instance_of(bob)
    lease_of(alice)
    lease_of(bob)
    write_group([signal_set(alice, first, "a")])
    results = asyncio.run(_commit_all([signal_set(alice, first, "a"), signal_set(bob, second, "b")]))
    assert isinstance(results[0], BadRow)
    assert results[1] is None
    assert stored(bob) == {"b"}


def test_an_order_that_was_cancelled_meanwhile_isnt_placed_and_hurts_only_its_own_set(alice: User, bob: User) -> None:
    lease_of(alice)
    lease_of(bob)
    gone, other = order_of(alice), order_of(bob)
    with tenant_scope(alice.pk):
        Order.objects.filter(pk=gone.pk).update(status=OrderStatus.CANCELLED)

    first, second = asyncio.run(_commit_all([placing_set(gone), placing_set(other)]))

    assert isinstance(first, BadRow)
    assert second is None
    with tenant_scope(alice.pk, bob.pk):
        assert {row.pk: row.status for row in Order.objects.all()} == {gone.pk: "cancelled", other.pk: "pending"}


def order_of(user: User) -> Order:
    connection = connection_of(user)
    with tenant_scope(user.pk):
        row: Order = Order.objects.create(
            user=user, connection=connection, symbol="BTC/USDT", side="buy", type="market", quantity=Decimal(1)
        )
    return row


def placing_set(order: Order) -> WriteSet:
    writes = WriteSet(order.user_id, shard_of(order.user_id), EPOCH)
    writes.save(changed(order, status=OrderStatus.PENDING), "status", was=OrderStatus.NEW)
    return writes


@pytest.mark.database("postgresql", reason="SQLite needs no plan beforehand")
def test_what_a_group_runs_is_planned_once(alice: User) -> None:
    instance = instance_of(alice)
    lease_of(alice)
    write_group([signal_set(alice, instance, "a", intent=True)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'INSERT INTO \"signals\"%'")
        assert cursor.fetchone() == (1,)


def test_sets_that_wait_together_share_a_transaction(alice: User) -> None:
    instance = instance_of(alice)
    lease_of(alice)

    async def run() -> Committer:
        writer = Committer()
        waiting = [asyncio.create_task(writer.commit(signal_set(alice, instance, str(n)))) for n in range(20)]
        await asyncio.sleep(0)
        runner = asyncio.create_task(writer.run())
        await asyncio.gather(*waiting)
        runner.cancel()
        return writer

    writer = asyncio.run(run())
    assert len(stored(alice)) == 20
    assert writer.figures["commit_groups"] == 1


def test_rows_of_another_tenant_cant_be_written(alice: User, bob: User) -> None:
    instance = instance_of(alice)
    lease_of(alice)
    writes = signal_set(alice, instance, "a")
    writes.creates[0].user_id = bob.pk  # type: ignore[attr-defined]
    results = asyncio.run(_commit_all([writes]))
    assert results[0] is not None
    with everyone():
        assert not Signal.objects.exists()


def test_an_intent_of_a_deactivated_user_is_refused(alice: User) -> None:
    instance = instance_of(alice)
    lease_of(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    refused = write_group([signal_set(alice, instance, "a", intent=True)])
    assert isinstance(refused[0], Killed)


def test_an_intent_for_a_deleted_connection_is_refused(alice: User) -> None:
    instance = instance_of(alice)
    lease_of(alice)
    with tenant_scope(alice.pk):
        Connection.objects.filter(pk=instance.connection_id).update(is_deleted=True)
    refused = write_group([signal_set(alice, instance, "a", intent=True)])
    assert isinstance(refused[0], Killed)
    assert write_group([signal_set(alice, instance, "a")]) == {}


def test_rows_written_again_take_no_number_of_a_rolled_back_transaction(alice: User) -> None:
    """Another process may have got the number meanwhile."""
    instance = instance_of(alice)
    lease_of(alice)
    note = entry("order.placed", user_id=alice.pk, resource_type="order", resource_id=instance.pk)
    first, second = signal_set(alice, instance, "a"), signal_set(alice, instance, "b")
    first.create(note)
    second.update(Order(user_id=alice.pk), "status")  # no such row
    with pytest.raises(DatabaseError):
        write_group([first, second])
    assert note.pk is not None
    committer._unnumber(first.creates)
    assert note.pk is None
    assert first.creates[0].pk is not None


def test_a_fault_of_the_committer_itself_leaves_nobody_waiting(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = instance_of(alice)
    lease_of(alice)
    write_group([signal_set(alice, instance, "a")])

    def broken(rows: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(committer, "_unnumber", broken)
    results = asyncio.run(_commit_all([signal_set(alice, instance, "a"), signal_set(alice, instance, "b")]))
    assert [type(result) for result in results] == [CommitUnknown, CommitUnknown]
