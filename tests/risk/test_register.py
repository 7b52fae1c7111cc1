"""The risk register: numbered without a gap, made of the audit log once, counted by week, month and quarter."""

import json
import threading
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from audit.record import record
from desproject.lib.clock import SYSTEM_CLOCK, ManualClock
from risk import register
from risk.models import KillLevel, RiskEvent
from risk.report import Period, report
from risk.services import press_kill_switch
from tests.conftest import PASSWORD
from tests.web.conftest import access_token

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def events() -> list[RiskEvent]:
    with everyone():
        return list(RiskEvent.objects.order_by("year", "number"))


def entered(user: User, at: datetime = AT, **values: Any) -> RiskEvent:
    row = register.enter(
        user_id=user.pk, type="R3.2", severity="medium", description="it slipped", occurred_at=at, **values
    )
    assert row is not None
    return row


def press(user: User, level: str, reason: str) -> None:
    with tenant_scope(user.pk):
        press_kill_switch(user=user, level=level, target_id=user.pk, reason=reason, flatten=False)


@pytest.mark.django_db
def test_events_are_numbered_by_year_over_all_users(alice: User, bob: User) -> None:
    rows = [entered(alice), entered(bob), entered(alice, at=AT + timedelta(days=60)), entered(bob)]
    assert [row.reference for row in rows] == ["RE-2026-001", "RE-2026-002", "RE-2027-001", "RE-2026-003"]


