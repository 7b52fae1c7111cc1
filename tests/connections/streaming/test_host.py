"""The stream host: leases, database, Redis, sockets and the exchange together."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis.asyncio
from django.conf import settings
from django.db import OperationalError

from accounts.models import User
from accounts.tenancy import everyone, shard_of, tenant_scope
from audit.models import AuditLog
from connections import database, demand, pool
from connections.custody import seal_credentials
from connections.events import Quote, StreamTold, user_stream
from connections.gateways import Credentials
from connections.models import Connection, Lease, Process
from connections.prices import fetch_prices
from connections.simulator.faults import SocketKind
from connections.simulator.server import SimulatorServer
from connections.streaming import host as host_module
from connections.streaming import kept_socket
from connections.streaming import user_socket as user_module
from connections.streaming.host import StreamHost
from desproject.lib.bus import Wake, wake
from desproject.lib.metrics.registry import METRICS
from tests.connections.conftest import BOB_KEY, KEY
from tests.connections.exchanges.second_version import SHIPPED, operators_folder
from tests.connections.streaming.conftest import FEED, MarketReader, UserReader, until

pytestmark = pytest.mark.django_db(transaction=True)


def bind(user: User, credentials: Credentials) -> Connection:
    """A connection of the user with a sealed key, as services store it."""
    row = Connection(id=uuid4(), user=user, name=f"c-{uuid4()}", exchange="binance_spot", mode="simulator")
    sealed = seal_credentials(credentials, user_id=user.pk, connection_id=row.pk, exchange=row.exchange)
    sealed.store_in(row)
    with tenant_scope(user.pk):
        row.save(force_insert=True)
    return row


class Hosts:
    """Stream hosts of a test, ended with it."""

    def __init__(self) -> None:
        self.running: dict[StreamHost, asyncio.Task[None]] = {}

    def start(self) -> StreamHost:
        host = StreamHost(look_seconds=0.2)
        self.running[host] = asyncio.create_task(host.run())
        return host

    async def drain(self, host: StreamHost) -> None:
        host.drain()
        await self.running.pop(host)

    async def kill(self, host: StreamHost) -> None:
        """Ends it as a dead process would: leases are not given back."""
        host.keeper.release_all = _nothing  # type: ignore[method-assign]
        task = self.running.pop(host)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _nothing() -> None:
    return None


@pytest.fixture
async def hosts(
    simulator: SimulatorServer, bus_client: "redis.asyncio.Redis", monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Hosts]:
    monkeypatch.setattr(settings.CONFIG, "lease_seconds", 1.0)
    monkeypatch.setattr(settings.CONFIG, "stream_backoff_cap_seconds", 0.2)
    monkeypatch.setattr(user_module, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(host_module, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(demand, "_providers", [lambda: {FEED: {"BTC/USDT": {"1s"}}}])
    monkeypatch.setattr(demand, "_beats", [])
    found = Hosts()
    yield found
    for host in list(found.running):
        await found.drain(host)


@pytest.fixture
async def market(bus_client: "redis.asyncio.Redis") -> AsyncIterator[MarketReader]:
    reader = MarketReader(bus_client)
    yield reader
    reader.task.cancel()


@pytest.fixture
async def told(bus_client: "redis.asyncio.Redis", alice: User, bob: User) -> AsyncIterator[UserReader]:
    reader = UserReader(bus_client, sorted({user_stream(shard_of(user.pk)) for user in (alice, bob)}))
    yield reader
    reader.task.cancel()


def heard(told: UserReader, row: Connection) -> Callable[[], bool]:
    return lambda: any(
        isinstance(event, StreamTold) and event.up and event.connection_id == row.pk for event in told.events
    )


async def test_a_bound_account_is_heard_and_its_feed_published(
    hosts: Hosts, market: MarketReader, told: UserReader, alice: User, bus_client: "redis.asyncio.Redis"
) -> None:
    row = await database.run(bind, alice, KEY)
    hosts.start()

    await until(heard(told, row), "alice's account")
    await until(lambda: market.of(Quote), "quotes")
    assert {event.user_id for event in told.events} == {alice.pk}
    await asyncio.sleep(0.5)
    price = (await fetch_prices(bus_client, FEED))["BTC/USDT"]
    assert price.bid is not None
    assert price.ask is not None
    assert price.bid < price.ask


async def test_a_switch_of_version_is_noticed_and_both_sockets_are_replaced_without_a_gap(
    hosts: Hosts, market: MarketReader, told: UserReader, alice: User, tmp_path: Path
) -> None:
    row = await database.run(bind, alice, KEY)
    host = hosts.start()
    await until(heard(told, row), "alice's account")
    await until(lambda: market.of(Quote), "quotes")

    with operators_folder(tmp_path) as folder:
        # The second version's own paths aren't there: this one differs by its name alone.
        (folder / "v4.toml").write_text(SHIPPED.replace('version = "v3"', 'version = "v4"'))
        (folder / "switch.toml").write_text('version = "v4"')
        await until(lambda: host.figures["renewals"] == 2, "the sockets' successors")

    assert host.figures["cuts"] == 0
    assert METRICS.snapshot("test", "here").totals["exchange_api.binance_spot_simulator_v4_requests"] > 0


async def test_reading_a_key_is_audited_once_per_subscription_of_the_process(
    hosts: Hosts, told: UserReader, alice: User, simulator: SimulatorServer
) -> None:
    row = await database.run(bind, alice, KEY)
    hosts.start()
    await until(heard(told, row), "alice's account")
    for socket in simulator.sockets.of(SocketKind.USER):
        socket.close(1001)
    await until(lambda: len({event.epoch for event in told.events}) == 2, "a second epoch")

    def entries() -> list[AuditLog]:
        with everyone():
            return list(AuditLog.objects.filter(event_type="api_key.accessed"))

    (entry,) = await database.run(entries)
    assert (entry.user_id, entry.resource_id) == (alice.pk, str(row.pk))
    assert KEY.api_key not in str(entry.details)


async def test_a_stream_that_is_cut_too_often_is_in_the_audit_log(
    hosts: Hosts, told: UserReader, alice: User, simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_socket, "CUTS_AN_HOUR", 0)
    row = await database.run(bind, alice, KEY)
    hosts.start()
    await until(heard(told, row), "alice's account")
    for socket in simulator.sockets.of(SocketKind.USER):
        socket.close(1001)

    def entries() -> list[AuditLog]:
        with everyone():
            return list(AuditLog.objects.filter(event_type="stream.cuts"))

    while not (found := await database.run(entries)):
        await asyncio.sleep(0.05)
    assert [(entry.user_id, entry.details["stream"]) for entry in found] == [(None, f"user {FEED}")]


async def test_a_connection_bound_later_is_heard_without_a_restart(
    hosts: Hosts, told: UserReader, alice: User, bob: User, simulator: SimulatorServer
) -> None:
    first = await database.run(bind, alice, KEY)
    hosts.start()
    await until(heard(told, first), "alice's account")
    second = await database.run(bind, bob, BOB_KEY)
    await asyncio.to_thread(wake, Wake(shard_of(bob.pk), bob.pk, "connection"))

    await until(heard(told, second), "bob's account")
    assert simulator.sockets.count()[SocketKind.USER] == 1


@pytest.mark.parametrize("change", [{"is_deleted": True}, {"status": "unhealthy"}])
async def test_a_connection_that_ends_is_not_heard_any_more(
    hosts: Hosts, told: UserReader, alice: User, bob: User, change: dict[str, object]
) -> None:
    row = await database.run(bind, alice, KEY)
    other = await database.run(bind, bob, BOB_KEY)
    hosts.start()
    await until(heard(told, row), "alice's account")
    await until(heard(told, other), "bob's account")

    def end() -> None:
        with tenant_scope(alice.pk):
            Connection.objects.filter(pk=row.pk).update(**change)

    await database.run(end)

    def ups() -> list[bool]:
        return [event.up for event in told.of(StreamTold) if event.connection_id == row.pk]

    await until(lambda: not ups()[-1], "the end")


async def test_a_locked_out_user_is_not_heard(hosts: Hosts, told: UserReader, alice: User, bob: User) -> None:
    row = await database.run(bind, alice, KEY)
    other = await database.run(bind, bob, BOB_KEY)
    await database.run(lambda: User.objects.filter(pk=alice.pk).update(is_active=False))
    hosts.start()
    await until(heard(told, other), "bob's account")

    assert not heard(told, row)()


async def test_a_database_that_is_away_for_a_moment_only_delays_an_account(
    hosts: Hosts, told: UserReader, alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await database.run(bind, bob, BOB_KEY)
    hosts.start()
    await until(heard(told, first), "bob's account")
    failures = iter([OperationalError("server closed the connection")])
    known = pool.open_connection

    def open_connection(*args: Any) -> Any:
        if (error := next(failures, None)) is not None:
            raise error
        return known(*args)

    monkeypatch.setattr(user_module, "open_connection", open_connection)
    row = await database.run(bind, alice, KEY)
    await until(heard(told, row), "alice's account")

    assert next(failures, None) is None
    assert len({event.epoch for event in told.of(StreamTold) if event.connection_id == first.pk}) == 1


async def test_a_look_that_fails_is_not_the_last_one(
    hosts: Hosts, told: UserReader, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([ValueError("a fault of ours")])
    known = demand.asked_anew

    async def asked_anew(*args: Any) -> set[str]:
        if (error := next(failures, None)) is not None:
            raise error
        return await known(*args)

    monkeypatch.setattr(demand, "asked_anew", asked_anew)
    host = hosts.start()
    await until(lambda: host.figures["part_failures"] == 1, "the fault")
    row = await database.run(bind, alice, KEY)

    await until(heard(told, row), "alice's account")


async def test_a_tampered_key_is_told_and_hurts_no_other(
    hosts: Hosts, told: UserReader, alice: User, bob: User
) -> None:
    row = await database.run(bind, alice, KEY)
    other = await database.run(bind, bob, BOB_KEY)

    def swap() -> None:
        with everyone():
            Connection.objects.filter(pk=row.pk).update(api_key_sealed=other.api_key_sealed)

    await database.run(swap)
    hosts.start()

    await until(heard(told, other), "bob's account")
    await until(lambda: any(event.connection_id == row.pk and not event.up for event in told.of(StreamTold)), "it")


async def test_consoles_add_symbols(hosts: Hosts, market: MarketReader, alice: User) -> None:
    await database.run(bind, alice, KEY)
    hosts.start()
    await asyncio.to_thread(demand.ask, FEED, ["ETH/USDT"])

    await until(lambda: any(event.symbol == "ETH/USDT" for event in market.of(Quote)), "quotes of what a console shows")


async def test_the_layers_above_are_called_again_and_again(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def fails() -> None:
        calls.append("fails")
        raise RuntimeError("not our business")

    demand.on_beat(fails)
    demand.on_beat(lambda: calls.append("works"))
    hosts.start()

    await until(lambda: calls.count("works") >= 3, "three beats")
    assert calls.count("fails") >= 3


async def test_two_processes_share_the_streams_and_none_runs_twice(
    hosts: Hosts, told: UserReader, alice: User, simulator: SimulatorServer
) -> None:
    row = await database.run(bind, alice, KEY)
    first, second = hosts.start(), hosts.start()
    await until(lambda: len(first.streams) == len(second.streams) == 1, "one stream each")
    await until(heard(told, row), "alice's account")

    assert first.streams.keys() | second.streams.keys() == {f"market|{FEED}", f"user|{FEED}"}
    once = {SocketKind.MARKET: 1, SocketKind.USER: 1}
    await until(lambda: simulator.sockets.count() == once, "each stream once")


async def test_a_dead_processs_streams_are_taken_over_under_a_new_epoch(
    hosts: Hosts, market: MarketReader, told: UserReader, alice: User
) -> None:
    row = await database.run(bind, alice, KEY)
    first = hosts.start()
    await until(lambda: market.batches and heard(told, row)(), "both streams")
    epochs = {event.epoch for event in told.events}
    second = hosts.start()
    await hosts.kill(first)
    await until(lambda: len(second.streams) == 2, "the take-over")
    await until(lambda: market.batches[-1].epoch > market.batches[0].epoch, "entries of the new epoch")

    await until(lambda: max(event.epoch for event in told.events) > max(epochs), "user events of a new epoch")


async def test_draining_gives_back_leases_and_closes_every_socket(
    hosts: Hosts, told: UserReader, alice: User, simulator: SimulatorServer
) -> None:
    row = await database.run(bind, alice, KEY)
    host = hosts.start()
    await until(heard(told, row), "alice's account")
    await hosts.drain(host)

    await until(lambda: not any(simulator.sockets.count().values()), "no socket left")
    assert not await database.run(lambda: Lease.objects.filter(owner__isnull=False).exists())
    assert not await database.run(Process.objects.exists)


async def test_figures_reach_the_processs_row(hosts: Hosts, told: UserReader, alice: User) -> None:
    row = await database.run(bind, alice, KEY)
    host = hosts.start()
    await until(heard(told, row), "alice's account")
    rows: list[dict[str, int]] = []
    for _ in range(40):
        await asyncio.sleep(0.1)
        rows = await database.run(lambda: list(Process.objects.values_list("figures", flat=True)))
        if rows and rows[0].get("streams_up") == 2:
            break

    assert rows[0]["accounts"] == 1
    assert rows[0]["streams_up"] == 2
    assert host.figures["connects"] == 2


async def test_an_emptied_redis_is_survived(
    hosts: Hosts, market: MarketReader, told: UserReader, alice: User, bus_client: "redis.asyncio.Redis"
) -> None:
    row = await database.run(bind, alice, KEY)
    hosts.start()
    await until(lambda: market.batches and heard(told, row)(), "both streams")
    await bus_client.flushdb()
    seen, beats = len(market.batches), len(told.events)

    await until(lambda: len(market.batches) > seen + 5 and len(told.events) > beats + 2, "more of both")


async def test_an_account_of_a_mode_that_isnt_set_up_here_hurts_nobody(
    hosts: Hosts, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.run(bind, alice, KEY)
    monkeypatch.setattr(settings.CONFIG, "simulator_url", "")
    host = hosts.start()
    for _ in range(3):
        await host.keeper._round()

    assert not host.streams
    assert not hosts.running[host].done()
