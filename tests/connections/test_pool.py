"""The gateway pool: one gateway a connection, made once, and none left behind."""

import asyncio
import os
import threading
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from connections import database
from connections.custody import CredentialsUnreadable, seal_credentials
from connections.exchanges.binance_spot import VENUE
from connections.exchanges.network import Network
from connections.gateways import KeyRefused
from connections.models import Connection
from connections.pool import RECHECK_SECONDS, TRUST_SECONDS, GatewayPool, Look, lent_gateway, look_at
from connections.simulator.server import SimulatorServer
from desproject.lib.clock import ManualClock
from desproject.lib.errors import InvalidInput, NotFound
from desproject.lib.features import GATEWAY_TRUST, Stage
from tests.connections.conftest import BOB_KEY, KEY
from tests.connections.exchanges.second_version import operators_folder
from tests.connections.streaming.conftest import until

pytestmark = pytest.mark.django_db(transaction=True)


def bind(user: User) -> UUID:
    row = Connection(id=uuid4(), user=user, name=str(uuid4()), exchange="binance_spot", mode="simulator")
    sealed = seal_credentials(KEY, user_id=user.pk, connection_id=row.pk, exchange=row.exchange)
    sealed.store_in(row)
    with tenant_scope(user.pk):
        row.save(force_insert=True)
    return row.pk


def change(user: User, connection_id: UUID, **fields: object) -> Callable[[], None]:
    def update() -> None:
        with tenant_scope(user.pk):
            Connection.objects.filter(pk=connection_id).update(**fields)

    return update


def accesses() -> int:
    with everyone():
        return AuditLog.objects.filter(event_type="api_key.accessed").count()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 21, tzinfo=UTC))


@pytest.fixture
async def pool(simulator: SimulatorServer, clock: ManualClock) -> AsyncIterator[GatewayPool]:
    found = GatewayPool(Network(), max_size=3, idle_seconds=1800, clock=clock)
    yield found
    await found.aclose()


