"""From candles to signals to orders, through a real engine and a simulated exchange."""

import asyncio
import time
from datetime import timedelta
from decimal import Decimal

import pytest

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import database
from connections.events import CandleUpdate, FeedState
from connections.models import Connection
from risk.models import KillLevel, KillSwitch
from tests.trading.engine.harness import SYMBOL, Bench, running_bench, until
from trading.models import Bar, Decision, Order, Signal, StrategyInstance
from trading.services import create_instance, start_instance, stop_instance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]
PARAMS = {"period": 2, "oversold": 30, "overbought": 70}


def _started(user: User, connection: Connection, amount: str) -> StrategyInstance:
    with tenant_scope(user.pk):
        instance = create_instance(
            user=user,
            connection=connection,
            name="rsi",
            strategy="rsi",
            symbol=SYMBOL,
            timeframe="1s",
            params=PARAMS,
            sizing={"type": "quote_amount", "amount": amount},
        )
        return start_instance(user=user, instance=instance)


async def started(user: User, connection: Connection, amount: str = "1000") -> StrategyInstance:
    return await database.run(_started, user, connection, amount)


class Candles:
    """Closed one-second candles from now on, one after the other."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._opened_ms = time.time_ns() // 1_000_000_000 * 1000

    async def close(self, *prices: int) -> None:
        events = []
        for price in prices:
            self._opened_ms += 1000
            amount = Decimal(price)
            events.append(
                CandleUpdate(
                    SYMBOL, time.time_ns(), "1s", self._opened_ms, amount, amount, amount, amount, Decimal(1), True
                )
            )
        await self._bench.tell(*events)


def _signals(user: User) -> list[Signal]:
    with tenant_scope(user.pk):
        return list(Signal.objects.order_by("decided_at"))


async def signals(user: User) -> list[Signal]:
    return await database.run(_signals, user)


def _orders(user: User) -> list[Order]:
    with tenant_scope(user.pk):
        return list(Order.objects.order_by("created_at"))


async def seeded(bench: Bench) -> None:
    async def is_so() -> bool:
        return any(chart.seeded for chart in bench.engine.market._charts.values())

    await until(is_so)


async def groups_of(bench: Bench, members: int) -> None:
    """Waits until so many instances are evaluated."""

    async def is_so() -> bool:
        charts = bench.engine.market._charts.values()
        return sum(len(group.members) for chart in charts for group in chart.groups) == members

    await until(is_so)


WARM_UP = [100_000 + (number % 2) for number in range(120)]


async def test_an_rsi_strategy_enters_and_exits(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await bench.quote_of_the_simulator()
        await started(alice, connection)
        await seeded(bench)
        candles = Candles(bench)
        await candles.close(*WARM_UP, 99_000, 98_000)

        async def entered() -> bool:
            orders = await database.run(_orders, alice)
            return [order.status for order in orders] == ["filled"]

        await until(entered)
        await candles.close(99_500, 101_000, 103_000)

        async def exited() -> bool:
            orders = await database.run(_orders, alice)
            return [(order.side, order.status) for order in orders] == [("buy", "filled"), ("sell", "filled")]

        await until(exited)
        ledger = await bench.simulator.ledger(keys)
    assert [order["side"] for order in ledger["orders"]] == ["BUY", "SELL"]
    assert [signal.action for signal in await signals(alice)] == ["enter", "exit"]
    assert await database.run(Bar.objects.count) >= len(WARM_UP)


async def test_bars_of_a_symbol_whose_trades_nobody_tells_wait_until_the_feed_is_whole(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await bench.quote_of_the_simulator()
        await started(alice, connection)
        await seeded(bench)
        (chart,) = bench.engine.market._charts.values()

        async def waits() -> bool:
            return not chart.seeded and not chart.seeding

        await bench.tell(FeedState(SYMBOL, time.time_ns(), False, "only best prices are polled", True))
        await until(waits)
        await asyncio.sleep(0.6)  # it would have asked for its history twice
        assert await waits()
        await bench.tell(FeedState("", time.time_ns(), True, ""))
        await seeded(bench)


async def test_an_entry_that_risk_denies_leaves_a_signal_with_the_reason(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100")
        await bench.quote_of_the_simulator()
        await started(alice, connection, amount="5000")
        await seeded(bench)
        await Candles(bench).close(*WARM_UP, 99_000, 98_000)

        async def decided() -> bool:
            return bool(await signals(alice))

        await until(decided)
        ledger = await bench.simulator.ledger(keys)
    (signal, *_) = await signals(alice)
    assert signal.decision == Decision.DENIED
    assert signal.reason.startswith("available_balance")
    assert ledger["orders"] == []


async def test_a_pressed_kill_switch_stops_entries(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await bench.quote_of_the_simulator()
        await started(alice, connection)
        await seeded(bench)
        await database.run(_press, alice)
        await Candles(bench).close(*WARM_UP, 99_000, 98_000)

        async def decided() -> bool:
            return bool(await signals(alice))

        await until(decided)
        ledger = await bench.simulator.ledger(keys)
    assert {signal.decision for signal in await signals(alice)} == {Decision.DENIED}
    assert ledger["orders"] == []


def _press(user: User) -> None:
    """As a process whose wake-up got lost: the engine finds out from the row."""
    with tenant_scope(user.pk):
        KillSwitch.objects.create(user=user, level=KillLevel.USER, target_id=user.pk, reason="test", pressed_by=user)


async def test_a_stopped_strategy_signals_nothing(alice: User, bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        other, _ = await bench.bind(bob, USDT="100000")
        await bench.quote_of_the_simulator()
        stopped = await started(alice, connection)
        await started(bob, other)
        await seeded(bench)
        await database.run(_stop, alice, stopped)
        await groups_of(bench, 1)
        await Candles(bench).close(*WARM_UP, 99_000, 98_000)

        async def bob_signalled() -> bool:
            return bool(await signals(bob))

        await until(bob_signalled)
    assert await signals(alice) == []


def _stop(user: User, instance: StrategyInstance) -> None:
    with tenant_scope(user.pk):
        stop_instance(user=user, instance=instance)


async def test_decision_follows_observation(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await bench.quote_of_the_simulator()
        await started(alice, connection)
        await seeded(bench)
        await Candles(bench).close(*WARM_UP, 99_000, 98_000)

        async def decided() -> bool:
            return bool(await signals(alice))

        await until(decided)
    (signal, *_) = await signals(alice)
    assert timedelta(0) <= signal.decided_at - signal.observed_at < timedelta(seconds=5)
