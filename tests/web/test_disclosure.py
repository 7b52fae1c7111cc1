"""Nothing trades live before the current risk disclosure was accepted (ACC-9)."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts import disclosure
from accounts.models import DisclosureAcceptance, User
from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from tests.web.exchange import ALICE_KEY
from tests.web.rows import make_connection, make_instance


def order_on(client: APIClient, connection: Any) -> Any:
    return client.post("/api/orders", {
        "connection": str(connection.pk), "symbol": "BTC/USDT", "side": "buy", "type": "market", "quantity": "1",
    }, format="json")  # fmt: skip


def accept(client: APIClient, **body: str) -> Any:
    return client.post("/api/disclosure/accept", body, format="json", HTTP_USER_AGENT="a browser")


def test_the_text_is_shown_with_its_version(as_alice: APIClient) -> None:
    shown = as_alice.get("/api/disclosure").json()
    assert shown["version"] == "1"
    assert "You can lose all of it" in shown["text"]
    assert shown["accepted_at"] is None


def test_accepting_keeps_time_and_address_once(as_alice: APIClient, alice: User) -> None:
    first = accept(as_alice, version="1")
    assert first.status_code == 200
    assert accept(as_alice).json() == first.json()
    with tenant_scope(alice.pk):
        row = DisclosureAcceptance.objects.get()
    assert (row.version, row.ip, row.user_agent) == ("1", "127.0.0.1", "a browser")
    assert as_alice.get("/api/disclosure").json()["accepted_at"] == first.json()["accepted_at"]
    with everyone():
        assert AuditLog.objects.filter(event_type="disclosure.accepted", user=alice).count() == 1


def test_another_version_is_not_accepted(as_alice: APIClient) -> None:
    answer = accept(as_alice, version="0")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "DISCLOSURE_OUTDATED")


def test_no_live_order_before_it(as_alice: APIClient, alice: User) -> None:
    live = make_connection(alice, ALICE_KEY, mode="live")
    refused = order_on(as_alice, live)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "DISCLOSURE_REQUIRED")
    accept(as_alice)
    assert order_on(as_alice, live).status_code == 202


def test_no_live_strategy_starts_before_it(as_alice: APIClient, alice: User) -> None:
    instance = make_instance(make_connection(alice, ALICE_KEY, mode="live"))
    path = f"/api/strategy-instances/{instance.pk}/start"
    assert as_alice.post(path).json()["error"]["code"] == "DISCLOSURE_REQUIRED"
    accept(as_alice)
    assert as_alice.post(path).status_code == 200


@pytest.mark.parametrize("mode", ["testnet", "simulator"])
def test_play_money_needs_no_disclosure(as_alice: APIClient, alice: User, mode: str) -> None:
    assert order_on(as_alice, make_connection(alice, ALICE_KEY, mode=mode)).status_code == 202


def test_a_new_version_is_accepted_anew(as_alice: APIClient, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    accept(as_alice)
    monkeypatch.setattr(disclosure, "current_version", lambda: "2")
    answer = order_on(as_alice, make_connection(alice, ALICE_KEY, mode="live"))
    assert answer.json()["error"]["code"] == "DISCLOSURE_REQUIRED"


def test_what_alice_accepted_is_not_bobs(as_alice: APIClient, as_bob: APIClient, bob: User) -> None:
    accept(as_alice)
    assert order_on(as_bob, make_connection(bob, ALICE_KEY, mode="live")).status_code == 403
