"""An order in another one's place: sent after that one has ended for sure, never both."""

from decimal import Decimal
from typing import Any

import pytest

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import database
from connections.gateways import OrderType, Side
from desproject.lib.errors import Conflict
from tests.connections.simulator.server import Keys
from tests.trading.engine.harness import Bench, running_bench, until
from trading.models import Order, OrderAttempt, OrderEvent, Reservation
from trading.order_types import OrderKind
from trading.services import replace_order

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


async def has(bench: Bench, order: Order, status: str) -> Order:
    async def is_so() -> bool:
        return (await bench.refreshed(order)).status == status

    await until(is_so)
    return await bench.refreshed(order)


async def replaced(user: User, order: Order, **changes: Decimal) -> Order:
    def ask() -> Order:
        with tenant_scope(user.pk):
            return replace_order(user=user, order=order, **changes)

    return await database.run(ask)


async def rows(user: User, model: Any, **wanted: Any) -> list[Any]:
    def read() -> list[Any]:
        with tenant_scope(user.pk):
            return list(model.objects.filter(**wanted))

    return await database.run(read)


async def at_the_exchange(bench: Bench, keys: Keys) -> list[tuple[str, Decimal]]:
    return [
        (row["status"], Decimal(row["quantity"])) for row in (await bench.simulator.ledger(keys))["orders"]
    ]


async def test_the_new_one_is_sent_when_the_old_one_is_cancelled_for_sure(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        bid, _ = await bench.quote_of_the_simulator()
        old = await has(
            bench, await bench.order(alice, connection, type=OrderType.LIMIT, price=bid - 500), "submitted"
        )
        # The first tries to cancel fail: as long as that goes on nothing is sent.
        refusal = {"path": "/api/v3/order", "method": "DELETE", "status": 503, "code": -1008, "count": 2}
        await bench.simulator.fault("http_error", **refusal)
        new = await replaced(alice, old, price=bid - 600, quantity=Decimal("0.02"))
        await has(bench, new, "submitted")
        assert (await bench.simulator.counters())["faults"]["http_error"] == 2
        found = await at_the_exchange(bench, keys)
    assert found == [("CANCELED", Decimal("0.01")), ("NEW", Decimal("0.02"))]
    (ended,) = await rows(alice, OrderEvent, order=old, to_status="cancelled")
    (attempt,) = await rows(alice, OrderAttempt, order=new)
    assert ended.at <= attempt.created_at
    assert [row.remaining for row in await rows(alice, Reservation, order=old)] == [0]


async def test_what_was_filled_is_taken_off(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000000")
        bid, ask = await bench.quote_of_the_simulator()
        crossing = {"type": OrderType.LIMIT, "price": ask, "quantity": Decimal(60), "timeout_seconds": 0}
        old = await has(bench, await bench.order(alice, connection, **crossing), "partially_filled")
        new = await has(bench, await replaced(alice, old, price=bid - 600), "submitted")
        old = await bench.refreshed(old)
        found = await at_the_exchange(bench, keys)
    assert 0 < old.filled_quantity < 60
    assert new.quantity == 60 - old.filled_quantity
    assert found == [("CANCELED", Decimal(60)), ("NEW", new.quantity)]


async def test_an_order_that_was_filled_in_the_meantime_has_no_place_to_take(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        _, ask = await bench.quote_of_the_simulator()
        order = await bench.order(alice, connection, type=OrderType.LIMIT, price=ask + 50)
        filled = await has(bench, order, "filled")
        filled.status = "submitted"  # as who asks has seen it
        new = await has(bench, await replaced(alice, filled, quantity=Decimal("0.05")), "rejected")
        assert len(await at_the_exchange(bench, keys)) == 1
    assert new.reject_code == "REPLACED_ORDER_ENDED"


async def test_what_waits_for_its_trigger_is_replaced_without_the_exchange(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, BTC="0.5")
        bid, _ = await bench.quote_of_the_simulator()
        wanted = {"type": OrderKind.STOP_LOSS, "side": Side.SELL, "quantity": Decimal("0.5")}
        old = await has(bench, await bench.order(alice, connection, stop_price=bid - 100, **wanted), "waiting")
        new = await has(bench, await replaced(alice, old, stop_price=bid - 200), "waiting")
        with pytest.raises(Conflict) as refused:
            await replaced(alice, old, stop_price=bid - 300)
        await has(bench, old, "cancelled")
        assert await at_the_exchange(bench, keys) == []
    assert (new.stop_price, refused.value.code) == (bid - 200, "ORDER_REPLACED")
    assert sorted(row.remaining for row in await rows(alice, Reservation)) == [0, Decimal("0.5")]
