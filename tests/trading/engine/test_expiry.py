"""Orders end at their time (ORD-6): what is meant to fill at once times out, what rests lives until its own end."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.conf import settings

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import database
from connections.gateways import OrderType
from tests.trading.engine.harness import Bench, running_bench, until
from trading.engine.engine import Engine
from trading.models import Order, OrderEvent, Reservation
from trading.order_life import expiry
from trading.order_types import Lifetime

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
# More than the simulator's book holds at one price.
MUCH = Decimal("60")


async def has(bench: Bench, order: Order, status: str) -> Order:
    async def is_so() -> bool:
        return (await bench.refreshed(order)).status == status

    await until(is_so)
    return await bench.refreshed(order)


def _ended(user: User) -> tuple[str, Decimal]:
    with tenant_scope(user.pk):
        cause: str = OrderEvent.objects.get(to_status="cancelled").cause
        return cause, Reservation.objects.get().remaining


async def test_a_limit_that_crosses_times_out_and_what_is_left_is_known(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings.CONFIG, "order_timeout_seconds", 0.5)
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000000")
        _, ask = await bench.quote_of_the_simulator()
        order = await bench.order(alice, connection, type=OrderType.LIMIT, price=ask, quantity=MUCH)
        done = await has(bench, order, "cancelled")
        (row,) = (await bench.simulator.ledger(keys))["orders"]
        assert bench.engine.desk.figures["timed_out"] == 1
    assert row["status"] == "CANCELED"
    assert done.filled_quantity == Decimal(row["executed"]) < MUCH
    assert await database.run(_ended, alice) == ("timed_out", Decimal(0))


def _is_over(order: Order) -> None:
    with tenant_scope(order.user_id):
        Order.objects.filter(pk=order.pk).update(expires_at=datetime.now(UTC))


async def test_the_engine_that_takes_over_ends_it_at_its_time(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        bid, _ = await bench.quote_of_the_simulator()
        order = await bench.order(
            alice, connection, type=OrderType.LIMIT, price=bid - 500, time_in_force=Lifetime.GTD,
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )  # fmt: skip
        await has(bench, order, "submitted")
        await bench.stop()
        await database.run(_is_over, order)
        bench.engine = Engine()
        await bench.start()
        await has(bench, order, "cancelled")
        (row,) = (await bench.simulator.ledger(keys))["orders"]
    assert row["status"] == "CANCELED"


async def test_what_could_not_be_sent_in_its_time_never_is(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        # Nobody knows a price yet, which a post-only order doesn't ask for: the exchange's filters are out of reach.
        await bench.simulator.fault("http_error", path="/api/v3/exchangeInfo", status=503, count=1000)
        order = await bench.order(
            alice, connection, type=OrderType.POST_ONLY, price=Decimal(100), time_in_force=Lifetime.GTD,
            expires_at=datetime.now(UTC) + timedelta(seconds=0.5),
        )  # fmt: skip
        done = await has(bench, order, "expired")
        ledger = await bench.simulator.ledger(keys)
    assert (done.reject_code, ledger["orders"]) == ("EXPIRED", [])


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        ({"type": "market"}, 10),
        ({"type": "limit", "price": "99", "time_in_force": "ioc"}, 10),
        ({"type": "limit", "price": "99", "time_in_force": "fok"}, 10),
        ({"type": "limit", "price": "100"}, 10),
        ({"type": "limit", "price": "100", "timeout_seconds": 3}, 3),
        ({"type": "limit", "price": "99", "timeout_seconds": 3}, 3),
        ({"type": "limit", "price": "100", "timeout_seconds": 0}, None),
        ({"type": "limit", "price": "99"}, None),
        ({"type": "post_only", "price": "100"}, None),
        ({"type": "limit", "price": "100", "side": "sell"}, 10),
        ({"type": "limit", "price": "101", "side": "sell"}, None),
        ({"type": "limit", "price": "100", "time_in_force": "day", "expires_at": NOW + timedelta(hours=3)}, 10_800),
    ],
)
def test_when_an_order_is_ended(wanted: dict[str, object], seconds: int | None) -> None:
    chosen = {"side": "buy", "time_in_force": "gtc", **wanted}
    if "price" in chosen:
        chosen["price"] = Decimal(str(chosen["price"]))
    ends = expiry(Order(**chosen), NOW, Decimal(100))
    assert ends == (None if seconds is None else NOW + timedelta(seconds=seconds))
