"""The gate before live trading: a new or changed configuration runs on paper first (STG-6)."""

import importlib
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.test import Client as Browser
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tenancy import everyone
from audit.models import AuditLog
from tests.conftest import PASSWORD
from tests.web.conftest import Client
from tests.web.exchange import ALICE_KEY
from tests.web.rows import AT, make_connection, make_instance
from trading.dry_run import fingerprint
from trading.models import DryRunLift, PaperRun, StrategyInstance

pytestmark = pytest.mark.usefixtures("gated")


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings.CONFIG, "dry_run_seconds", 3600)


@pytest.fixture
def instance(alice: User) -> StrategyInstance:
    return make_instance(make_connection(alice, ALICE_KEY))


@pytest.fixture
def as_operator(alice: User, charlie: User, logged_in: Client) -> APIClient:
    User.objects.filter(pk=charlie.pk).update(is_admin=True)
    charlie.refresh_from_db()
    return logged_in(charlie)


def ran(instance: StrategyInstance, seconds: int) -> None:
    with everyone():
        row = StrategyInstance.objects.get(pk=instance.pk)
        PaperRun.objects.create(
            user_id=row.user_id, instance=row, fingerprint=fingerprint(row, row.connection_id, row.connection_b_id),
            started_at=AT, seen_at=AT + timedelta(seconds=seconds),
        )  # fmt: skip


def start(client: APIClient, instance: StrategyInstance) -> Any:
    return client.post(f"/api/strategy-instances/{instance.pk}/start")


def test_a_new_configuration_is_not_started_live(as_alice: APIClient, instance: StrategyInstance) -> None:
    answer = start(as_alice, instance)
    assert answer.status_code == 409
    assert answer.json()["error"] == {
        "code": "DRY_RUN_NEEDED", "message": "this configuration has run on paper for 0 of 3600 seconds",
        "fields": {"mode": ["Must be paper for 3600 more seconds first, or an administrator lifts that."]},
    }  # fmt: skip


def test_it_is_started_on_paper(as_alice: APIClient, instance: StrategyInstance) -> None:
    as_alice.patch(f"/api/strategy-instances/{instance.pk}", {"mode": "paper"}, format="json")
    assert start(as_alice, instance).json()["status"] == "running"


def test_what_it_ran_in_several_times_adds_up(as_alice: APIClient, instance: StrategyInstance) -> None:
    ran(instance, 1000)
    ran(instance, 2599)
    assert "1 more seconds" in start(as_alice, instance).json()["error"]["fields"]["mode"][0]
    ran(instance, 1)
    assert start(as_alice, instance).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"params": {"period": 9}}, {"symbol": "ETH/USDT"}, {"timeframe": "5m"},
        {"sizing": {"type": "base_amount", "amount": "0.1"}},
    ],
)
def test_a_change_begins_anew(as_alice: APIClient, instance: StrategyInstance, change: dict[str, Any]) -> None:
    ran(instance, 3600)
    assert as_alice.patch(f"/api/strategy-instances/{instance.pk}", change, format="json").status_code == 200
    assert start(as_alice, instance).json()["error"]["code"] == "DRY_RUN_NEEDED"


def test_another_connection_begins_anew(as_alice: APIClient, alice: User, instance: StrategyInstance) -> None:
    ran(instance, 3600)
    other = make_connection(alice, ALICE_KEY, name="other")
    as_alice.patch(f"/api/strategy-instances/{instance.pk}", {"connection": str(other.pk)}, format="json")
    assert start(as_alice, instance).json()["error"]["code"] == "DRY_RUN_NEEDED"


def test_a_name_or_the_way_back_from_paper_is_no_change(as_alice: APIClient, instance: StrategyInstance) -> None:
    ran(instance, 3600)
    path = f"/api/strategy-instances/{instance.pk}"
    for change in ({"name": "renamed"}, {"mode": "paper"}, {"mode": "live"}):
        assert as_alice.patch(path, change, format="json").status_code == 200
    assert start(as_alice, instance).status_code == 200


