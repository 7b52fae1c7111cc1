"""The gateway pool: one gateway a connection, made once, and none left behind."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from connections import database
from connections.custody import seal_credentials
from connections.exchanges.network import Network
from connections.gateways import KeyRefused
from connections.models import Connection
from connections.pool import RECHECK_SECONDS, TRUST_SECONDS, GatewayPool, lent_gateway
from connections.simulator.server import SimulatorServer
from desproject.lib.clock import ManualClock
from desproject.lib.errors import InvalidInput, NotFound
from tests.connections.conftest import BOB_KEY, KEY

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

    monkeypatch.setattr("connections.exchanges.binance_spot.gateway.BinanceSpotGateway.aclose", close)
    return gone


async def test_many_callers_at_once_make_one_gateway_and_read_the_key_once(pool: GatewayPool, alice: User) -> None:
    connection_id = await database.run(bind, alice)

    found = await asyncio.gather(*(pool.get(connection_id, alice.pk) for _ in range(50)))

    assert len(set(map(id, found))) == 1
    assert pool.created == 1
    assert await database.run(accesses) == 1


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
    await asyncio.gather(*pool._looks.values())


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


async def test_many_uses_cause_one_look(pool: GatewayPool, clock: ManualClock, alice: User) -> None:
    connection_id = await database.run(bind, alice)
    await pool.get(connection_id, alice.pk)
    clock.advance(RECHECK_SECONDS)
    await asyncio.gather(*(pool.get(connection_id, alice.pk) for _ in range(20)))
    assert len(pool._looks) == 1
    await settled(pool)

    assert not pool._looks
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
