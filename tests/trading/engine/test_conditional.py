"""Orders with a trigger: held by a real engine, sent to a simulated exchange when the market reaches them (ORD-7)."""

import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import database
from connections.events import BookState, PublicTrade
from connections.gateways import Side
from connections.models import Connection
from desproject.mismatches import compare
from risk.models import KillLevel, KillSwitch
from tests.connections.simulator.server import Keys
from tests.trading.engine.harness import SYMBOL, Bench, running_bench, until
from trading.engine import sending
from trading.engine.engine import Engine
from trading.models import Order, OrderAttempt, OrderEvent, Reservation
from trading.order_types import OrderKind
from trading.services import cancel_order

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


async def trade(bench: Bench, price: Decimal) -> None:
    now = time.time_ns()
    await bench.tell(PublicTrade(SYMBOL, now, now, price, Decimal("0.1"), now // 1_000_000))


async def held(bench: Bench, user: User, kind: OrderKind = OrderKind.STOP_LOSS, **wanted: Any) -> Order:
    """An order to sell what alice has, once it waits for its trigger."""
    (connection,) = await rows(user, Connection)
    order = await bench.order(user, connection, type=kind, **{"side": Side.SELL, "quantity": Decimal("0.5"), **wanted})
    return await has(bench, order, "waiting")


async def at_the_exchange(bench: Bench, keys: Keys) -> Sequence[dict[str, Any]]:
    found: list[dict[str, Any]] = (await bench.simulator.ledger(keys))["orders"]
    return found


async def test_a_stop_waits_with_its_reservation_and_sells_once_when_it_is_reached(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        _, keys = await bench.bind(alice, BTC="0.5")
        bid, _ = await bench.quote_of_the_simulator()
        order = await held(bench, alice, stop_price=bid - 100)
        (reservation,) = await rows(alice, Reservation)
        assert (reservation.asset, reservation.remaining) == ("BTC", Decimal("0.5"))
        await trade(bench, bid - 99)
        assert await at_the_exchange(bench, keys) == []
        for step in range(5):  # deeper and deeper, before and while it is sent
            await trade(bench, bid - 100 - step)
        await has(bench, order, "filled")
        sent = await at_the_exchange(bench, keys)
        assert bench.engine.desk.figures["triggered"] == 1
    assert [(row["type"], row["side"]) for row in sent] == [("MARKET", "SELL")]
    assert [row.remaining for row in await rows(alice, Reservation)] == [0]
    moves = [(row.from_status, row.to_status) for row in await rows(alice, OrderEvent)]
    assert moves[:3] == [("new", "waiting"), ("waiting", "new"), ("new", "pending")]


async def test_with_an_invalid_book_trades_trigger_and_quotes_dont(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        await bench.bind(alice, BTC="0.5")
        bid, _ = await bench.quote_of_the_simulator()
        order = await held(bench, alice, stop_price=bid - 100)
        follower = await held(bench, alice, OrderKind.TRAILING_STOP, trail_rate=Decimal("0.01"), oco_with=order.pk)
        await bench.tell(BookState(SYMBOL, time.time_ns(), valid=False, reason="crossed"))
        await bench.quote("1", "2")
        # Comes behind the quote: once it has moved the other's trigger, the quote was seen too.
        await trade(bench, bid + 500)

        async def moved() -> bool:
            return bool((await bench.refreshed(follower)).stop_price == (bid + 500) * Decimal("0.99"))

        await until(moved)
        assert (await bench.refreshed(order)).status == "waiting"
        await trade(bench, bid - 100)
        await has(bench, order, "filled")


async def test_a_trailing_stop_follows_the_market_and_survives_a_restart(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        _, keys = await bench.bind(alice, BTC="0.5")
        bid, ask = await bench.quote_of_the_simulator()
        order = await held(bench, alice, OrderKind.TRAILING_STOP, trail_rate=Decimal("0.01"))
        assert order.stop_price == pytest.approx(bid * Decimal("0.99"), rel=Decimal("0.001"))
        best = ask + 1000
        await trade(bench, best)

        async def followed() -> bool:
            return bool((await bench.refreshed(order)).stop_price == best * Decimal("0.99"))

        await until(followed)
        await trade(bench, ask + 900)  # not far enough
        await bench.stop()
        bench.engine = Engine()
        await bench.start()
        await bench.quote_of_the_simulator()
        assert (await bench.refreshed(order)).stop_price == best * Decimal("0.99")

        async def sold() -> bool:
            await trade(bench, best * Decimal("0.99"))
            return (await bench.refreshed(order)).status == "filled"

        await until(sold)
        assert len(await at_the_exchange(bench, keys)) == 1


async def test_of_two_that_cancel_each_other_one_is_sent(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        _, keys = await bench.bind(alice, BTC="0.5")
        bid, ask = await bench.quote_of_the_simulator()
        stop = await held(bench, alice, stop_price=bid - 100)
        gain = await held(
            bench, alice, OrderKind.TAKE_PROFIT_LIMIT, stop_price=ask + 100, price=bid - 1000, oco_with=stop.pk
        )
        assert [row.remaining for row in await rows(alice, Reservation)] == [Decimal("0.5")]
        await bench.tell(
            *(
                PublicTrade(SYMBOL, time.time_ns(), number, price, Decimal(1), 0)
                for number, price in enumerate([ask + 100, bid - 100, ask + 100])
            )
        )
        await has(bench, gain, "filled")
        await has(bench, stop, "cancelled")
        sent = await at_the_exchange(bench, keys)
    assert [row["type"] for row in sent] == ["LIMIT"]
    assert {row.remaining for row in await rows(alice, Reservation)} == {Decimal(0)}


async def test_cancelling_one_cancels_both_and_frees_what_they_held(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        await bench.bind(alice, BTC="0.5")
        bid, ask = await bench.quote_of_the_simulator()
        stop = await held(bench, alice, stop_price=bid - 100)
        gain = await held(bench, alice, OrderKind.TAKE_PROFIT, stop_price=ask + 100, oco_with=stop.pk)
        await database.run(_cancel, alice, gain)
        await has(bench, stop, "cancelled")
        await has(bench, gain, "cancelled")
    assert [row.remaining for row in await rows(alice, Reservation)] == [0]


def _cancel(user: User, order: Order) -> None:
    with tenant_scope(user.pk):
        cancel_order(user=user, order=order)


async def test_a_reduce_only_stop_sells_no_more_than_the_position(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000", BTC="5")
        bid, _ = await bench.quote_of_the_simulator()
        await has(bench, await bench.order(alice, connection, quantity=Decimal("0.05")), "filled")
        stop = await held(bench, alice, stop_price=bid - 500, quantity=Decimal("0.04"), reduce_only=True)
        await has(bench, await bench.order(alice, connection, side=Side.SELL, quantity=Decimal("0.03")), "filled")
        await trade(bench, bid - 500)
        done = await has(bench, stop, "filled")
        _, _, sold = await at_the_exchange(bench, keys)
    # A purchase's fee is taken from what it brings: 0.00005 BTC of it were gone.
    assert (done.quantity, Decimal(sold["executed"])) == (Decimal("0.01995"), Decimal("0.01995"))


async def test_a_stop_that_the_market_has_reached_already_is_refused(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, BTC="0.5")
        bid, _ = await bench.quote_of_the_simulator()
        wanted = {"type": OrderKind.STOP_LOSS, "side": Side.SELL, "quantity": Decimal("0.5")}
        order = await bench.order(alice, connection, stop_price=bid + 100, **wanted)
        done = await has(bench, order, "rejected")
        assert await at_the_exchange(bench, keys) == []
    assert "must be below the price" in done.reject_reason


async def test_a_stop_goes_on_where_an_order_would_give_up(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_FIRST_RETRY", 0.01)
    monkeypatch.setattr(settings.CONFIG, "breaker_failures", 100)
    async with running_bench(monkeypatch) as bench:
        _, keys = await bench.bind(alice, BTC="0.5")
        bid, _ = await bench.quote_of_the_simulator()
        stop = await held(bench, alice, stop_price=bid - 100)
        refusal = {"path": "/api/v3/order", "method": "POST", "status": 503, "code": -1008, "count": 7}
        await bench.simulator.fault("http_error", **refusal)
        await trade(bench, bid - 100)
        await has(bench, stop, "filled")
        assert (await bench.simulator.counters())["faults"]["http_error"] == 7
        assert len(await at_the_exchange(bench, keys)) == 1
    assert len(await rows(alice, OrderAttempt)) == 8


async def test_a_stop_that_never_arrived_is_sent_again(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, BTC="0.5")
        bid, _ = await bench.quote_of_the_simulator()
        stop = await held(bench, alice, stop_price=bid - 100)
        await bench.simulator.fault("drop_before", path="/api/v3/order", count=1)
        await trade(bench, bid - 100)
        await has(bench, stop, "filled")
        assert (await bench.simulator.counters())["faults"]["drop_before"] == 1
        assert len(await at_the_exchange(bench, keys)) == 1
        ledger = await bench.simulator.control("GET", "/ledger")
    # It had come to the exchange's door, and was asked for before the second: that is no blind resend.
    assert len(ledger["accounts"][keys.api_key]["received"]) == 2
    differences = await database.run(compare, ledger, {connection.pk: keys.api_key}, [alice.pk])
    assert "resent_blindly" not in {each.kind for each in differences}


async def test_a_kill_switch_ends_what_waits(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        await bench.bind(alice, BTC="0.5")
        bid, _ = await bench.quote_of_the_simulator()
        stop = await held(bench, alice, stop_price=bid - 100)
        await database.run(_press, alice)
        await has(bench, stop, "cancelled")


def _press(user: User) -> None:
    with tenant_scope(user.pk):
        KillSwitch.objects.create(
            user=user, level=KillLevel.USER, target_id=user.pk, reason="test", flatten=False, pressed_by=user
        )
