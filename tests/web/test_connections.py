"""Binding exchange accounts: the key is tested first, stored sealed, shown masked."""

from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from connections import services
from connections.custody import open_credentials, seal_credentials
from connections.gateways import Credentials
from connections.models import Connection
from tests.web.exchange import (
    ALICE_KEY,
    ALICE_NEW_KEY,
    READ_ONLY_KEY,
    RESTRICTED_KEY,
    WITHDRAWING_KEY,
    ThreadedExchange,
)
from trading.models import InstanceStatus, StrategyInstance


def bind(client: APIClient, key: Credentials = ALICE_KEY, **changes: Any) -> Any:
    body = {
        "name": "spot", "exchange": "binance_spot", "mode": "simulator",
        "api_key": key.api_key, "api_secret": key.api_secret, **changes,
    }
    return client.post("/api/connections", body, format="json")


def stored() -> list[Connection]:
    with everyone():
        return list(Connection.objects.all())


def test_a_working_key_is_stored_sealed_and_shown_masked(
    as_alice: APIClient, alice: User, exchange: ThreadedExchange
) -> None:
    answer = bind(as_alice)
    assert answer.status_code == 201, answer.content
    body = answer.json()
    assert body["api_key_masked"] == "BINANCE_***_1c77"
    assert (body["status"], body["mode"], body["key_version"]) == ("ok", "simulator", 1)
    assert body["permissions"]["can_trade"] is True
    assert body["last_checked_at"].endswith("Z")
    assert "api_key" not in body
    assert "api_secret" not in body
    (row,) = stored()
    assert row.user_id == alice.pk
    assert row.api_key_sealed.startswith("ENC[v1]:")
    assert open_credentials(row) == ALICE_KEY
    with tenant_scope(alice.pk):
        assert AuditLog.objects.filter(event_type="connection.created", resource_id=str(row.pk)).exists()


@pytest.mark.parametrize(("key", "hint"), [(ALICE_KEY, "Works from any address"), (RESTRICTED_KEY, "")])
def test_a_key_that_works_from_any_address_is_taken_with_a_hint(
    as_alice: APIClient, exchange: ThreadedExchange, key: Credentials, hint: str
) -> None:
    body = bind(as_alice, key).json()
    assert body["permissions"]["ip_restricted"] is not bool(hint)
    assert body["key_hint"].partition(":")[0] == hint
    shown = as_alice.get(f"/api/connections/{body['id']}").json()
    assert shown["key_hint"] == body["key_hint"]


def test_nothing_is_said_of_a_key_that_was_never_tried() -> None:
    assert Connection().key_hint == ""


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (Credentials("no-such-key-000000", "whatever-secret"), "KEY_REFUSED"),
        (Credentials(ALICE_KEY.api_key, "not-her-secret"), "KEY_REFUSED"),
        (WITHDRAWING_KEY, "KEY_CAN_WITHDRAW"),
        (READ_ONLY_KEY, "KEY_CANNOT_TRADE"),
    ],
)
def test_a_key_that_is_not_right_is_not_stored(
    as_alice: APIClient, exchange: ThreadedExchange, key: Credentials, code: str
) -> None:
    answer = bind(as_alice, key)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code
    assert stored() == []


def test_an_exchange_that_cannot_be_reached_is_told_and_nothing_stored(
    as_alice: APIClient, exchange: ThreadedExchange, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(settings.CONFIG, "simulator_url", "http://127.0.0.1:1")
    answer = bind(as_alice)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "EXCHANGE_UNREACHABLE"
    assert stored() == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"exchange": "mtgox"}, "exchange"),
        ({"mode": "paper"}, "mode"),
        ({"mode": "real"}, "mode"),
        ({"name": ""}, "name"),
        ({"name": "n" * 81}, "name"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "key\nX-Other: 1"}, "api_key"),
        ({"api_key": "schlüssel"}, "api_key"),
        ({"api_secret": None}, "api_secret"),
        ({"api_secret": ["a"]}, "api_secret"),
    ],
)
def test_bad_values_are_named(
    as_alice: APIClient, exchange: ThreadedExchange, change: dict[str, Any], field: str
) -> None:
    answer = bind(as_alice, **change)
    assert answer.status_code == 400, answer.content
    assert field in answer.json()["error"]["fields"]
    assert stored() == []


def test_the_simulator_is_refused_where_there_is_none(as_alice: APIClient, settings: Any) -> None:
    assert settings.CONFIG.simulator_url == ""
    answer = bind(as_alice)
    assert answer.status_code == 400
    assert "mode" in answer.json()["error"]["fields"]


def test_two_connections_cannot_have_one_name(as_alice: APIClient, exchange: ThreadedExchange) -> None:
    bind(as_alice)
    answer = bind(as_alice)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "NAME_TAKEN"
    assert len(stored()) == 1


def test_renaming_keeps_the_key(as_alice: APIClient, exchange: ThreadedExchange) -> None:
    made = bind(as_alice).json()
    answer = as_alice.patch(f"/api/connections/{made['id']}", {"name": "other"}, format="json")
    assert answer.status_code == 200
    assert answer.json()["name"] == "other"
    (row,) = stored()
    assert row.credential_version == 1
    assert open_credentials(row) == ALICE_KEY


