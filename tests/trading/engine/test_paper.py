"""Paper accounts: orders that never leave DES, with everything above the exchange as it is live (STG-6, ADR 25)."""

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import database, paper
from connections.events import PublicTrade
from connections.gateways import OrderType, Side
from connections.models import Connection
from risk.models import RiskMetrics
from tests.connections.simulator.server import Keys
from tests.trading.engine.harness import SYMBOL, Bench, running_bench, until
from tests.trading.engine.test_signals import WARM_UP, Candles, seeded
from trading.dry_run import DryRun, dry_runs
from trading.engine import paper_runs
from trading.engine.engine import Engine
from trading.models import Balance, Order, PaperRun, Position, Reservation, StrategyInstance, Trade
from trading.services import cancel_order, create_instance, start_instance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


async def has(bench: Bench, order: Order, *statuses: str) -> Order:
    async def is_so() -> bool:
        return (await bench.refreshed(order)).status in statuses

    await until(is_so)
    return await bench.refreshed(order)


async def rows(user: User, model: Any, **wanted: Any) -> list[Any]:
    def read() -> list[Any]:
        with tenant_scope(user.pk):
            return list(model.objects.filter(**wanted))

    return await database.run(read)


async def bound(bench: Bench, user: User, **start: str) -> tuple[Connection, Connection, Keys]:
    """The user's connection, its paper account and the real account's keys."""
    real, keys = await bench.bind(user, USDT="1000")

    def opened() -> Connection:
        with tenant_scope(user.pk):
            balances = {asset: Decimal(amount) for asset, amount in start.items()} or None
            return paper.open_account(user=user, connection=real, balances=balances)

    return real, await database.run(opened), keys


