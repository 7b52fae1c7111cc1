"""Connections are checked by the clock: by an engine, at a simulated exchange that fails and comes back."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings

from accounts.models import User
from accounts.tenancy import tenant_scope
from audit.models import AuditLog
from connections import database
from connections.models import Connection
from connections.services import disable_key
from tests.trading.engine.harness import Bench, running_bench, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]

_PATH = "/sapi/v1/account/apiRestrictions"


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings.CONFIG, "health_check_seconds", 0.2)


def of(user: User, what: Callable[[], Any]) -> Any:
    with tenant_scope(user.pk):
        return what()


async def seen(user: User, key: Any) -> Connection:
    return await database.run(of, user, lambda: Connection.objects.get(pk=key))


async def events(user: User) -> list[tuple[str, str]]:
    """(event, reason) of the owner's audit log about a connection's health, oldest first."""
    names = ["connection.unhealthy", "connection.recovered"]
    rows = await database.run(
        of, user, lambda: list(AuditLog.objects.filter(event_type__in=names).order_by("pk"))
    )
    return [(row.event_type, row.details["reason"]) for row in rows]


async def has(bench: Bench, user: User, key: Any, status: str) -> Connection:
    async def is_so() -> bool:
        return (await seen(user, key)).status == status

    await until(is_so)
    return await seen(user, key)


async def test_an_exchange_that_fails_makes_it_unhealthy_until_it_is_back(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await bench.simulator.fault("http_error", path=_PATH, status=503, code=0)
        sick = await has(bench, alice, connection.pk, "unhealthy")
        assert sick.failed_checks >= 3
        await bench.simulator.control("DELETE", "/faults")
        well = await has(bench, alice, connection.pk, "ok")
        assert (well.status_reason, well.failed_checks) == ("", 0)
    assert [event for event, _ in await events(alice)] == ["connection.unhealthy", "connection.recovered"]


async def test_a_key_that_may_withdraw_now_is_unhealthy_at_once(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        body = {"api_key": keys.api_key, "permissions": {"can_withdraw": True}}
        await bench.simulator.control("POST", "/keys", body)
        sick = await has(bench, alice, connection.pk, "unhealthy")
        assert "can withdraw" in sick.status_reason
        refused = await bench.order(alice, connection)
        await bench.quote_of_the_simulator()

        async def is_refused() -> bool:
            return (await bench.refreshed(refused)).reject_code == "RISK_CONNECTION_UNHEALTHY"

        await until(is_refused)
    assert len(await events(alice)) == 1


async def test_a_disabled_key_is_never_tried(alice: User, bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, _ = await bench.bind(alice, USDT="100000")
        await database.run(of, alice, lambda: disable_key(user=alice, connection=connection, reason="it leaked"))
        other, _ = await bench.bind(bob, USDT="100000")

        async def bobs_is_checked() -> bool:
            return (await seen(bob, other.pk)).last_checked_at is not None

        await until(bobs_is_checked)
        row = await seen(alice, connection.pk)
    assert (row.status, row.status_reason) == ("disabled", "it leaked")
