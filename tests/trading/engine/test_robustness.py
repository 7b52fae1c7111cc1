"""An engine goes on: past messages it can't read, tenants it can't load, parts that fail, gaps while it catches up."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings

from accounts.models import User
from accounts.tenancy import shard_of, tenant_scope
from connections import breaker, database
from connections.events import StreamTold, encode, feed_stream, user_stream
from connections.gateways import AccountSnapshot, AssetBalance
from connections.models import Connection
from desproject.lib import bus
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.metrics.registry import METRICS
from risk.models import RiskMetrics
from tests.trading.engine.harness import FEED, Bench, running_bench, until
from trading.engine import reconciliation, state
from trading.engine.engine import Engine
from trading.engine.findings import Cause, Findings
from trading.engine.state import Account
from trading.engine.tenant import Tenant
from trading.models import Order

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


async def has(bench: Bench, order: Order, status: str) -> None:
    async def is_so() -> bool:
        return (await bench.refreshed(order)).status == status

    await until(is_so)


async def account_of(bench: Bench, user: User, connection: Connection) -> tuple[Tenant, Account]:
    """The engine's own state, once it is ready to trade."""

    async def is_ready() -> bool:
        tenant = bench.engine.tenants.get(user.pk)
        account = tenant.state.accounts.get(connection.pk) if tenant else None
        return account is not None and account.entries_open

    await until(is_ready)
    tenant = bench.engine.tenants[user.pk]
    return tenant, tenant.state.accounts[connection.pk]


async def followed(bench: Bench, stream: str) -> None:
    """Waits until what comes now is read."""

    async def is_so() -> bool:
        return stream in bench.engine._positions

    await until(is_so)


def beat(user: User, connection: Connection, sequence: int) -> StreamTold:
    return StreamTold(connection.pk, user.pk, 7, sequence, 0, up=True)