@pytest.fixture
async def closed(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The gateways that were closed, in their order."""
    gone: list[object] = []

    async def close(self: object) -> None:
        gone.append(self)

    monkeypatch.setattr("connections.breaker._Guarded.aclose", close)
    return gone


async def test_many_callers_at_once_make_one_gateway_and_read_the_key_once(pool: GatewayPool, alice: User) -> None:
    connection_id = await database.run(bind, alice)

    found = await asyncio.gather(*(pool.get(connection_id, alice.pk) for _ in range(50)))

    assert len(set(map(id, found))) == 1
    assert pool.created == 1
    assert await database.run(accesses) == 1


async def test_a_gateway_of_another_version_than_its_connection_goes_by_is_not_given_out(
    pool: GatewayPool, alice: User, tmp_path: Path
) -> None:
    connection_id = await database.run(bind, alice)
    with operators_folder(tmp_path) as folder:
        first = await pool.get(connection_id, alice.pk)
        (folder / "switch.toml").write_text(f'[canary]\nversion = "v4"\nconnections = ["{connection_id}"]')
        VENUE.versions.look()

        second = await pool.get(connection_id, alice.pk)

        assert second is not first
        assert second is await pool.get(connection_id, alice.pk)


async def test_a_pooled_gateway_works(pool: GatewayPool, alice: User) -> None:
    gateway = await pool.get(await database.run(bind, alice), alice.pk)

    assert (await gateway.account()).balances


async def test_each_connection_has_its_own(pool: GatewayPool, alice: User, bob: User) -> None:
    first, second = await database.run(bind, alice), await database.run(bind, bob)

    assert await pool.get(first, alice.pk) is not await pool.get(second, bob.pk)
    assert len(pool) == 2


async def test_another_tenants_connection_is_not_found(pool: GatewayPool, alice: User, bob: User) -> None:
    connection_id = await database.run(bind, alice)

    with pytest.raises(NotFound):
        await pool.get(connection_id, bob.pk)
    assert len(pool) == 0


async def test_another_tenants_connection_is_not_found_in_the_pool_either(
    pool: GatewayPool, alice: User, bob: User
) -> None:
    connection_id = await database.run(bind, alice)
    await pool.get(connection_id, alice.pk)

    with pytest.raises(NotFound):
        await pool.get(connection_id, bob.pk)


async def test_an_idle_gateway_is_closed(
    pool: GatewayPool, clock: ManualClock, alice: User, bob: User, closed: list[object]
) -> None:
    quiet, busy = await database.run(bind, alice), await database.run(bind, bob)
    gateway = await pool.get(quiet, alice.pk)
    clock.advance(1000)
    await pool.get(busy, bob.pk)
    clock.advance(800)
    await pool.close_idle()

    assert closed == [gateway]
    assert len(pool) == 1


async def test_beyond_its_size_the_least_recently_used_is_closed(
    pool: GatewayPool, alice: User, closed: list[object]
) -> None:
    ids = [await database.run(bind, alice) for _ in range(4)]
    gateways = [await pool.get(connection_id, alice.pk) for connection_id in ids[:3]]
    await pool.get(ids[0], alice.pk)
    await pool.get(ids[3], alice.pk)

    assert closed == [gateways[1]]
    assert len(pool) == 3


async def test_a_changed_key_makes_a_new_gateway(
    pool: GatewayPool, clock: ManualClock, alice: User, closed: list[object]
) -> None:
    connection_id = await database.run(bind, alice)
    old = await pool.get(connection_id, alice.pk)
    await database.run(change(alice, connection_id, credential_version=2))
    clock.advance(TRUST_SECONDS)

    new = await pool.get(connection_id, alice.pk)

    assert new is not old
    assert closed == [old]
    assert await pool.get(connection_id, alice.pk) is new


async def test_an_unchanged_key_keeps_its_gateway_and_isnt_read_again(
    pool: GatewayPool, clock: ManualClock, alice: User
) -> None:
    connection_id = await database.run(bind, alice)
    old = await pool.get(connection_id, alice.pk)
    clock.advance(TRUST_SECONDS)

    assert await pool.get(connection_id, alice.pk) is old
    assert await database.run(accesses) == 1


async def test_a_deleted_connections_gateway_is_closed(
    pool: GatewayPool, clock: ManualClock, alice: User, closed: list[object]
) -> None:
    connection_id = await database.run(bind, alice)
    gateway = await pool.get(connection_id, alice.pk)
    await database.run(change(alice, connection_id, is_deleted=True, credential_version=2))
    clock.advance(TRUST_SECONDS)

    with pytest.raises(NotFound):
        await pool.get(connection_id, alice.pk)
    assert closed == [gateway]
    assert len(pool) == 0


async def settled(pool: GatewayPool) -> None:
    assert pool._looking is not None
    await pool._looking


async def test_a_gateway_in_use_is_looked_at_beside_the_work(
    pool: GatewayPool, clock: ManualClock, alice: User, closed: list[object]
) -> None:
    connection_id = await database.run(bind, alice)
    old = await pool.get(connection_id, alice.pk)
    await database.run(change(alice, connection_id, credential_version=2))
    clock.advance(RECHECK_SECONDS)

    assert await pool.get(connection_id, alice.pk) is old
    await settled(pool)
    assert closed == [old]
    assert await pool.get(connection_id, alice.pk) is not old


@pytest.mark.parametrize("stage", ["off", "alpha"])
async def test_without_trust_a_use_waits_for_its_own_look(
    pool: GatewayPool, clock: ManualClock, alice: User, closed: list[object], settings: Any, stage: str
) -> None:
    settings.FEATURE_STAGES = {GATEWAY_TRUST.name: Stage.of(stage)}
    connection_id = await database.run(bind, alice)
    old = await pool.get(connection_id, alice.pk)
    await database.run(change(alice, connection_id, credential_version=2))
    clock.advance(RECHECK_SECONDS)

    assert await pool.get(connection_id, alice.pk) is not old
    assert closed == [old]
    assert pool._looking is None


async def test_trust_is_each_user_s_and_seen_with_the_next_look(
    pool: GatewayPool, clock: ManualClock, alice: User, bob: User, settings: Any
) -> None:
    settings.FEATURE_STAGES = {GATEWAY_TRUST.name: Stage.of("alpha")}
    hers, his = await database.run(bind, alice), await database.run(bind, bob)
    await database.run(lambda: User.objects.filter(pk=bob.pk).update(is_alpha=True))
    await pool.get(hers, alice.pk)
    await pool.get(his, bob.pk)
    clock.advance(RECHECK_SECONDS)
    await pool.get(hers, alice.pk)
    assert not pool._due
    await pool.get(his, bob.pk)
    assert list(pool._due) == [his]
    await database.run(lambda: User.objects.filter(pk=bob.pk).update(is_alpha=False))
    await settled(pool)

    clock.advance(RECHECK_SECONDS)
    await pool.get(his, bob.pk)
    assert not pool._due


async def test_where_nobody_uses_the_pool_idle_gateways_are_closed_too(
    pool: GatewayPool, clock: ManualClock, alice: User, closed: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connections.pool.WATCH_SECONDS", 0.01)
    gateway = await pool.get(await database.run(bind, alice), alice.pk)
    clock.advance(1801)

    await until(lambda: not len(pool), "the idle one is closed")
    assert closed == [gateway]


@pytest.mark.parametrize("changed", [{"is_deleted": True}, {"credential_version": 2}], ids=["deleted", "new key"])
async def test_a_gateway_that_nobody_uses_is_closed_when_its_row_is_another(
    pool: GatewayPool, clock: ManualClock, alice: User, closed: list[object], monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
) -> None:  # fmt: skip
    monkeypatch.setattr("connections.pool.WATCH_SECONDS", 0.01)
    gone, kept = await database.run(bind, alice), await database.run(bind, alice)
    gateway = await pool.get(gone, alice.pk)
    await pool.get(kept, alice.pk)
    await database.run(change(alice, gone, **changed))

    await until(lambda: len(pool) == 1, "the outdated one is closed")
    assert closed == [gateway]
    assert await database.run(accesses) == 2, "a look read a key"


async def test_a_gateway_closed_while_its_row_was_looked_at_is_not_given_out(
    pool: GatewayPool, clock: ManualClock, alice: User, closed: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection_id = await database.run(bind, alice)
    old = await pool.get(connection_id, alice.pk)
    clock.advance(TRUST_SECONDS)
    looking, closed_meanwhile = threading.Event(), threading.Event()

    def slow_look(owners: Mapping[UUID, UUID]) -> dict[UUID, Look]:
        looking.set()
        closed_meanwhile.wait(10)
        return look_at(owners)

    monkeypatch.setattr("connections.pool.look_at", slow_look)
    use = asyncio.create_task(pool.get(connection_id, alice.pk))
    await asyncio.to_thread(looking.wait, 10)
    clock.advance(1801)
    await pool.close_idle()
    closed_meanwhile.set()

    assert await use is not old
    assert closed == [old]
    assert len(pool) == 1


async def test_many_uses_cause_one_look(pool: GatewayPool, clock: ManualClock, alice: User) -> None:
    connection_id = await database.run(bind, alice)
    await pool.get(connection_id, alice.pk)
    clock.advance(RECHECK_SECONDS)
    await asyncio.gather(*(pool.get(connection_id, alice.pk) for _ in range(20)))
    assert len(pool._due) == 1
    await settled(pool)

    assert not pool._due
    assert pool.created == 1


async def test_a_deletion_seen_beside_the_work_ends_the_next_use(
    pool: GatewayPool, clock: ManualClock, alice: User, closed: list[object]
) -> None:
    connection_id = await database.run(bind, alice)
    await pool.get(connection_id, alice.pk)
    await database.run(change(alice, connection_id, is_deleted=True))
    clock.advance(RECHECK_SECONDS)
    await pool.get(connection_id, alice.pk)
    await settled(pool)

    assert len(closed) == 1
    with pytest.raises(NotFound):
        await pool.get(connection_id, alice.pk)


async def test_close_closes_at_once(pool: GatewayPool, alice: User, closed: list[object]) -> None:
    connection_id = await database.run(bind, alice)
    gateway = await pool.get(connection_id, alice.pk)
    await pool.close(connection_id)

    assert closed == [gateway]
    await pool.close(connection_id)
    assert await pool.get(connection_id, alice.pk) is not gateway


async def test_a_failed_creation_leaves_nothing_behind_and_can_be_repeated(pool: GatewayPool, alice: User) -> None:
    connection_id = await database.run(bind, alice)
    await database.run(change(alice, connection_id, exchange="no_such_exchange"))
    for _ in range(2):
        with pytest.raises(InvalidInput):
            await pool.get(connection_id, alice.pk)
    await database.run(change(alice, connection_id, exchange="binance_spot"))

    assert await pool.get(connection_id, alice.pk)
    assert not pool._locks


async def test_nothing_leaks_over_many_openings(simulator: SimulatorServer, alice: User) -> None:
    """Sockets, tasks and locks are the same after a hundred gateways as after the first ones."""
    connection_id = await database.run(bind, alice)

    async def cycle() -> tuple[int, int]:
        pool = GatewayPool(max_size=2)
        for _ in range(3):
            gateway = await pool.get(connection_id, alice.pk)
            await asyncio.gather(*(gateway.account() for _ in range(3)))
            await pool.close(connection_id)
        await pool.aclose()
        await asyncio.sleep(0.05)
        return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())

    await cycle()
    first = await cycle()
    for _ in range(10):
        last = await cycle()

    assert last[0] <= first[0] + 2
    assert last[1] <= first[1] + 1


async def test_a_lent_gateway_tests_a_key_without_storing_it(simulator: SimulatorServer) -> None:
    async with lent_gateway("binance_spot", "simulator", BOB_KEY) as gateway:
        assert (await gateway.permissions()).can_trade
    async with lent_gateway("binance_spot", "simulator", type(KEY)("unknown-key-0123456789", "x")) as gateway:
        with pytest.raises(KeyRefused):
            await gateway.permissions()
    assert await database.run(accesses) == 0


def take_from(column: str, source: UUID) -> Callable[[UUID], None]:
    """Copies a column's ciphertext from another connection's row, as somebody with access to the database could."""

    def copy(connection_id: UUID) -> None:
        with everyone():
            value = Connection.objects.values_list(column, flat=True).get(pk=source)
            Connection.objects.filter(pk=connection_id).update(**{column: value})

    return copy


def other_column(connection_id: UUID) -> None:
    with everyone():
        rows = Connection.objects.filter(pk=connection_id)
        rows.update(api_secret_sealed=rows.values_list("api_key_sealed", flat=True).get())


def flip_a_byte(connection_id: UUID) -> None:
    with everyone():
        rows = Connection.objects.filter(pk=connection_id)
        head, body = rows.values_list("api_secret_sealed", flat=True).get().split(":")
        altered = bytearray(b64decode(body))
        altered[-1] ^= 1
        rows.update(api_secret_sealed=f"{head}:{b64encode(altered).decode()}")


def unreadable() -> list[AuditLog]:
    with everyone():
        return list(AuditLog.objects.filter(event_type="api_key.unreadable"))


@pytest.mark.parametrize("meddling", ["another row", "another tenant", "another column", "a byte"])
async def test_a_ciphertext_that_was_meddled_with_opens_no_gateway_and_is_audited(
    pool: GatewayPool, alice: User, bob: User, meddling: str
) -> None:
    connection_id = await database.run(bind, alice)
    other = await database.run(bind, bob if meddling == "another tenant" else alice)
    meddle = {"another column": other_column, "a byte": flip_a_byte}.get(
        meddling, take_from("api_secret_sealed", other)
    )
    await database.run(meddle, connection_id)

    with pytest.raises(CredentialsUnreadable):
        await pool.get(connection_id, alice.pk)

    (told,) = await database.run(unreadable)
    assert (told.user_id, told.resource_id) == (alice.pk, str(connection_id))
    assert told.details == {
        "use": "gateway",
        "reason": "the stored key can't be opened: ciphertext doesn't belong to connections.api_secret of this row",
    }
    assert not await database.run(accesses)


async def test_an_unreadable_key_that_is_tried_again_and_again_is_audited_once(
    pool: GatewayPool, alice: User
) -> None:
    connection_id = await database.run(bind, alice)
    await database.run(flip_a_byte, connection_id)

    for _ in range(3):
        with pytest.raises(CredentialsUnreadable):
            await pool.get(connection_id, alice.pk)

    assert len(await database.run(unreadable)) == 1
