"""`manage.py emergency_stop`: all of the installation's trading, at once, until it is lifted."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User
from accounts.tenancy import everyone
from audit.models import AuditLog
from connections import database
from connections.gateways import OrderType
from risk.models import KillSwitch
from tests.trading.engine.harness import Bench, running_bench, until
from tests.web.exchange import ALICE_KEY
from tests.web.rows import make_connection, make_order
from trading.models import Order

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


@pytest.fixture
def operator(transactional_db: None) -> User:
    return User.objects.create_superuser("operator@example.org", "correct-horse-battery-1")


def emergency_stop(*arguments: str) -> str:
    out = StringIO()
    call_command("emergency_stop", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def audited(event: str) -> list[dict[str, Any]]:
    with everyone():
        return list(AuditLog.objects.filter(event_type=event).values_list("details", flat=True))


async def test_it_cancels_everybodys_orders_and_refuses_new_ones_until_lifted(
    alice: User, bob: User, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        resting = [await _resting(bench, user) for user in (alice, bob)]
        said = await database.run(emergency_stop, "--reason", "the exchange lies")
        assert "No order is open." in said
        assert [(await bench.refreshed(order)).status for order in resting] == ["cancelled", "cancelled"]
        refused = await bench.order(alice, await database.run(_connection_of, resting[0]))
        await _has(bench, refused, "rejected")
        await database.run(emergency_stop, "--lift", "--checked", "--reason", "mended")
        again = await bench.order(alice, await database.run(_connection_of, resting[0]))
        await _has(bench, again, "filled")


async def _resting(bench: Bench, user: User) -> Order:
    connection, _ = await bench.bind(user, USDT="100000")
    bid, _ = await bench.quote_of_the_simulator()
    order = await bench.order(user, connection, type=OrderType.LIMIT, price=bid - 500)
    await _has(bench, order, "submitted")
    return order


async def _has(bench: Bench, order: Order, status: str) -> None:
    async def is_so() -> bool:
        await bench.quote_of_the_simulator()
        return (await bench.refreshed(order)).status == status

    await until(is_so)


def _connection_of(order: Order) -> Any:
    with everyone():
        return Order.objects.select_related("connection").get(pk=order.pk).connection


def test_lifting_wants_the_check_list_done(operator: User) -> None:
    emergency_stop("--reason", "drill")
    with pytest.raises(CommandError, match="every key that may have leaked was replaced"):
        emergency_stop("--lift", "--reason", "hurry")
    with everyone():
        assert KillSwitch.objects.get().lifted_at is None
    emergency_stop("--lift", "--checked", "--reason", "the drill is over")
    with everyone():
        assert KillSwitch.objects.get().lifted_at is not None
    assert [details["reason"] for details in audited("kill_switch.lifted")] == ["the drill is over"]


def test_only_an_administrator_may_act(alice: User, operator: User) -> None:
    with pytest.raises(CommandError, match=r"alice@example\.org is no administrator"):
        emergency_stop("--reason", "drill", "--as", "alice@example.org")
    with everyone():
        assert not KillSwitch.objects.exists()


def test_without_an_administrator_it_says_how_to_make_one(alice: User) -> None:
    with pytest.raises(CommandError, match="createsuperuser"):
        emergency_stop("--reason", "drill")


def test_orders_that_stay_open_are_told(alice: User, operator: User) -> None:
    """No engine runs here: the stop is in the database, and nobody cancels."""
    make_order(make_connection(alice, ALICE_KEY), status="submitted")
    with pytest.raises(SystemExit) as end:
        emergency_stop("--reason", "drill", "--wait", "0")
    assert end.value.code == 2
    with everyone():
        assert KillSwitch.objects.get().lifted_at is None


def test_lifting_what_does_not_hold_is_refused(operator: User) -> None:
    with pytest.raises(CommandError, match="no kill switch holds"):
        emergency_stop("--lift", "--checked", "--reason", "nothing")
