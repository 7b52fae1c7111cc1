"""Stops and times attached to an instance: the position that its entry opened is sold by them (STG-10)."""

import time
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import database
from connections.events import PublicTrade
from connections.models import Connection
from tests.trading.engine.harness import SYMBOL, Bench, running_bench, until
from tests.trading.engine.test_signals import WARM_UP, Candles, seeded
from trading.engine.engine import Engine
from trading.models import InstanceStatus, Order, Signal, StrategyInstance
from trading.services import create_instance, pause_instance, start_instance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


def _started(user: User, connection: Connection, exits: dict[str, Any]) -> StrategyInstance:
    with tenant_scope(user.pk):
        instance = create_instance(
            user=user, connection=connection, name="rsi", strategy="rsi", symbol=SYMBOL, timeframe="1s",
            params={"period": 2, "oversold": 30, "overbought": 70}, mode="paper", exits=exits,
            sizing={"type": "quote_amount", "amount": "1000"},
        )  # fmt: skip
        return start_instance(user=user, instance=instance)


def _orders(user: User) -> list[Order]:
    with tenant_scope(user.pk):
        return list(Order.objects.order_by("created_at"))


def _signals(user: User) -> list[Signal]:
    with tenant_scope(user.pk):
        return list(Signal.objects.order_by("decided_at"))


async def sides(bench: Bench, user: User, *wanted: str) -> None:
    async def is_so() -> bool:
        orders = await database.run(_orders, user)
        return [order.side for order in orders if order.status == "filled"] == list(wanted)

    await until(is_so)


async def attached(bench: Bench, user: User) -> None:
    async def is_so() -> bool:
        tenant = bench.engine.tenants.get(user.pk)
        return tenant is not None and bool(tenant.state.attached)

    await until(is_so)


async def entered(bench: Bench, user: User, **exits: Any) -> Candles:
    """An instance that bought at 50000 (and the slippage) on paper, and knows its stops."""
    connection, _ = await bench.bind(user, USDT="100000")
    await bench.quote("49999", "50000")
    await database.run(_started, user, connection, exits)
    await seeded(bench)
    candles = Candles(bench)
    await candles.close(*WARM_UP, 99_000, 98_000)
    await sides(bench, user, "buy")
    if set(exits) - {"cool_down_seconds"}:
        await attached(bench, user)
    return candles


async def trade(bench: Bench, price: str) -> None:
    now = time.time_ns()
    await bench.tell(PublicTrade(SYMBOL, now, now, Decimal(price), Decimal("0.1"), now // 1_000_000))


@pytest.mark.parametrize(
    ("exits", "quiet", "price", "why"),
    [
        ({"stop_loss": "0.02"}, "49100", "49000", "stop_loss"),
        ({"take_profit": "0.02"}, "50900", "51100", "take_profit"),
        ({"stop_loss": "0.5", "take_profit": "0.5", "trailing_stop": "0.03"}, "48700", "48500", "trailing_stop"),
    ],
)
async def test_a_price_that_reaches_a_stop_sells_the_position_once(
    alice: User, monkeypatch: pytest.MonkeyPatch, exits: dict[str, str], quiet: str, price: str, why: str
) -> None:
    async with running_bench(monkeypatch) as bench:
        await entered(bench, alice, **exits)
        await trade(bench, quiet)
        for _ in range(3):
            await trade(bench, price)
        await sides(bench, alice, "buy", "sell")
        assert bench.engine.desk.figures["attached_exits"] == 1
    exit_signal = (await database.run(_signals, alice))[-1]
    assert (exit_signal.action, list(exit_signal.seen)) == ("exit", [why])


async def test_a_trailing_stop_follows_the_highest_price_over_a_restart(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        await entered(bench, alice, trailing_stop="0.03")
        await trade(bench, "55000")

        async def is_stored() -> bool:
            def read() -> Any:
                with tenant_scope(alice.pk):
                    return StrategyInstance.objects.get().state.get("peak")

            return bool(await database.run(read) == "55000")

        await until(is_stored)
        await bench.stop()
        bench.engine = Engine()
        await bench.start()
        await bench.quote("54999", "55000")
        await attached(bench, alice)
        await trade(bench, "53300")  # 3 % below 55000, far above the entry
        await sides(bench, alice, "buy", "sell")


async def test_a_stop_holds_for_a_paused_instance(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        await entered(bench, alice, stop_loss="0.02")

        def pause() -> None:
            with tenant_scope(alice.pk):
                pause_instance(user=alice, instance=StrategyInstance.objects.get())

        await database.run(pause)

        async def is_paused() -> bool:
            (row,) = bench.engine.tenants[alice.pk].state.instances.values()
            return bool(row.status == InstanceStatus.PAUSED)

        await until(is_paused)
        await trade(bench, "48000")
        await sides(bench, alice, "buy", "sell")


async def test_what_is_held_for_too_long_is_sold(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        await entered(bench, alice, max_holding_seconds=1)
        await sides(bench, alice, "buy", "sell")
    exit_signal = (await database.run(_signals, alice))[-1]
    assert list(exit_signal.seen) == ["max_holding"]


@pytest.mark.parametrize(("exits", "enters"), [({"cool_down_seconds": 600}, False), ({}, True)])
async def test_after_a_loss_there_is_no_entry_for_a_while(
    alice: User, monkeypatch: pytest.MonkeyPatch, exits: dict[str, Any], enters: bool
) -> None:
    async with running_bench(monkeypatch) as bench:
        candles = await entered(bench, alice, stop_loss="0.02", **exits)
        await trade(bench, "48000")
        await sides(bench, alice, "buy", "sell")
        await candles.close(99_000, 100_000, 99_000, 98_000)
        if enters:
            await sides(bench, alice, "buy", "sell", "buy")
            return

        async def is_denied() -> bool:
            found = await database.run(_signals, alice)
            return found[-1].reason.startswith("cool_down: its last position was lost")

        await until(is_denied)
        await sides(bench, alice, "buy", "sell")
