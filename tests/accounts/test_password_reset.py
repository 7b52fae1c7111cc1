"""A new password by a one-time code from a mail."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import gate, limits, password_reset, services, tasks, tokens
from accounts.caller import Caller
from accounts.models import LoginTries, PasswordReset, User
from accounts.passwords import WeakPassword
from accounts.tenancy import everyone
from audit.models import AuditLog
from desproject.lib.clock import ManualClock
from tests.accounts.conftest import AtOnce
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)
HOME = Caller("192.0.2.7", "a browser")
NEW = "plum-sunrise-otter"
Jobs = list[tuple[str, str]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """What was given to the task processes."""
    jobs: Jobs = []
    monkeypatch.setattr("accounts.password_reset.async_task", lambda *job: jobs.append(job))
    return jobs


def mailed_code(queued: Jobs) -> str:
    function, wish_id = queued[-1]
    assert function == "accounts.tasks.mail_password_reset"
    tasks.mail_password_reset(wish_id)
    return str(re.findall(r"^ +(\S{40,})$", str(mail.outbox[-1].body), re.MULTILINE)[0])


@pytest.fixture
def token(alice: User, queued: Jobs, clock: ManualClock) -> str:
    """The code from the mail that alice got."""
    password_reset.request_reset(email=alice.email, caller=HOME, clock=clock)
    return mailed_code(queued)


def test_the_code_is_in_the_mail_only(alice: User, token: str, queued: Jobs) -> None:
    assert mail.outbox[0].to == [alice.email]
    assert token not in str(queued)
    assert token not in str(PasswordReset.objects.values())
    assert len(str(PasswordReset.objects.get().token_hash)) == 64


def test_the_code_sets_the_password_and_ends_every_session(alice: User, token: str) -> None:
    session = services.log_in(email=alice.email, password=PASSWORD, device_name="phone", caller=HOME)
    password_reset.confirm(token=token, new=NEW, caller=HOME)
    with pytest.raises(tokens.TokenInvalid):
        services.refresh(token=session.refresh, caller=HOME)
    with pytest.raises(gate.BadCredentials):
        gate.check_credentials(email=alice.email, password=PASSWORD, caller=HOME)
    assert gate.check_credentials(email=alice.email, password=NEW, caller=HOME) == alice


def test_the_code_works_once_even_at_once(token: str, at_once: AtOnce) -> None:
    results = at_once(lambda: password_reset.confirm(token=token, new=NEW, caller=HOME))
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, password_reset.ResetTokenInvalid) for result in results) == 3


def test_the_other_codes_in_the_mailbox_end_too(alice: User, token: str, queued: Jobs, clock: ManualClock) -> None:
    password_reset.request_reset(email=alice.email, caller=HOME, clock=clock)
    password_reset.confirm(token=mailed_code(queued), new=NEW, caller=HOME, clock=clock)
    with pytest.raises(password_reset.ResetTokenInvalid):
        password_reset.confirm(token=token, new="another-good-password", caller=HOME, clock=clock)


def test_an_old_code_is_refused(token: str, clock: ManualClock) -> None:
    clock.advance(30 * 60 + 1)
    with pytest.raises(password_reset.ResetTokenInvalid):
        password_reset.confirm(token=token, new=NEW, caller=HOME, clock=clock)


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_deleted": True}])
def test_who_was_shut_out_stays_out(alice: User, token: str, change: dict[str, bool]) -> None:
    User.objects.filter(pk=alice.pk).update(**change)
    with pytest.raises(password_reset.ResetTokenInvalid):
        password_reset.confirm(token=token, new=NEW, caller=HOME)


@pytest.mark.parametrize("wrong", ["", "x", "A" * 43, "ä" * 43])
def test_what_is_no_code_is_refused(alice: User, wrong: str) -> None:
    with pytest.raises(password_reset.ResetTokenInvalid):
        password_reset.confirm(token=wrong, new=NEW, caller=HOME)


def test_a_weak_password_leaves_the_code_good(token: str) -> None:
    with pytest.raises(WeakPassword):
        password_reset.confirm(token=token, new="short", caller=HOME)
    password_reset.confirm(token=token, new=NEW, caller=HOME)


def test_a_lock_ends_with_the_new_password(alice: User, token: str) -> None:
    for _ in range(5):
        with pytest.raises(gate.BadCredentials):
            gate.check_credentials(email=alice.email, password="wrong-wrong", caller=HOME)
    password_reset.confirm(token=token, new=NEW, caller=HOME)
    assert not LoginTries.objects.filter(pk=f"email:{alice.email}").exists()
    assert gate.check_credentials(email=alice.email, password=NEW, caller=HOME) == alice


def test_asking_for_nobodys_e_mail_is_the_same_work_without_a_mail(alice: User, queued: Jobs) -> None:
    # A process's first audit row reads the key of the log.
    password_reset.request_reset(email="first@example.org", caller=HOME)
    queued.clear()
    statements = []
    for email in (alice.email, "nobody@example.org"):
        with CaptureQueriesContext(connection) as queries:
            password_reset.request_reset(email=email, caller=HOME)
        # On PostgreSQL a scope goes ahead of a statement, on a line of its own.
        words = [" ".join(query["sql"].rpartition(";\n")[2].split()[:3]) for query in queries.captured_queries]
        statements.append([line for line in words if "SAVEPOINT" not in line])
    assert statements[0] == statements[1]
    assert len(queued) == 2
    for _, wish_id in queued:
        tasks.mail_password_reset(wish_id)
    assert [message.to for message in mail.outbox] == [[alice.email]]


def test_the_task_done_twice_mails_once(token: str, queued: Jobs) -> None:
    tasks.mail_password_reset(queued[0][1])
    assert len(mail.outbox) == 1
    password_reset.confirm(token=token, new=NEW, caller=HOME)


def test_asking_too_often_is_stopped_whoever_has_the_e_mail(alice: User, queued: Jobs) -> None:
    def ask_eleven_times(email: str) -> None:
        # The window is fixed to the clock: a second one may begin in between.
        for _ in range(11):
            password_reset.request_reset(email=email, caller=HOME)

    for email in (alice.email, "NOBODY@example.org"):
        with pytest.raises(limits.TooManyTries):
            ask_eleven_times(email)


def test_asking_and_changing_are_in_the_audit_log(alice: User, token: str) -> None:
    password_reset.confirm(token=token, new=NEW, caller=HOME)
    with everyone():
        events = AuditLog.objects.filter(user=alice).order_by("id").values_list("event_type", flat=True)
        assert list(events) == ["password.reset_requested", "password.reset"]


def test_rows_of_long_ended_codes_are_forgotten(token: str, clock: ManualClock) -> None:
    assert password_reset.forget_old_wishes(clock) == 0
    clock.advance(31 * 86_400)
    assert password_reset.forget_old_wishes(clock) == 1


def test_over_http_known_and_unknown_get_one_answer(alice: User, queued: Jobs, client: Any) -> None:
    answers = [
        client.post("/api/password/reset", {"email": email}, content_type="application/json")
        for email in (alice.email, "nobody@example.org")
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].content == answers[1].content
    body = {"token": "wrong", "new_password": NEW}
    refused = client.post("/api/password/reset/confirm", body, content_type="application/json")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "RESET_TOKEN_INVALID")
