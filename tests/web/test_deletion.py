"""Deleting a user ends everything of theirs at once. What engines and exchanges do about it: tests/system."""

from datetime import timedelta

import pytest
from django.test import Client as Browser
from rest_framework.test import APIClient

from accounts.caller import Caller
from accounts.deletion import LastAdministrator, delete_user
from accounts.models import Device, RecoveryCode, Role, User
from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from connections.key_destruction import destroy_due_keys
from connections.models import Connection
from desproject.lib.clock import SYSTEM_CLOCK, ManualClock
from tests.conftest import PASSWORD
from tests.web.conftest import Client
from tests.web.exchange import ALICE_KEY, BOB_KEY
from tests.web.rows import Owned, make_connection, make_everything
from trading.models import Order, Reservation, StrategyInstance

HERE = Caller(ip="192.0.2.1", user_agent="a test")


@pytest.fixture
def operator(charlie: User) -> User:
    User.objects.filter(pk=charlie.pk).update(is_admin=True)
    charlie.refresh_from_db()
    return charlie


@pytest.fixture
def owned(alice: User) -> Owned:
    """Alice trades: a running strategy, an open order."""
    owned = make_everything(alice, ALICE_KEY)
    with everyone():
        StrategyInstance.objects.filter(pk=owned.instance.pk).update(status="running")
    RecoveryCode.objects.create(user=alice, code_hash="0" * 64)
    return owned


def key_of(owned: Owned) -> str:
    with everyone():
        return str(Connection.objects.get(pk=owned.connection.pk).api_key_sealed)


def audited(event: str, user: User) -> list[AuditLog]:
    with everyone():
        return list(AuditLog.objects.filter(event_type=event, user=user))


def end_trading(owned: Owned) -> None:
    with everyone():
        Order.objects.filter(user=owned.user).update(status="cancelled")
        Reservation.objects.filter(user=owned.user).update(released_at=SYSTEM_CLOCK.now())


def delete_alice(as_alice: APIClient) -> None:
    assert as_alice.post("/api/me/delete", {"password": PASSWORD}, format="json").status_code == 200


def test_a_wrong_password_deletes_nobody(as_alice: APIClient, alice: User) -> None:
    answer = as_alice.post("/api/me/delete", {"password": "not-this-one"}, format="json")
    assert answer.status_code == 400
    assert "password" in answer.json()["error"]["fields"]
    assert not User.objects.get(pk=alice.pk).is_deleted


def test_no_token_device_or_password_lets_in_any_more(
    as_alice: APIClient, anonymous: APIClient, owned: Owned
) -> None:
    delete_alice(as_alice)
    assert as_alice.get("/api/me").status_code == 401
    answer = anonymous.post("/api/login", {"email": owned.user.email, "password": PASSWORD}, format="json")
    assert answer.status_code == 401
    assert not Device.objects.filter(user=owned.user, revoked_at__isnull=True).exists()
    assert not RecoveryCode.objects.filter(user=owned.user).exists()


def test_the_email_is_free_again(as_alice: APIClient, anonymous: APIClient, owned: Owned) -> None:
    delete_alice(as_alice)
    body = {"email": owned.user.email.upper(), "password": "plum-sunrise-otter"}
    assert anonymous.post("/api/register", body, format="json").status_code == 201


def test_strategies_stop(as_alice: APIClient, owned: Owned) -> None:
    delete_alice(as_alice)
    with everyone():
        instance = StrategyInstance.objects.get(pk=owned.instance.pk)
    assert (instance.status, instance.status_reason) == ("stopped", "the user was deleted")


def test_a_key_is_kept_while_an_order_is_open(as_alice: APIClient, owned: Owned) -> None:
    delete_alice(as_alice)
    assert destroy_due_keys() == 0
    assert key_of(owned)


def test_a_key_is_destroyed_when_nothing_is_open(as_alice: APIClient, owned: Owned) -> None:
    delete_alice(as_alice)
    end_trading(owned)
    assert destroy_due_keys() == 1
    assert key_of(owned) == ""
    (row,) = audited("api_key.destroyed", owned.user)
    assert row.details["left_behind"] == ""
    assert destroy_due_keys() == 0


def test_a_key_is_destroyed_after_ten_minutes_whatever_is_open(as_alice: APIClient, owned: Owned) -> None:
    delete_alice(as_alice)
    now = SYSTEM_CLOCK.now()
    assert destroy_due_keys(ManualClock(now + timedelta(minutes=9))) == 0
    assert destroy_due_keys(ManualClock(now + timedelta(minutes=11))) == 1
    assert key_of(owned) == ""
    (row,) = audited("api_key.destroyed", owned.user)
    assert row.details["left_behind"] == "orders are open on this connection"


def test_keys_of_the_living_stay(as_alice: APIClient, bob: User, owned: Owned) -> None:
    bobs = make_everything(bob, BOB_KEY)
    delete_alice(as_alice)
    end_trading(owned)
    assert destroy_due_keys(ManualClock(SYSTEM_CLOCK.now() + timedelta(days=1))) == 1
    assert key_of(bobs)


def test_history_stays_for_the_auditor(as_alice: APIClient, owned: Owned, operator: User, logged_in: Client) -> None:
    delete_alice(as_alice)
    answer = logged_in(operator).get("/api/audit-logs", {"user": str(owned.user.pk)})
    assert "user.deleted" in {row["event_type"] for row in answer.json()["results"]}
    with tenant_scope(owned.user.pk):
        assert Order.objects.count() == 1


def test_an_administrator_deletes_others(operator: User, logged_in: Client, owned: Owned, bob: User) -> None:
    assert logged_in(operator).delete(f"/api/users/{owned.user.pk}").status_code == 204
    assert User.objects.get(pk=owned.user.pk).is_deleted
    assert not User.objects.get(pk=bob.pk).is_deleted
    (row,) = audited("user.deleted", operator)
    assert row.details == {"user": str(owned.user.pk), "by": str(operator.pk)}
    assert logged_in(operator).delete(f"/api/users/{owned.user.pk}").status_code == 404


@pytest.mark.parametrize("role", [Role.TRADER, Role.MANAGER])
def test_nobody_else_deletes_others(role: Role, as_bob: APIClient, bob: User, owned: Owned) -> None:
    User.objects.filter(pk=bob.pk).update(role=role)
    User.objects.filter(pk=owned.user.pk).update(manager=bob)
    assert as_bob.delete(f"/api/users/{owned.user.pk}").status_code == 404
    assert not User.objects.get(pk=owned.user.pk).is_deleted


def test_the_last_administrator_stays(operator: User) -> None:
    with pytest.raises(LastAdministrator):
        delete_user(deleter=operator, user_id=operator.pk, caller=HERE)
    assert not User.objects.get(pk=operator.pk).is_deleted


def test_the_console_deletes_by_password(alice: User) -> None:
    make_connection(alice, ALICE_KEY)
    browser = Browser()
    browser.force_login(alice)
    assert browser.post("/account/delete", {"password": "not-this-one"}).status_code == 422
    assert browser.post("/account/delete", {"password": PASSWORD})["Location"] == "/login"
    assert User.objects.get(pk=alice.pk).is_deleted
    assert browser.get("/account").status_code == 302


def test_the_admin_deletes_by_an_action(operator: User, owned: Owned) -> None:
    browser = Browser()
    browser.force_login(operator)
    chosen = {"action": "delete_users", "_selected_action": [str(owned.user.pk)]}
    assert browser.post("/admin/accounts/user/", chosen).status_code == 302
    assert User.objects.get(pk=owned.user.pk).is_deleted
