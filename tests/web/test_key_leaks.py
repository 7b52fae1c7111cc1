"""The age of a key, the reminder to renew it, and what one action does when it leaked (KEY-7)."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client as Browser
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from connections.custody import open_credentials
from connections.gateways import Credentials
from connections.models import Connection
from connections.streaming.user_accounts import accounts_by_feed
from connections.tasks import remind_of_old_keys
from desproject.lib.clock import SYSTEM_CLOCK, ManualClock
from risk.models import KillSwitch
from tests.web.exchange import ALICE_KEY, ALICE_NEW_KEY, BOB_KEY, WITHDRAWING_KEY, ThreadedExchange
from tests.web.rows import Owned, make_everything


@pytest.fixture
def alices(alice: User) -> Owned:
    return make_everything(alice, ALICE_KEY)


@pytest.fixture
def aged(alices: Owned) -> Connection:
    """Her connection, 31 days later."""
    set_key_back(alices.connection, 31)
    return alices.connection


def set_key_back(row: Connection, days: int) -> None:
    with everyone():
        Connection.objects.filter(pk=row.pk).update(key_set_at=SYSTEM_CLOCK.now() - timedelta(days=days))


def stored(row: Connection) -> Connection:
    with everyone():
        return Connection.objects.get(pk=row.pk)  # type: ignore[no-any-return]


def reminders() -> list[AuditLog]:
    with everyone():
        return list(AuditLog.objects.filter(event_type="api_key.old"))


def leak(client: APIClient, row: Connection, key: Credentials | None = None) -> Any:
    body = {"api_key": key.api_key, "api_secret": key.api_secret} if key else {}
    return client.post(f"/api/connections/{row.pk}/leaked", body, format="json")


@pytest.mark.parametrize(("days", "old"), [(0, False), (30, False), (31, True)])
def test_a_keys_age_is_shown(as_alice: APIClient, alices: Owned, days: int, old: bool) -> None:
    set_key_back(alices.connection, days)
    body = as_alice.get(f"/api/connections/{alices.connection.pk}").json()
    assert (body["key_age_days"], body["key_is_old"]) == (days, old)


def test_a_new_key_is_young_again(as_alice: APIClient, aged: Connection, exchange: ThreadedExchange) -> None:
    body = {"api_key": ALICE_NEW_KEY.api_key, "api_secret": ALICE_NEW_KEY.api_secret}
    answer = as_alice.patch(f"/api/connections/{aged.pk}", body, format="json")
    assert answer.json()["key_age_days"] == 0


def test_renaming_makes_no_key_younger(as_alice: APIClient, aged: Connection) -> None:
    assert as_alice.patch(f"/api/connections/{aged.pk}", {"name": "other"}, format="json").json()["key_age_days"] == 31


def test_the_owner_of_an_old_key_is_reminded_once_a_month(aged: Connection, alice: User) -> None:
    assert [remind_of_old_keys(), remind_of_old_keys()] == [1, 0]
    (told,) = reminders()
    assert (told.user_id, told.resource_id) == (alice.pk, str(aged.pk))
    assert told.details["days"] == 31
    later = ManualClock(SYSTEM_CLOCK.now() + timedelta(days=31))
    assert remind_of_old_keys(later) == 1


@pytest.mark.parametrize("change", [{"is_deleted": True}, {"status": "disabled"}])
def test_nobody_is_reminded_of_a_key_that_is_gone(aged: Connection, change: dict[str, Any]) -> None:
    with everyone():
        Connection.objects.filter(pk=aged.pk).update(**change)
    assert remind_of_old_keys() == 0


def test_a_leaked_key_is_disabled_and_its_connection_stopped(as_alice: APIClient, alices: Owned, alice: User) -> None:
    row = alices.connection
    answer = leak(as_alice, row)
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert body["connection"]["status"] == "disabled"
    with tenant_scope(alice.pk):
        switch = KillSwitch.objects.get(pk=body["kill_switch"])
        assert (switch.level, switch.target_id, switch.lifted_at) == ("connection", row.pk, None)
        assert AuditLog.objects.filter(event_type="connection.key_disabled", resource_id=str(row.pk)).exists()
    assert row.pk not in {account.connection_id for found in accounts_by_feed().values() for account in found}


def test_its_open_orders_are_counted_and_its_trades_shown_for_review(as_alice: APIClient, alices: Owned) -> None:
    body = leak(as_alice, alices.connection).json()
    assert [row["id"] for row in body["trades"]] == [str(alices.trade.pk)]
    assert body["open_orders"] == (alices.order.status in {"new", "pending", "submitted", "partially_filled"})


def test_a_new_key_takes_its_place_in_the_same_act(
    as_alice: APIClient, alices: Owned, exchange: ThreadedExchange
) -> None:
    before = stored(alices.connection).credential_version
    body = leak(as_alice, alices.connection, ALICE_NEW_KEY).json()
    row = stored(alices.connection)
    assert (body["connection"]["status"], row.credential_version) == ("ok", before + 1)
    assert open_credentials(row) == ALICE_NEW_KEY
    with everyone():
        assert KillSwitch.objects.get(pk=body["kill_switch"]).lifted_at is None, "until its owner has looked"


def test_a_bad_new_key_is_refused_and_the_leaked_one_disabled_all_the_same(
    as_alice: APIClient, alices: Owned, exchange: ThreadedExchange
) -> None:
    answer = leak(as_alice, alices.connection, WITHDRAWING_KEY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "KEY_CAN_WITHDRAW")
    assert stored(alices.connection).status == "disabled"


def test_testing_doesnt_bring_a_disabled_key_back(
    as_alice: APIClient, alices: Owned, exchange: ThreadedExchange
) -> None:
    leak(as_alice, alices.connection)
    answer = as_alice.post(f"/api/connections/{alices.connection.pk}/test")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "KEY_DISABLED")
    assert stored(alices.connection).status == "disabled"


def test_the_next_key_makes_it_work_again(as_alice: APIClient, alices: Owned, exchange: ThreadedExchange) -> None:
    leak(as_alice, alices.connection)
    body = {"api_key": ALICE_NEW_KEY.api_key, "api_secret": ALICE_NEW_KEY.api_secret}
    answer = as_alice.patch(f"/api/connections/{alices.connection.pk}", body, format="json")
    assert answer.json()["status"] == "ok"


def test_the_console_does_it_too(alices: Owned, client: Browser) -> None:
    client.force_login(alices.user)
    answer = client.post(f"/console/connections/{alices.connection.pk}/leaked", HTTP_HX_REQUEST="true")
    assert "The key is disabled" in answer.content.decode()
    assert stored(alices.connection).status == "disabled"


def test_an_administrator_does_it_for_its_owner(alices: Owned, bob: User, client: Browser) -> None:
    User.objects.filter(pk=bob.pk).update(is_admin=True)
    bobs = make_everything(bob, BOB_KEY)
    client.force_login(User.objects.get(pk=bob.pk))
    body = {"action": "disable_leaked_keys", "_selected_action": [str(alices.connection.pk)]}
    assert client.post("/admin/connections/connection/", body).status_code == 302
    assert (stored(alices.connection).status, stored(bobs.connection).status) == ("disabled", "ok")
    with everyone():
        told = AuditLog.objects.get(event_type="admin.key_disabled")
    assert (told.user_id, told.resource_id) == (bob.pk, str(alices.connection.pk))
