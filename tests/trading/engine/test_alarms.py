"""What a fill reveals: a bad price pauses its strategy, a loss at the limit is told; both with the fill itself."""

import time
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from connections import database, demand
from connections.events import BookState
from connections.gateways import OrderType, Side
from risk.models import RiskPolicy
from tests.trading.engine.harness import FEED, SYMBOL, Bench, running_bench, until
from tests.trading.engine.test_signals import WARM_UP, Candles, seeded, started
from trading.engine.engine import Engine
from trading.models import InstanceStatus, Order, StrategyInstance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


def _events(kind: str) -> list[dict[str, Any]]:
    with everyone():
        return list(AuditLog.objects.filter(event_type=kind).values_list("details", flat=True))


def _instance(pk: Any) -> StrategyInstance:
    with everyone():
        found: StrategyInstance = StrategyInstance.objects.get(pk=pk)
        return found


async def test_a_fill_much_worse_than_expected_pauses_its_strategy(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        bid, ask = await bench.quote_of_the_simulator()
        instance = await started(alice, connection)
        await seeded(bench)
        # The engine believes in a price that the exchange doesn't have any more: 1 % below.
        await bench.quote(str(bid * Decimal("0.99")), str(ask * Decimal("0.99")))
        await Candles(bench).close(*WARM_UP, 99_000, 98_000)

        async def is_paused() -> bool:
            return (await database.run(_instance, instance.pk)).status == InstanceStatus.PAUSED

        await until(is_paused)
        (told,) = await database.run(_events, "risk.slippage")
        found = await database.run(_instance, instance.pk)
    assert Decimal("0.005") < Decimal(told["slippage"]) < Decimal("0.02")
    assert told["instance"] == str(instance.pk)
    assert "worse than expected" in found.status_reason
    # Written with the fill, so it isn't forgotten by whoever takes over; what was bought is still known.
    assert found.held_quantity > 0


async def test_a_fill_as_expected_raises_no_alarm(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await bench.quote_of_the_simulator()
        order = await bench.order(alice, connection)
        await _is(bench, order, "filled")
        found = await bench.refreshed(order)
        assert await database.run(_events, "risk.slippage") == []
    assert found.expected_price is not None


async def _is_after_quotes(bench: Bench, order: Order, status: str) -> None:
    async def is_so() -> bool:
        await bench.quote_of_the_simulator()
        return (await bench.refreshed(order)).status == status

    await until(is_so)


async def _is(bench: Bench, order: Order, status: str) -> None:
    async def is_so() -> bool:
        return (await bench.refreshed(order)).status == status

    await until(is_so)


def _limit_loss(user: User) -> None:
    with tenant_scope(user.pk):
        RiskPolicy.objects.create(user=user, level="user", target_id=user.pk, max_daily_loss=Decimal("0.01"))


async def test_the_days_loss_at_its_limit_is_told_once_and_stops_entries_but_no_exit(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await database.run(_limit_loss, alice)
        bid, _ = await bench.quote_of_the_simulator()
        # Bought and sold again: the spread and both fees are lost, twice.
        await _is(bench, await bench.order(alice, connection, quantity=Decimal("0.03")), "filled")
        for _ in range(2):
            exit_order = await bench.order(alice, connection, side=Side.SELL, type=OrderType.MARKET)
            await _is(bench, exit_order, "filled")
        await bench.quote_of_the_simulator()
        entry = await bench.order(alice, connection)
        await _is(bench, entry, "rejected")
        told = await database.run(_events, "risk.daily_loss")
        # Metrics are stored: another engine goes on where this one stopped (RSK-3).
        await bench.stop()
        bench.engine = Engine()
        await bench.start()
        later = await bench.order(alice, connection)
        await _is_after_quotes(bench, later, "rejected")
        refused = [(await bench.refreshed(order)).reject_code for order in (entry, later)]
    assert refused == ["RISK_DAILY_LOSS", "RISK_DAILY_LOSS"]
    assert [row["asset"] for row in told] == ["USDT"]
    assert Decimal(told[0]["loss"]) >= Decimal("0.01")
    assert bid > 0


async def test_nothing_is_entered_on_balances_that_are_too_old_until_they_were_read(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await bench.quote_of_the_simulator()
        await _is(bench, await bench.order(alice, connection), "filled")
        monkeypatch.setattr(settings.CONFIG, "order_timeout_seconds", 1.0)
        await bench.simulator.fault("drop_before", method="GET", path="/api/v3/account")
        bench.engine.tenants[alice.pk].state.accounts[connection.pk].asked_at -= 61
        entry = await bench.order(alice, connection)
        await _is(bench, entry, "rejected")
        exit_order = await bench.order(alice, connection, side=Side.SELL, quantity=Decimal("0.005"))
        await _is(bench, exit_order, "filled")

        async def was_asked_for() -> bool:
            return bool((await bench.simulator.counters())["faults"].get("drop_before", 0))

        await until(was_asked_for)
        await bench.simulator.control("DELETE", "/faults")

        async def is_known_again() -> bool:
            order = await bench.order(alice, connection)
            await until(lambda: _has_ended(bench, order))
            return (await bench.refreshed(order)).status == "filled"

        await until(is_known_again)
        refused = await bench.refreshed(entry)
    assert refused.reject_code == "NOT_READY"


async def _has_ended(bench: Bench, order: Order) -> bool:
    return (await bench.refreshed(order)).status in ("filled", "rejected")


def _book(bid: Decimal, *, valid: bool) -> BookState:
    levels = ((bid, Decimal(100)),), ((bid + 1, Decimal(100)),)
    bids, asks = levels if valid else ((), ())
    return BookState(SYMBOL, time.time_ns(), valid, "" if valid else "a gap", bids, asks)


async def _book_is(bench: Bench, bid: Decimal, *, valid: bool) -> None:
    """Tells the engine of a book, and returns when it knows."""
    await bench.tell(_book(bid, valid=valid))

    async def is_so() -> bool:
        book = bench.engine.desk.books.get((FEED, SYMBOL))
        return book is not None and book.valid == valid

    await until(is_so)


async def _jumped(bench: Bench, times: int) -> None:
    async def is_so() -> bool:
        return bench.engine.desk.figures["price_gaps"] == times

    await until(is_so)


async def test_nothing_is_entered_on_a_book_in_doubt_but_exits_pass(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        bid, _ = await bench.quote_of_the_simulator()
        await _is(bench, await bench.order(alice, connection), "filled")
        await _book_is(bench, bid, valid=False)
        entry = await bench.order(alice, connection)
        await _is(bench, entry, "rejected")
        await _is(bench, await bench.order(alice, connection, side=Side.SELL, quantity=Decimal("0.005")), "filled")
        await _book_is(bench, bid, valid=True)
        await _is(bench, await bench.order(alice, connection), "filled")
        refused = await bench.refreshed(entry)
    assert refused.reject_code == "RISK_DEPTH"


async def test_a_jump_of_the_price_stops_entries_until_the_book_is_read_anew(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        bid, ask = await bench.quote_of_the_simulator()
        await _book_is(bench, bid, valid=True)
        await _is(bench, await bench.order(alice, connection), "filled")
        await bench.quote(str(bid * 2), str(ask * 2))
        await _jumped(bench, 1)
        entry = await bench.order(alice, connection)
        await _is(bench, entry, "rejected")
        # It may have been a fault of the feed: what it said is asked for anew, and written down once.
        assert await demand.asked_anew(bench._redis, FEED) == {SYMBOL}
        await bench.quote_of_the_simulator()
        await _jumped(bench, 2)
        await _is(bench, await bench.order(alice, connection, side=Side.SELL, quantity=Decimal("0.005")), "filled")
        still = await bench.order(alice, connection)
        await _is(bench, still, "rejected")
        await _book_is(bench, bid, valid=False)
        await _book_is(bench, bid, valid=True)
        await _is(bench, await bench.order(alice, connection), "filled")
        refused = [(await bench.refreshed(order)).reject_code for order in (entry, still)]
        told = await database.run(_events, "risk.price_gap")
    assert refused == ["RISK_PRICE_GAP", "RISK_PRICE_GAP"]
    assert [(row["symbol"], row["part"]) for row in told] == [(SYMBOL, "1")]
