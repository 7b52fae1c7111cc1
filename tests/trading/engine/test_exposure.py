"""What counts into a connection's limits: all of the account, whoever ordered it, and nothing of the next one."""

from decimal import Decimal

import pytest

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import database
from connections.gateways import OrderType
from connections.models import Connection
from risk.models import PolicyLevel, RiskPolicy
from tests.trading.engine.harness import Bench, running_bench, until
from tests.trading.engine.test_signals import WARM_UP, Candles, seeded, signals, started
from trading.models import Order

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


def _limit(connection: Connection, most: Decimal) -> None:
    with tenant_scope(connection.user_id):
        RiskPolicy.objects.create(
            user_id=connection.user_id, level=PolicyLevel.CONNECTION, target_id=connection.pk, max_exposure=most
        )


def _all(user: User) -> list[Order]:
    with tenant_scope(user.pk):
        return list(Order.objects.order_by("created_at"))


async def _is(bench: Bench, order: Order, status: str) -> None:
    async def is_so() -> bool:
        return (await bench.refreshed(order)).status == status

    await until(is_so)


async def test_exposure_counts_bots_and_manual_orders_of_the_account_alike(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        other = await bench.bind_another(alice)
        bid, _ = await bench.quote_of_the_simulator()
        # Room for what the bot buys (1,000) and one order by hand (about 1,000), but for no third.
        await database.run(_limit, connection, Decimal(2500))
        await started(alice, connection)
        await seeded(bench)
        await Candles(bench).close(*WARM_UP, 99_000, 98_000)

        async def bot_has_bought() -> bool:
            return [order.status for order in await database.run(_all, alice)] == ["filled"]

        await until(bot_has_bought)
        size = (Decimal(1000) / bid).quantize(Decimal("0.0001"))
        resting = {"type": OrderType.LIMIT, "quantity": size, "price": (bid * Decimal("0.99")).quantize(Decimal(1))}
        await _is(bench, await bench.order(alice, connection, **resting), "submitted")
        third = await bench.order(alice, connection, **resting)
        await _is(bench, third, "rejected")
        # Another account has its own room, and here only no money.
        apart = await bench.order(alice, other, **resting)
        await _is(bench, apart, "rejected")
        codes = [(await bench.refreshed(order)).reject_code for order in (third, apart)]
    assert codes == ["RISK_EXPOSURE", "RISK_AVAILABLE_BALANCE"]
    assert [signal.action for signal in await signals(alice)] == ["enter"]