def test_a_name_taken_by_another_is_refused(as_alice: APIClient, exchange: ThreadedExchange) -> None:
    bind(as_alice)
    second = bind(as_alice, name="second").json()
    answer = as_alice.patch(f"/api/connections/{second['id']}", {"name": "spot"}, format="json")
    assert answer.status_code == 409


def test_replacing_the_key_raises_the_credential_version(as_alice: APIClient, exchange: ThreadedExchange) -> None:
    made = bind(as_alice).json()
    body = {"api_key": ALICE_NEW_KEY.api_key, "api_secret": ALICE_NEW_KEY.api_secret}
    answer = as_alice.patch(f"/api/connections/{made['id']}", body, format="json")
    assert answer.status_code == 200
    assert answer.json()["api_key_masked"].endswith("8f02")
    (row,) = stored()
    assert row.credential_version == 2
    assert open_credentials(row) == ALICE_NEW_KEY


@pytest.mark.parametrize("key", [WITHDRAWING_KEY, Credentials("no-such-key-000000", "x")])
def test_a_bad_new_key_leaves_the_old_one(
    as_alice: APIClient, exchange: ThreadedExchange, key: Credentials
) -> None:
    made = bind(as_alice).json()
    body = {"api_key": key.api_key, "api_secret": key.api_secret}
    assert as_alice.patch(f"/api/connections/{made['id']}", body, format="json").status_code == 400
    (row,) = stored()
    assert row.credential_version == 1
    assert open_credentials(row) == ALICE_KEY


def test_a_key_is_only_changed_with_its_secret(as_alice: APIClient, exchange: ThreadedExchange) -> None:
    made = bind(as_alice).json()
    answer = as_alice.patch(f"/api/connections/{made['id']}", {"api_key": "only-the-key"}, format="json")
    assert answer.status_code == 400
    assert "api_secret" in answer.json()["error"]["fields"]


def test_deleting_takes_it_away_and_destroys_the_key(as_alice: APIClient, exchange: ThreadedExchange) -> None:
    made = bind(as_alice).json()
    path = f"/api/connections/{made['id']}"
    assert as_alice.delete(path).status_code == 204
    assert as_alice.get(path).status_code == 404
    assert as_alice.get("/api/connections").json()["results"] == []
    (row,) = stored()
    assert (row.is_deleted, row.api_key_sealed, row.api_secret_sealed) == (True, "", "")
    assert bind(as_alice).status_code == 201, "the name is free again"


def test_a_key_of_a_connection_deleted_meanwhile_is_not_stored(
    as_alice: APIClient, exchange: ThreadedExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/api/connections/{bind(as_alice).json()['id']}"
    known = services.accepted_permissions

    def accepted(*args: Any) -> Any:
        found = known(*args)
        assert as_alice.delete(path).status_code == 204
        return found

    monkeypatch.setattr(services, "accepted_permissions", accepted)
    body = {"api_key": ALICE_NEW_KEY.api_key, "api_secret": ALICE_NEW_KEY.api_secret}
    assert as_alice.patch(path, body, format="json").status_code == 404
    (row,) = stored()
    assert (row.is_deleted, row.api_key_sealed, row.api_secret_sealed) == (True, "", "")


def test_a_connection_that_a_strategy_runs_on_stays(
    as_alice: APIClient, alice: User, exchange: ThreadedExchange
) -> None:
    made = bind(as_alice).json()
    with tenant_scope(alice.pk):
        StrategyInstance.objects.create(
            user=alice, name="mine", strategy="rsi", connection_id=UUID(made["id"]), symbol="BTC/USDT",
            timeframe="1m", status=InstanceStatus.RUNNING,
        )
    answer = as_alice.delete(f"/api/connections/{made['id']}")
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "CONNECTION_IN_USE"
    assert as_alice.get(f"/api/connections/{made['id']}").status_code == 200


def test_testing_asks_the_exchange_again(as_alice: APIClient, exchange: ThreadedExchange) -> None:
    made = bind(as_alice).json()
    with everyone():
        Connection.objects.update(status="unhealthy", status_reason="was away")
    answer = as_alice.post(f"/api/connections/{made['id']}/test")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["status_reason"]) == ("ok", "")


def test_a_key_that_no_longer_works_makes_the_connection_unhealthy(
    as_alice: APIClient, alice: User, exchange: ThreadedExchange
) -> None:
    made = bind(as_alice).json()
    row = stored()[0]
    from_elsewhere = Credentials("gone-key-000000", "gone")
    _replace(row, from_elsewhere)
    answer = as_alice.post(f"/api/connections/{made['id']}/test")
    assert answer.status_code == 200
    assert answer.json()["status"] == "unhealthy"
    assert answer.json()["status_reason"]


def _replace(row: Connection, credentials: Credentials) -> None:
    sealed = seal_credentials(credentials, user_id=row.user_id, connection_id=row.pk, exchange=row.exchange)
    sealed.store_in(row)
    with tenant_scope(row.user_id):
        row.save()