@pytest.mark.django_db(transaction=True)
def test_numbers_have_no_gap_when_many_enter_at_once(alice: User) -> None:
    failed: list[BaseException] = []

    def enter_some() -> None:
        try:
            for _ in range(5):
                entered(alice)
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            connection.close()

    threads = [threading.Thread(target=enter_some) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [row.number for row in events()] == list(range(1, 16))


@pytest.mark.django_db
def test_what_the_audit_log_tells_is_entered_once(alice: User, bob: User) -> None:
    details = {"symbol": "BTC/USDT", "expected": "100", "actual": "101", "slippage": "0.01"}
    record("risk.slippage", user_id=alice.pk, resource_type="order", details=details)
    record("login.succeeded", user_id=alice.pk)
    press(bob, KillLevel.USER, "a bad day")
    assert (register.follow(), register.follow()) == (2, 0)
    assert [(row.user_id, row.type, row.severity, row.description) for row in events()] == [
        (alice.pk, "R3.2", "medium", "BTC/USDT filled at 101, expected were 100 (slippage 0.01)"),
        (bob.pk, "R3.1", "high", "kill switch of the user: a bad day"),
    ]


@pytest.mark.django_db
def test_the_whole_systems_stop_is_critical() -> None:
    operator = User.objects.create_superuser("operator@example.org", PASSWORD)
    press(operator, KillLevel.SYSTEM, "drill")
    register.follow()
    assert [row.severity for row in events()] == ["critical"]


@pytest.mark.django_db
def test_what_concerns_the_installation_belongs_to_an_administrator(alice: User) -> None:
    record("connection.unhealthy", user_id=None, details={"reason": "{symbol} can't break the text"})
    assert register.follow() == 0, "there is no administrator yet"
    operator = User.objects.create_superuser("operator@example.org", PASSWORD)
    assert register.follow() == 1
    assert [row.user_id for row in events()] == [operator.pk]


@pytest.mark.django_db
def test_what_befalls_an_exchange_or_a_stream_is_in_the_register() -> None:
    User.objects.create_superuser("operator@example.org", PASSWORD)
    record("exchange.watch_only", user_id=None, details={"feed": "upbit:live", "call": "account", "reason": "odd"})
    record("stream.cuts", user_id=None, details={"stream": "user upbit:live", "cuts": 6})
    assert register.follow() == 2
    assert [(row.type, row.severity, row.description) for row in events()] == [
        ("R1.1", "high", "nothing is entered at upbit:live any more: odd"),
        ("R1.2", "medium", "user upbit:live was cut 6 times within an hour"),
    ]


@pytest.mark.django_db
def test_events_are_counted_by_week_month_and_quarter(alice: User) -> None:
    for moment in ("2026-11-16", "2026-11-15", "2026-10-01", "2026-09-30", "2025-12-31"):
        entered(alice, at=datetime.fromisoformat(f"{moment}T23:59:00+00:00"))
    with everyone():
        RiskEvent.objects.filter(number=1, year=2026).update(resolved_at=AT)
        found = {period: report(period, 5, AT) for period in Period}
    told = {period: [(str(each.start), each.events, each.open) for each in rows] for period, rows in found.items()}
    assert told[Period.WEEKLY][:2] == [("2026-11-16", 1, 0), ("2026-11-09", 1, 1)]
    assert told[Period.MONTHLY][:3] == [("2026-11-01", 2, 1), ("2026-10-01", 1, 1), ("2026-09-01", 1, 1)]
    assert [row[:2] for row in told[Period.QUARTERLY]] == [
        ("2026-10-01", 3), ("2026-07-01", 1), ("2026-04-01", 0), ("2026-01-01", 0), ("2025-10-01", 1),
    ]
    assert found[Period.QUARTERLY][0].by_severity == {"medium": 3}


@pytest.mark.django_db
def test_the_report_counts_what_happened_just_now(alice: User) -> None:
    record("strategy.error", user_id=alice.pk, details={"stack": "…"})
    out = StringIO()
    call_command("risk_report", "--period", "monthly", "--count", "1", "--json", stdout=out)
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["by_type"] == {"R6.1": 1}


@pytest.fixture
def operator(db: None) -> APIClient:
    client = APIClient()
    user = User.objects.create_superuser("operator@example.org", PASSWORD)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {access_token(user)}")
    return client


def test_an_administrator_enters_and_amends_and_the_audit_log_says_so(operator: APIClient, alice: User) -> None:
    body = {
        "user": str(alice.pk), "type": "R1.2", "severity": "high", "description": "the stream was cut",
        "occurred_at": "2026-11-20T12:00:00Z",
    }
    made = operator.post("/api/risk/events", body, format="json")
    assert made.status_code == 201, made.content
    changes = {
        "resolved_at": "2026-11-20T13:00:00Z", "lessons": "two providers", "owner": "Olga",
        "timeline": [{"at": "2026-11-20T12:05:00Z", "what": "seen"}],
        "action_items": [{"what": "order a line", "owner": "Olga", "due": "2026-12-01"}],
    }
    changed = operator.patch(f"/api/risk/events/{made.json()['id']}", changes, format="json")
    assert changed.status_code == 200, changed.content
    assert changed.json()["reference"] == "RE-2026-001"
    assert changed.json()["action_items"] == [
        {"what": "order a line", "owner": "Olga", "due": "2026-12-01", "done": False}
    ]
    with everyone():
        told = AuditLog.objects.filter(event_type__startswith="risk_event.").values_list("event_type", flat=True)
        assert sorted(told) == ["risk_event.amended", "risk_event.entered"]


def test_what_cannot_be_audited_is_not_amended(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    event = entered(alice)

    def fails(*args: Any, **rest: Any) -> None:
        raise RuntimeError("no audit log")

    monkeypatch.setattr(register, "record", fails)
    with pytest.raises(RuntimeError):
        register.amend(administrator=alice, event=event, changes={"lessons": "none"})
    assert events()[0].lessons == ""


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": "R9.9"}, "type"),
        ({"severity": "bad"}, "severity"),
        ({"resolved_at": "2026-11-20T11:59:59Z"}, "resolved_at"),
        ({"occurred_at": "2027-01-01T00:00:00Z"}, "occurred_at"),
        ({"timeline": [{"at": "soon", "what": "x"}]}, "timeline.0.at"),
        ({"action_items": [{"owner": "Olga"}]}, "action_items.0.what"),
    ],
)
def test_bad_values_are_named(operator: APIClient, alice: User, changes: dict[str, Any], field: str) -> None:
    answer = operator.patch(f"/api/risk/events/{entered(alice).pk}", changes, format="json")
    assert answer.status_code == 400
    assert field in answer.json()["error"]["fields"]


def test_old_events_are_not_looked_for_again(alice: User) -> None:
    record("strategy.error", user_id=alice.pk)
    assert register.follow(ManualClock(SYSTEM_CLOCK.now() + timedelta(days=8))) == 0