def test_the_instance_tells_how_far_it_has_come(as_alice: APIClient, instance: StrategyInstance) -> None:
    ran(instance, 600)
    shown = as_alice.get(f"/api/strategy-instances/{instance.pk}").json()["dry_run"]
    assert shown == {"required_seconds": 3600, "ran_seconds": 600, "left_seconds": 3000, "lifted": False}


def test_an_administrator_lifts_it_and_both_are_told(
    as_alice: APIClient, as_operator: APIClient, alice: User, charlie: User, instance: StrategyInstance
) -> None:
    path = f"/api/strategy-instances/{instance.pk}/dry-run-lift"
    assert as_operator.post(path, {"reason": "known well"}, format="json").status_code == 204
    assert start(as_alice, instance).status_code == 200
    with everyone():
        told = AuditLog.objects.filter(event_type__endswith="dry_run_lifted", resource_id=str(instance.pk))
        assert {(row.event_type, row.user_id, row.details["reason"]) for row in told} == {
            ("strategy.dry_run_lifted", alice.pk, "known well"), ("admin.dry_run_lifted", charlie.pk, "known well"),
        }
        assert DryRunLift.objects.get().lifted_by_id == charlie.pk


def test_a_lift_is_of_the_configuration_that_it_saw(
    as_alice: APIClient, as_operator: APIClient, instance: StrategyInstance
) -> None:
    path = f"/api/strategy-instances/{instance.pk}"
    as_operator.post(f"{path}/dry-run-lift", {"reason": "known well"}, format="json")
    as_alice.patch(path, {"timeframe": "5m"}, format="json")
    assert start(as_alice, instance).json()["error"]["code"] == "DRY_RUN_NEEDED"


@pytest.mark.parametrize(("body", "status"), [({}, 400), ({"reason": ""}, 400), ({"reason": "x", "by": "y"}, 400)])
def test_a_lift_needs_a_reason(
    as_operator: APIClient, instance: StrategyInstance, body: dict[str, str], status: int
) -> None:
    answer = as_operator.post(f"/api/strategy-instances/{instance.pk}/dry-run-lift", body, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, "INVALID")


def test_the_owner_does_not_lift_it(as_alice: APIClient, instance: StrategyInstance) -> None:
    answer = as_alice.post(f"/api/strategy-instances/{instance.pk}/dry-run-lift", {"reason": "x"}, format="json")
    assert answer.status_code == 403


def test_what_needs_no_lift_gets_none(as_operator: APIClient, instance: StrategyInstance) -> None:
    ran(instance, 3600)
    answer = as_operator.post(f"/api/strategy-instances/{instance.pk}/dry-run-lift", {"reason": "x"}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "DRY_RUN_NOT_NEEDED")


@pytest.mark.parametrize(("reason", "lifts"), [("known well", 1), ("", 0)])
def test_the_admin_site_lifts_it_with_a_reason(
    charlie: User, instance: StrategyInstance, reason: str, lifts: int
) -> None:
    User.objects.filter(pk=charlie.pk).update(is_admin=True)
    browser = Browser()
    browser.post("/admin/login/", {"username": charlie.email, "password": PASSWORD, "next": "/admin/"})
    body = {"action": "lift_dry_runs", "_selected_action": [str(instance.pk)], "reason": reason}
    browser.post("/admin/trading/strategyinstance/", body)
    with everyone():
        assert DryRunLift.objects.count() == lifts


def test_what_traded_live_before_there_was_a_gate_goes_on(as_alice: APIClient, instance: StrategyInstance) -> None:
    migration = importlib.import_module("trading.migrations.0011_known_instances_go_on")
    migration.let_them_go_on(apps, None)
    assert start(as_alice, instance).json()["error"]["code"] == "DRY_RUN_NEEDED"  # it was never started
    with everyone():
        StrategyInstance.objects.filter(pk=instance.pk).update(started_at=AT)
    migration.let_them_go_on(apps, None)
    assert start(as_alice, instance).status_code == 200
