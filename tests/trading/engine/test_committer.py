"""Group commit: fenced by the lease's epoch, stopped by kill switches, one bad row hurting only its own set."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from accounts.models import User
from accounts.tenancy import everyone, shard_of, tenant_scope
from connections.models import Connection, Lease
from desproject.lib.clock import SYSTEM_CLOCK
from risk.models import KillLevel, KillSwitch
from trading.engine.committer import BadRow, Committer, Fenced, Killed, Scope, WriteSet, write_group
from trading.engine_count import SHARD
from trading.models import Decision, Signal, StrategyInstance

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


def test_bookings_go_on_under_a_kill_switch(alice: User) -> None:
    instance = instance_of(alice)
    lease_of(alice)
    with tenant_scope(alice.pk):
        KillSwitch.objects.create(user=alice, level=KillLevel.USER, target_id=alice.pk, reason="t", pressed_by=alice)
    assert write_group([signal_set(alice, instance, "a")]) == {}


async def _commit_all(sets: list[WriteSet]) -> list[BaseException | None]:
    committer = Committer()
    runner = asyncio.create_task(committer.run())
    results = await asyncio.gather(*(committer.commit(writes) for writes in sets), return_exceptions=True)
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


def test_sets_that_wait_together_share_a_transaction(alice: User) -> None:
    instance = instance_of(alice)
    lease_of(alice)

    async def run() -> Committer:
        committer = Committer()
        waiting = [asyncio.create_task(committer.commit(signal_set(alice, instance, str(n)))) for n in range(20)]
        await asyncio.sleep(0)
        runner = asyncio.create_task(committer.run())
        await asyncio.gather(*waiting)
        runner.cancel()
        return committer

    committer = asyncio.run(run())
    assert len(stored(alice)) == 20
    assert committer.figures["commit_groups"] == 1


def test_rows_of_another_tenant_cant_be_written(alice: User, bob: User) -> None:
    instance = instance_of(alice)
    lease_of(alice)
    writes = signal_set(alice, instance, "a")
    writes.creates[0].user_id = bob.pk  # type: ignore[attr-defined]
    committer = asyncio.run(_commit_all([writes]))
    assert committer[0] is not None
    with everyone():
        assert not Signal.objects.exists()