async def trade(bench: Bench, price: str, quantity: str = "5") -> None:
    now = time.time_ns()
    await bench.tell(PublicTrade(SYMBOL, now, now, Decimal(price), Decimal(quantity), now // 1_000_000))


async def at_the_exchange(bench: Bench, keys: Keys) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await bench.simulator.ledger(keys))["orders"]
    return found


async def test_a_market_order_fills_at_the_quote_with_slippage_and_fee_and_leaves_the_real_account_alone(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        real, account, keys = await bound(bench, alice, USDT="5000")
        await bench.quote("49999", "50000")
        order = await has(bench, await bench.order(alice, account), "filled", "rejected")
        assert (order.status, order.reject_reason, order.paper) == ("filled", "", True)
        assert order.average_price == Decimal("50025")  # 0.05 % above the ask
        assert order.fee == {"BTC": "0.00001"}
        (position,) = await rows(alice, Position)
        assert (position.connection_id, position.quantity) == (account.pk, Decimal("0.00999"))
        spent = {row.asset: row.total for row in await rows(alice, Balance, connection=account)}
        assert spent == {"USDT": Decimal("4499.75"), "BTC": Decimal("0.00999")}
        assert await at_the_exchange(bench, keys) == []

        async def is_read() -> bool:
            found = await rows(alice, Balance, connection=real)
            return [(row.asset, row.total) for row in found] == [("USDT", Decimal(1000))]

        await until(is_read)
    assert [row.connection_id for row in await rows(alice, RiskMetrics)] == [account.pk]


async def test_a_limit_order_rests_until_the_market_comes_to_it(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        _, account, keys = await bound(bench, alice, USDT="5000")
        await bench.quote("49999", "50000")
        wanted = {"type": OrderType.LIMIT, "price": Decimal(49900), "quantity": Decimal("0.05")}
        order = await has(bench, await bench.order(alice, account, **wanted), "submitted")
        await trade(bench, "49950")
        await trade(bench, "49900", "0.02")
        order = await has(bench, order, "partially_filled")
        assert order.filled_quantity == Decimal("0.02")
        await bench.quote("49880", "49890")
        order = await has(bench, order, "filled")
        assert order.average_price == Decimal(49900)
        assert await at_the_exchange(bench, keys) == []
    assert len(await rows(alice, Trade)) == 2


async def test_a_resting_order_is_cancelled_and_gives_its_money_back(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        _, account, _ = await bound(bench, alice, USDT="5000")
        await bench.quote("49999", "50000")
        wanted = {"type": OrderType.LIMIT, "price": Decimal(49900), "quantity": Decimal("0.05")}
        order = await has(bench, await bench.order(alice, account, **wanted), "submitted")

        def cancel() -> None:
            with tenant_scope(alice.pk):
                cancel_order(user=alice, order=order)

        await database.run(cancel)
        await has(bench, order, "cancelled")
    assert [row.remaining for row in await rows(alice, Reservation)] == [0]


async def test_a_restarted_engine_finds_what_rests_and_fills_it_once(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        _, account, _ = await bound(bench, alice, USDT="5000")
        await bench.quote("49999", "50000")
        wanted = {"type": OrderType.LIMIT, "price": Decimal(49900), "quantity": Decimal("0.05")}
        order = await has(bench, await bench.order(alice, account, **wanted), "submitted")
        await trade(bench, "49900", "0.02")
        await has(bench, order, "partially_filled")
        await bench.stop()
        bench.engine = Engine()
        await bench.start()

        async def is_known() -> bool:
            tenant = bench.engine.tenants.get(alice.pk)
            return tenant is not None and tenant.state.accounts[account.pk].is_known

        await until(is_known)
        await trade(bench, "49890", "0.02")
        await trade(bench, "49890", "5")
        order = await has(bench, order, "filled")
    trades = await rows(alice, Trade)
    assert sorted(row.quantity for row in trades) == [Decimal("0.01"), Decimal("0.02"), Decimal("0.02")]
    (position,) = await rows(alice, Position)
    assert position.quantity == Decimal("0.05") * Decimal("0.999")


async def test_a_sale_of_what_the_paper_account_has_not_is_denied(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        _, account, _ = await bound(bench, alice, USDT="5000")
        await bench.quote("49999", "50000")
        order = await has(bench, await bench.order(alice, account, side=Side.SELL), "filled", "rejected")
    assert order.status == "rejected"


def _started(user: User, connection: Connection) -> StrategyInstance:
    with tenant_scope(user.pk):
        instance = create_instance(
            user=user, connection=connection, name="rsi", strategy="rsi", symbol=SYMBOL, timeframe="1s",
            params={"period": 2, "oversold": 30, "overbought": 70}, mode="paper",
            sizing={"type": "quote_amount", "amount": "1000"},
        )  # fmt: skip
        return start_instance(user=user, instance=instance)


async def test_an_instance_on_paper_trades_on_paper_at_the_real_connections_prices(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await bench.quote_of_the_simulator()
        instance = await database.run(_started, alice, connection)
        await seeded(bench)
        await Candles(bench).close(*WARM_UP, 99_000, 98_000)

        async def entered() -> bool:
            return [(row.status, row.paper) for row in await rows(alice, Order)] == [("filled", True)]

        await until(entered)
        assert await at_the_exchange(bench, keys) == []
    (order,), (held,) = await rows(alice, Order), await rows(alice, StrategyInstance)
    assert order.connection_id != connection.pk
    assert (held.pk, held.connection_id) == (instance.pk, connection.pk)
    assert held.held_quantity == order.filled_quantity * Decimal("0.999")


async def test_the_time_on_paper_is_kept_as_rows_while_there_are_prices(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper_runs, "STEP_SECONDS", 0.2)
    monkeypatch.setattr(settings.CONFIG, "dry_run_seconds", 1)
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        instance = await database.run(_started, alice, connection)
        await asyncio.sleep(0.5)
        assert await rows(alice, PaperRun) == []
        await bench.quote("49999", "50000")

        def state() -> DryRun:
            with tenant_scope(alice.pk):
                row = StrategyInstance.objects.select_related("connection", "connection_b").get(pk=instance.pk)
                return dry_runs([row])[row.pk]

        async def has_run() -> bool:
            return (await database.run(state)).left == 0

        await until(has_run)
    assert len(await rows(alice, PaperRun)) == 1
