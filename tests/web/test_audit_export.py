"""The audit log as JSON Lines, for users by the API and for operators by a command."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from accounts.models import Role, User
from accounts.tenancy import everyone
from audit import api
from audit.codes import fits
from audit.models import AuditLog
from audit.record import record

pytestmark = pytest.mark.django_db
Ask = Callable[..., Any]


def note(user: User | None, *names: str) -> None:
    for name in names:
        record("a.test", user_id=user.pk if user else None, details={"name": name})


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def names(text: str) -> list[str]:
    return [row["details"]["name"] for row in parsed(text) if row["event_type"] == "a.test"]


@pytest.fixture
def ask(logged_in: Callable[[User], APIClient]) -> Ask:
    return lambda caller, **query: logged_in(caller).get("/api/audit-logs/export", query)


def exported(*arguments: str) -> str:
    out = StringIO()
    call_command("export_audit", *arguments, stdout=out)
    return out.getvalue()


def test_a_user_gets_their_own_rows_oldest_first(alice: User, bob: User, ask: Ask) -> None:
    note(alice, "first", "second")
    note(bob, "bob's")
    answer = ask(alice)
    assert answer["Content-Type"] == "application/x-ndjson"
    assert names(answer.content.decode()) == ["first", "second"]


def test_a_line_says_all_that_the_row_says(alice: User) -> None:
    note(alice, "ünïcode and\na new line")
    (said,) = [row for row in parsed(exported("--user", alice.email)) if row["event_type"] == "a.test"]
    with everyone():
        row = AuditLog.objects.get(pk=said["id"])
    assert (said["user"], said["details"], said["code"]) == (str(alice.pk), row.details, row.code)
    assert fits(row)


def test_what_comes_after_the_last_line_is_asked_for_with_its_id(
    alice: User, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_EXPORTED", 2)
    note(alice, *"abcde")
    after, found = 0, []
    while lines := parsed(ask(alice, after=after).content.decode()):
        assert len(lines) <= 2
        after = lines[-1]["id"]
        found += [row["details"]["name"] for row in lines if row["event_type"] == "a.test"]
    assert found == list("abcde")


def test_a_manager_gets_the_teams_rows_and_nobody_elses(alice: User, bob: User, charlie: User, ask: Ask) -> None:
    User.objects.filter(pk=bob.pk).update(role=Role.MANAGER)
    User.objects.filter(pk=alice.pk).update(manager=bob)
    for user in (alice, bob, charlie):
        note(user, user.email)
    bob.refresh_from_db()
    assert set(names(ask(bob, team="true").content.decode())) == {alice.email, bob.email}
    assert names(ask(bob, user=str(alice.pk)).content.decode()) == [alice.email]
    assert ask(bob, user=str(charlie.pk)).status_code == 404


@pytest.mark.parametrize("after", ["-1", "x", str(2**63)])
def test_a_bad_position_is_named(alice: User, ask: Ask, after: str) -> None:
    answer = ask(alice, after=after)
    assert answer.status_code == 400
    assert "after" in answer.json()["error"]["fields"]


def test_the_command_writes_everybodys_rows_and_nobodys(alice: User, bob: User) -> None:
    note(alice, "alice's")
    note(bob, "bob's")
    note(None, "nobody's")
    assert names(exported()) == ["alice's", "bob's", "nobody's"]
    assert names(exported("--user", "BOB@example.org")) == ["bob's"]


def test_the_command_reads_batch_by_batch(
    alice: User, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Callable[[int], Any]
) -> None:
    monkeypatch.setattr("audit.export._BATCH", 2)
    note(alice, *"abcde")
    with everyone():
        last = AuditLog.objects.order_by("pk").values_list("pk", flat=True)[0] - 1
    with django_assert_num_queries(4):
        assert names(exported("--after", str(last))) == list("abcde")


def test_an_unknown_user_is_named() -> None:
    with pytest.raises(CommandError, match=r"no user nobody@example\.org"):
        exported("--user", "nobody@example.org")
