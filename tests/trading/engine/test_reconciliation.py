"""ORD-8: an account is compared with its exchange, what differs is repaired, and its owner can read what it was."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import custody, database
from connections.budget.urgency import Urgency
from connections.gateways import Credentials, OrderType
from connections.models import Connection
from connections.simulator.binance.limits import Budgets
from desproject.mismatches import compare
from tests.connections.simulator.server import Keys
from tests.trading.engine.api_desk import KEY, SECRET, Desk, trading
from tests.trading.engine.harness import Bench, running_bench, until
from tests.web.conftest import access_token
from trading.engine import reconciliation
from trading.models import Order, Position, Reconciliation, Reservation, Trade
from trading.rebuilding import differences
from trading.services import cancel_order, request_reconciliation

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


@asynccontextmanager
async def comparing_bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """Without a stream: what happens at the exchange is found by comparing alone, several times a second."""
    _without_share(monkeypatch)
    monkeypatch.setattr(settings.CONFIG, "reconcile_seconds", 0.2)
    monkeypatch.setattr(settings.CONFIG, "reconcile_quiet_seconds", 0.2)
    monkeypatch.setattr(reconciliation, "_GRACE_SECONDS", 0.0)
    async with running_bench(monkeypatch, budgets=Budgets(weight=10_000_000)) as bench:
        yield bench


def _without_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many comparisons as no exchange would allow."""
    monkeypatch.setattr(settings.CONFIG, "exchange_limits_factor", 1000)
    monkeypatch.setattr(reconciliation, "_urgency", lambda _: Urgency.READ)


def rows(user: User, model: Any, **of: Any) -> list[Any]:
    with tenant_scope(user.pk):
        return list(model.objects.filter(**of))


async def found(user: User, kind: str) -> dict[str, str]:
    """The first difference of the kind that was reported."""
    told: list[dict[str, str]] = []

    async def is_told() -> bool:
        reports = await database.run(rows, user, Reconciliation)
        told[:] = [each for report in reports for each in report.differences if each["kind"] == kind]
        return bool(told)

    await until(is_told)
    return told[0]


async def traded(bench: Bench, user: User, connection: Connection) -> None:
    """Returns when the engine has compared the account, and one order of ours was filled."""
    await bench.quote_of_the_simulator()
    order = await bench.order(user, connection)

    async def is_filled() -> bool:
        return (await bench.refreshed(order)).status == "filled"

    await until(is_filled)


async def nothing_differs(bench: Bench, user: User, connection: Connection, keys: Keys) -> None:
    async def agree() -> bool:
        ledger = {"accounts": {keys.api_key: await bench.simulator.ledger(keys)}}
        return await database.run(compare, ledger, {connection.pk: keys.api_key}, [user.pk]) == []

    await until(agree)
    assert await database.run(differences, user.pk) == []


async def compared_again(bench: Bench) -> None:
    compared = bench.engine.desk.figures["catch_ups"]

    async def is_compared() -> bool:
        return bench.engine.desk.figures["catch_ups"] > compared + 2

    await until(is_compared)