async def test_messages_that_cant_be_read_stop_no_reader(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        _, account = await account_of(bench, alice, connection)
        shard = user_stream(shard_of(alice.pk))
        await followed(bench, shard)
        await bus.append(bench._redis, shard, b"\xc1 no message", keep=1000)
        await bus.append(bench._redis, feed_stream(FEED), b"\xc1 no message", keep=1000)
        await bench._redis.publish(bus.WAKE_CHANNEL, b"\xc1 no message")
        await bus.append(bench._redis, shard, encode(beat(alice, connection, 5)), keep=1000)

        async def heard() -> bool:
            return account.stream_sequence == 5

        await until(heard)
        await bench.quote_of_the_simulator()
        await has(bench, await bench.order(alice, connection), "filled")
        assert bench.engine.desk.figures["undecodable"] >= 2


async def test_a_part_that_fails_starts_again(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([RuntimeError("once")])
    original = Engine._read_once

    async def failing(engine: Engine) -> None:
        for error in failures:
            raise error
        await original(engine)

    monkeypatch.setattr(Engine, "_read_once", failing)
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        _, account = await account_of(bench, alice, connection)
        shard = user_stream(shard_of(alice.pk))

        await followed(bench, shard)
        await bus.append(bench._redis, shard, encode(beat(alice, connection, 3)), keep=1000)

        async def heard() -> bool:
            return account.stream_sequence == 3

        await until(heard)
        assert bench.engine.desk.figures["part_failures"] == 1


async def test_an_engine_whose_keeper_fails_ends(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        tenant, account = await account_of(bench, alice, connection)
        # Something of this tenant never ends by itself.
        await bench.simulator.fault("http_error", path="/api/v3/account", status=500)
        account.missed_events()
        reconciliation.catch_up(bench.engine.desk, tenant, account)

        async def broken() -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr(bench.engine.desk.keeper, "_round", broken)
        task, bench._task = bench._task, None
        assert task is not None
        async with asyncio.timeout(20):
            with pytest.raises(RuntimeError, match="broken"):
                await task


async def test_a_tenant_that_cant_be_loaded_hinders_no_other(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = state.load

    def load(user_id: UUID, clock: Clock) -> state.TenantState:
        if user_id == alice.pk:
            raise ValueError("a row that can't be read")
        return original(user_id, clock)

    monkeypatch.setattr(state, "load", load)
    async with running_bench(monkeypatch) as bench:
        await bench.bind(alice, USDT="100000")
        connection, _ = await bench.bind(bob, USDT="100000")
        await account_of(bench, bob, connection)
        await bench.quote_of_the_simulator()
        await has(bench, await bench.order(bob, connection), "filled")
        assert alice.pk not in bench.engine.tenants


async def test_a_gap_during_a_catch_up_is_caught_up_too(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        tenant, account = await account_of(bench, alice, connection)
        account.missed_events()
        began_at = account.gaps
        account.missed_events()
        told = AccountSnapshot((AssetBalance("USDT", Decimal(1), Decimal(0)),), SYSTEM_CLOCK.now(), complete=False)
        before = bench.engine.desk.figures["catch_ups"]
        opened: list[bool] = []

        async def caught_up() -> None:
            findings = Findings(Cause.GAP, SYSTEM_CLOCK.now())
            seen = reconciliation._Told(began_at, told, ())
            await reconciliation._on_told(bench.engine.desk, tenant, connection.pk, seen, findings)
            opened.append(account.entries_open)

        tenant.post(caught_up)
        await account_of(bench, alice, connection)
        assert opened == [False]
        assert bench.engine.desk.figures["catch_ups"] > before


def _metrics(user: User, connection: Connection, day: Any) -> None:
    with tenant_scope(user.pk):
        RiskMetrics.objects.create(
            user=user, connection=connection, date=day, quote_asset="USDT", trade_count=5, realized_pnl=Decimal(-3)
        )


def _trade_counts(user: User) -> dict[Any, int]:
    with tenant_scope(user.pk):
        return dict(RiskMetrics.objects.values_list("date", "trade_count"))


async def test_a_fill_of_a_day_that_memory_doesnt_hold_adds_to_that_days_figures(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine was started after midnight, the fill was before."""
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        _, account = await account_of(bench, alice, connection)
        today = SYSTEM_CLOCK.now().date()
        await database.run(_metrics, alice, connection, today)
        account.metric_days.clear()
        await bench.quote_of_the_simulator()
        await has(bench, await bench.order(alice, connection), "filled")
    counts = await database.run(_trade_counts, alice)
    assert counts.keys() == {today}
    assert counts[today] > 5


async def test_a_tenant_whose_exchange_hangs_delays_no_other(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        slow, keys = await bench.bind(alice, USDT="100000")
        quick, _ = await bench.bind(bob, USDT="100000")
        await account_of(bench, alice, slow)
        await account_of(bench, bob, quick)
        await bench.simulator.fault("delay", path="/api/v3/order", method="POST", api_key=keys.api_key, seconds=4.5)
        await bench.quote_of_the_simulator()
        waiting = [await bench.order(alice, slow) for _ in range(6)]

        for other in waiting:
            await has(bench, other, "pending")
        order = await bench.order(bob, quick)
        await has(bench, order, "filled")
        # No slot had to be given back first.
        assert bench.engine.desk.figures["send_errors"] == 0
        assert {(await bench.refreshed(other)).status for other in waiting} == {"pending"}


async def test_an_exchange_that_fails_again_and_again_is_left_alone_for_a_while(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings.CONFIG, "breaker_seconds", 30.0)
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await bench.quote_of_the_simulator()
        await has(bench, await bench.order(alice, connection), "filled")
        await bench.simulator.fault("http_error", path="/api/v3/", status=503, code=-1008, api_key=keys.api_key)
        refused = await bench.order(alice, connection)
        await has(bench, refused, "rejected")
        assert (await bench.refreshed(refused)).reject_code == "CIRCUIT_OPEN"
        fired = (await bench.simulator.counters())["faults"]["http_error"]
        await has(bench, await bench.order(alice, connection), "rejected")
        assert (await bench.simulator.counters())["faults"]["http_error"] == fired


async def test_what_became_of_an_order_is_known_long_before_the_breaker_closes(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The breaker stays open for five minutes by default, an order may be unknown for one."""
    monkeypatch.setattr(breaker, "_URGENT_PAUSE", 0.2)
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await bench.quote_of_the_simulator()
        await account_of(bench, alice, connection)
        opened = METRICS.snapshot("engine", "here").totals.get("gateway.breaker_opened", 0)
        # The order's answer, and then two questions that try three times each.
        await bench.simulator.fault("accept_then_timeout", method="POST", path="/api/v3/order", count=1)
        await bench.simulator.fault("http_error", method="GET", path="/api/v3/order", status=503, count=6)

        await has(bench, await bench.order(alice, connection), "filled")

        assert (await bench.simulator.counters())["faults"]["http_error"] == 6
        assert METRICS.snapshot("engine", "here").totals["gateway.breaker_opened"] == opened + 1
    assert settings.CONFIG.breaker_seconds == 300
