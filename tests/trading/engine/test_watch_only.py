"""An exchange whose answers don't fit any more, end to end: entries are refused, exits and cancels pass, and the
operators' records tell."""

import contextlib
from typing import Any

import pytest
from django.conf import settings

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from connections import database
from connections.gateways import OrderType, Side, UnexpectedShape
from tests.trading.engine.harness import FEED, Bench, running_bench, until
from trading.models import Order
from trading.services import cancel_order

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


async def test_an_exchange_that_answers_nonsense_takes_no_entries_and_lets_everything_out(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(settings.CONFIG, "breaker_failures", 100)
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000", BTC="1")
        bid, _ = await bench.quote_of_the_simulator()
        resting = await bench.order(alice, connection, type=OrderType.LIMIT, price=bid - 500)
        await _ended(bench, resting, "submitted")
        await bench.simulator.fault("malformed", path="/api/v3/account", status=200, count=5)
        await _ask_in_vain(bench, alice, connection.pk)
        watch = bench.engine.desk.pool.watch

        async def is_watched() -> bool:
            return bool(watch.reason(FEED))

        await until(is_watched)
        entry = await _ended(bench, await bench.order(alice, connection), "rejected")
        await _ended(bench, await bench.order(alice, connection, side=Side.SELL), "filled")
        await database.run(_cancel, alice, resting)
        await _ended(bench, resting, "cancelled")
        told = await database.run(_told)

    assert entry.reject_code == "RISK_WATCH_ONLY"
    assert "account" in entry.reject_reason
    assert "exchange_watch_only" in caplog.text
    assert [row["feed"] for row in told] == [FEED]


async def _ask_in_vain(bench: Bench, user: User, connection_id: Any) -> None:
    gateway = await bench.engine.desk.pool.get(connection_id, user.pk)
    for _ in range(5):
        with contextlib.suppress(UnexpectedShape):
            await gateway.account()


async def _ended(bench: Bench, order: Order, status: str) -> Order:
    async def is_so() -> bool:
        return (await bench.refreshed(order)).status == status

    await until(is_so)
    return await bench.refreshed(order)


def _cancel(user: User, order: Order) -> None:
    with tenant_scope(user.pk):
        cancel_order(user=user, order=order)


def _told() -> list[dict[str, Any]]:
    with everyone():
        return list(AuditLog.objects.filter(event_type="exchange.watch_only").values_list("details", flat=True))