async def test_an_order_placed_by_hand_is_adopted_counted_and_cancelled_here(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with comparing_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await traded(bench, alice, connection)
        await bench.simulator.order(keys, "BUY", "0.5", "20000", newClientOrderId="by-hand")

        told = await found(alice, "order_elsewhere")
        (order,) = await database.run(rows, alice, Order, elsewhere=True)
        (held,) = await database.run(rows, alice, Reservation, order=order)
        assert (told["subject"], told["exchange"]) == (str(order.pk), "buy 0.5 BTC/USDT")
        assert (order.status, order.instance_id, order.client_order_id) == ("submitted", None, "by-hand")
        assert held.remaining == 10_000

        await database.run(_cancel, alice, order)
        await nothing_differs(bench, alice, connection, keys)
    (ended,) = await database.run(rows, alice, Order, elsewhere=True)
    (held,) = await database.run(rows, alice, Reservation, order=order)
    assert (ended.status, held.remaining) == ("cancelled", 0)


def _cancel(user: User, order: Order) -> None:
    with tenant_scope(user.pk):
        cancel_order(user=user, order=order)


async def test_trades_made_by_hand_are_booked_and_explain_the_balance(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with comparing_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await traded(bench, alice, connection)
        await bench.simulator.order(keys, "BUY", "0.3")
        await bench.simulator.order(keys, "SELL", "0.2")

        await found(alice, "balance")
        await nothing_differs(bench, alice, connection, keys)
        by_hand = await database.run(rows, alice, Order, elsewhere=True)
        (position,) = await database.run(rows, alice, Position)
        # What is under way may still be reported; looks after that find nothing more.
        await compared_again(bench)
        reports = len(await database.run(rows, alice, Reconciliation))
        await compared_again(bench)
        assert len(await database.run(rows, alice, Reconciliation)) == reports
    assert {(order.status, order.side, order.quantity) for order in by_hand} == {
        ("filled", "buy", Decimal("0.3")), ("filled", "sell", Decimal("0.2"))
    }  # fmt: skip
    assert position.quantity == Decimal("0.10969")


@pytest.mark.database("embedded", reason="the same on any database, and it wants comparisons to be quick")
async def test_trades_made_by_hand_while_an_order_is_under_way_are_found_as_soon_as_it_isnt(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile a balance that moved may have been moved by the order."""
    async with comparing_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await traded(bench, alice, connection)
        await bench.simulator.fault("delay", method="POST", seconds=4.5, count=1)
        order = await bench.order(alice, connection)

        async def is_under_way() -> bool:
            return order.pk in bench.engine.desk.in_flight

        await until(is_under_way)
        await bench.simulator.order(keys, "BUY", "0.3")
        account = bench.engine.tenants[alice.pk].state.accounts[connection.pk]

        async def has_moved_meanwhile() -> bool:
            return bool(account.unexplained)  # else it is emptied where it is filled

        await until(has_moved_meanwhile)
        await until(partial(_is_adopted, alice))
        await nothing_differs(bench, alice, connection, keys)
    (position,) = await database.run(rows, alice, Position)
    assert position.quantity == Decimal("0.31968")


async def _is_adopted(user: User) -> bool:
    return bool(await database.run(rows, user, Order, elsewhere=True))


async def test_money_that_came_in_unseen_is_taken_over_and_reported(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with comparing_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        await traded(bench, alice, connection)
        await bench.simulator.control("POST", "/deposit", {"api_key": keys.api_key, "asset": "ETH", "amount": "3"})

        told = await found(alice, "balance")
        await nothing_differs(bench, alice, connection, keys)
    assert told == {"kind": "balance", "subject": "ETH", "exchange": "3", "here": "0"}


async def test_a_working_order_that_the_exchange_denies_ends_after_a_few_looks(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key was replaced by another account's."""
    async with comparing_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        bid, _ = await bench.quote_of_the_simulator()
        order = await bench.order(alice, connection, type=OrderType.LIMIT, price=bid - 500)

        async def rests() -> bool:
            return (await bench.refreshed(order)).status == "submitted"

        await until(rests)
        other = await bench.simulator.create_account("alice-other", USDT="7")
        await database.run(_replace_key, connection, other)

        told = await found(alice, "order_denied")
        ended = await bench.refreshed(order)
    assert told == {"kind": "order_denied", "subject": str(order.pk), "exchange": "", "here": "submitted"}
    assert (ended.status, ended.reject_code) == ("expired", "NOT_AT_EXCHANGE")
    (held,) = await database.run(rows, alice, Reservation)
    assert (held.remaining, held.released_at is None) == (0, False)


def _replace_key(connection: Connection, keys: Keys) -> None:
    with tenant_scope(connection.user_id):
        row = Connection.objects.get(pk=connection.pk)
        sealed = custody.seal_credentials(
            Credentials(keys.api_key, keys.api_secret),
            user_id=row.user_id, connection_id=row.pk, exchange=row.exchange,
        )  # fmt: skip
        sealed.store_in(row)
        row.credential_version += 1
        row.save()


async def test_a_comparison_that_was_asked_for_is_reported_even_if_nothing_differs(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await traded(bench, alice, connection)
        await database.run(_ask, alice, connection)

        async def is_told() -> bool:
            return bool(await database.run(rows, alice, Reconciliation))

        await until(is_told)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {await database.run(access_token, alice)}")
    listed = await database.run(client.get, f"/api/reconciliations?connection={connection.pk}")
    assert len(listed.json()["results"]) == 1, listed.json()
    (told,) = listed.json()["results"]
    assert (told["cause"], told["differences"], told["orders_checked"]) == ("asked", [], 0)


def _ask(user: User, connection: Connection) -> None:
    with tenant_scope(user.pk):
        request_reconciliation(user=user, connection=connection)


def contracts(user: User, monkeypatch: pytest.MonkeyPatch) -> AbstractAsyncContextManager[Desk]:
    """Alice's desk with perpetual contracts and streams."""
    _without_share(monkeypatch)
    monkeypatch.setattr(reconciliation, "_POLL_SECONDS", 0.2)
    monkeypatch.setattr(reconciliation, "_GRACE_SECONDS", 0.2)
    monkeypatch.setattr(settings.CONFIG, "reconcile_seconds", 0.5)
    monkeypatch.setattr(settings.CONFIG, "reconcile_quiet_seconds", 0.5)
    return trading(
        user, "binance_usdm", monkeypatch, account={"balances": {"USDT": "100000"}},
        usual={"symbol": "BTC/USDT:USDT"}, perpetuals=("BTCUSDT",), usdm_budgets=Budgets(weight=10_000_000),
    )  # fmt: skip


async def test_a_position_opened_elsewhere_is_ours_by_its_fills_or_by_a_trade_that_says_so(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with contracts(alice, monkeypatch) as desk:
        await desk.is_now(await desk.order(), "filled")
        wanted = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.02"}
        by_hand = await desk.simulator.signed(Keys(KEY, SECRET), "POST", "/fapi/v1/order", **wanted)
        assert by_hand.status == 200, by_hand.body
        await holds(desk, "0.03")
        (order,) = await database.run(rows, alice, Order, elsewhere=True)
        assert (order.status, order.filled_quantity) == ("filled", Decimal("0.02"))

        # Of this one the exchange tells no fill: it was traded before anybody here could hear of it.
        bank = desk.simulator.server.usdm.bank
        holding = bank.margin_of(bank.get(KEY)).holdings["BTCUSDT"]
        holding.quantity = Decimal("-0.25")

        told = await found(alice, "position")
        position = await holds(desk, "-0.25")
    assert (told["subject"], told["exchange"], told["here"]) == ("BTC/USDT:USDT", "-0.25", "0.03")
    assert (position.side, position.average_price) == ("short", holding.entry_price)
    corrections = [trade for trade in await database.run(rows, alice, Trade) if trade.order_id is None]
    assert {trade.exchange_trade_id.partition("-")[0] for trade in corrections} == {"correction"}
    assert [trade.realized_pnl for trade in corrections] == [0, 0]
    assert await database.run(differences, alice.pk) == []


async def holds(desk: Desk, quantity: str) -> Position:
    positions: list[Position] = []

    async def is_so() -> bool:
        positions[:] = await desk.rows(Position)
        return [row.quantity for row in positions] == [Decimal(quantity)]

    await until(is_so)
    return positions[0]
