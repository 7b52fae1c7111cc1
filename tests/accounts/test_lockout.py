"""Failed log-ins are counted and locked per e-mail and per address, alike for e-mails that nobody has (ACC-3)."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import gate, lockout, passwords, services
from accounts.caller import Caller
from accounts.models import LoginAttempt, LoginTries, User
from accounts.stored_keys import stored_key
from accounts.tenancy import everyone
from audit.models import AuditLog
from desproject.lib.clock import ManualClock
from desproject.lib.errors import DomainError, InvalidInput
from tests.accounts.conftest import AtOnce
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db
HOME = Caller("192.0.2.7", "a browser")
WRONG = "wrong-wrong"
MINUTE, HOUR = 60, 3600
EMAILS = ["alice@example.org", "nobody@example.org"]
Try = Callable[..., str]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 21, 12, tzinfo=UTC))


@pytest.fixture(autouse=True)
def _no_request_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on tries a minute, failed or not, would come first."""
    monkeypatch.setattr("accounts.limits.PER_EMAIL", "10000/m")
    monkeypatch.setattr("accounts.limits.PER_ADDRESS", "10000/m")


@pytest.fixture
def attempt(clock: ManualClock) -> Try:
    """Tries to log in; answers "in" or the error's code."""

    def attempt(email: str = "alice@example.org", password: str = WRONG, caller: Caller = HOME) -> str:
        try:
            gate.check_credentials(email=email, password=password, caller=caller, clock=clock)
        except DomainError as error:
            return error.code
        return "in"

    return attempt


@pytest.mark.parametrize("email", EMAILS)
def test_after_five_failures_an_email_is_locked_whoever_has_it(alice: User, attempt: Try, email: str) -> None:
    answers = [attempt(email) for _ in range(7)]
    assert answers == ["BAD_CREDENTIALS"] * 5 + ["LOGIN_LOCKED"] * 2
    assert attempt(email, PASSWORD) == "LOGIN_LOCKED", "the right password isn't told from a wrong one"


def test_a_lock_of_one_email_is_nobody_elses(alice: User, bob: User, attempt: Try) -> None:
    for _ in range(6):
        attempt()
    assert attempt("bob@example.org", PASSWORD) == "in"


def test_the_case_of_the_email_makes_no_other_account(alice: User, attempt: Try) -> None:
    answers = [attempt(email) for email in ("alice@example.org", "ALICE@example.org", "Alice@Example.Org") * 2]
    assert answers[-1] == "LOGIN_LOCKED"


def test_the_lock_says_how_long_it_lasts(alice: User, attempt: Try, clock: ManualClock) -> None:
    for _ in range(5):
        attempt()
    clock.advance(5 * MINUTE)
    with pytest.raises(gate.LoginLocked) as locked:
        gate.check_credentials(email=alice.email, password=PASSWORD, caller=HOME, clock=clock)
    assert locked.value.retry_after == 10 * MINUTE


def _lock_length(attempt: Try, clock: ManualClock) -> int:
    """Fails until locked, then waits minute by minute until the lock is over."""
    while attempt() != "LOGIN_LOCKED":
        pass
    minutes = 0
    while LoginTries.objects.get(pk="email:alice@example.org").locked_until > clock.now():  # type: ignore[operator]
        clock.advance(MINUTE)
        minutes += 1
    return minutes


def test_each_lock_is_twice_as_long_up_to_a_day(alice: User, attempt: Try, clock: ManualClock, settings: Any) -> None:
    settings.CONFIG = settings.CONFIG.model_copy(update={"lockout_address_tries": 10_000})
    lengths = [_lock_length(attempt, clock) for _ in range(9)]
    assert lengths == [15, 30, 60, 120, 240, 480, 960, 1440, 1440]


def test_a_day_after_a_lock_its_memory_is_gone(alice: User, attempt: Try, clock: ManualClock, settings: Any) -> None:
    settings.CONFIG = settings.CONFIG.model_copy(update={"lockout_address_tries": 10_000})
    assert [_lock_length(attempt, clock) for _ in range(2)] == [15, 30]
    clock.advance(24 * HOUR + 1)
    assert _lock_length(attempt, clock) == 15


def test_five_failures_count_only_when_close_together(alice: User, attempt: Try, clock: ManualClock) -> None:
    for _ in range(20):
        assert attempt() == "BAD_CREDENTIALS"
        clock.advance(3 * MINUTE + 46)


def test_the_window_slides(alice: User, attempt: Try, clock: ManualClock) -> None:
    clock.advance(14 * MINUTE)
    assert [attempt() for _ in range(4)] == ["BAD_CREDENTIALS"] * 4
    clock.advance(2 * MINUTE)
    assert [attempt() for _ in range(2)] == ["BAD_CREDENTIALS", "LOGIN_LOCKED"]


def test_a_right_password_forgets_the_accounts_failures(alice: User, attempt: Try) -> None:
    for _ in range(3):
        assert [attempt() for _ in range(4)] == ["BAD_CREDENTIALS"] * 4
        assert attempt(password=PASSWORD) == "in"
    alice.refresh_from_db()
    assert (alice.failed_attempts, alice.last_failed_at, alice.locked_until) == (0, None, None)


def test_the_users_row_shows_the_lock(alice: User, attempt: Try, clock: ManualClock) -> None:
    for _ in range(6):
        attempt()
    alice.refresh_from_db()
    assert (alice.failed_attempts, alice.last_failed_at) == (6, clock.now())
    assert alice.locked_until is not None
    assert (alice.locked_until - clock.now()).total_seconds() == 15 * MINUTE


def test_an_address_is_locked_after_twenty_failures_on_any_account(alice: User, attempt: Try) -> None:
    answers = [attempt(f"user{number}@example.org") for number in range(21)]
    assert answers == ["BAD_CREDENTIALS"] * 20 + ["LOGIN_LOCKED"]
    assert attempt(password=PASSWORD) == "LOGIN_LOCKED"
    assert attempt(password=PASSWORD, caller=Caller("192.0.2.8", "")) == "in"


def test_own_log_ins_in_between_win_an_attacker_no_tries(alice: User, attempt: Try) -> None:
    for number in range(20):
        assert attempt(f"user{number}@example.org") == "BAD_CREDENTIALS"
        answer = attempt(password=PASSWORD)
    assert answer == "LOGIN_LOCKED"


def test_one_ipv6_network_is_one_address(alice: User, attempt: Try) -> None:
    callers = [Caller(f"2001:db8::{number:x}", "") for number in range(1, 22)]
    answers = [attempt(f"user{number}@example.org", caller=caller) for number, caller in enumerate(callers)]
    assert answers[-1] == "LOGIN_LOCKED"
    assert attempt(password=PASSWORD, caller=Caller("2001:db8:0:1::1", "")) == "in"


def test_without_an_address_only_the_account_is_counted(alice: User, attempt: Try) -> None:
    nowhere = Caller(None, "")
    for number in range(25):
        attempt(f"user{number}@example.org", caller=nowhere)
    assert attempt(password=PASSWORD, caller=nowhere) == "in"


def test_every_try_is_a_row_with_its_reason(alice: User, attempt: Try) -> None:
    for _ in range(6):
        attempt()
    attempt("nobody@example.org")
    attempt("bob@example.org")
    kept = LoginAttempt.objects.order_by("id").values_list("user", "email", "success", "reason")
    rows: list[tuple[object, ...]] = list(kept)
    assert rows[:5] == [(alice.pk, alice.email, False, "BAD_CREDENTIALS")] * 5
    assert rows[5] == (alice.pk, alice.email, False, "LOGIN_LOCKED")
    assert rows[6] == (None, "nobody@example.org", False, "BAD_CREDENTIALS")


def test_locks_are_in_the_audit_log(alice: User, attempt: Try) -> None:
    for _ in range(6):
        attempt()
    with everyone():
        events = AuditLog.objects.filter(event_type="login.locked").values_list("user", "ip", "details")
        assert list(events) == [(alice.pk, HOME.ip, {"what": "account"})]


def test_guessing_by_changing_the_password_locks_too(alice: User, clock: ManualClock, attempt: Try) -> None:
    def change(current: str) -> None:
        services.change_password(user=alice, current=current, new="plum-sunrise-otter", caller=HOME, clock=clock)

    for _ in range(5):
        with pytest.raises(InvalidInput):
            change(WRONG)
    with pytest.raises(gate.LoginLocked):
        change(PASSWORD)
    assert attempt(password=PASSWORD) == "LOGIN_LOCKED"


def test_unlocking_lets_in_at_once(alice: User, attempt: Try) -> None:
    for _ in range(6):
        attempt()
    lockout.unlock(alice.email)
    assert attempt(password=PASSWORD) == "in"


def test_old_counters_are_forgotten_and_fresh_ones_kept(alice: User, attempt: Try, clock: ManualClock) -> None:
    attempt("old@example.org", caller=Caller(None, ""))
    clock.advance(48 * HOUR + 1)
    attempt("new@example.org", caller=Caller(None, ""))
    assert lockout.forget_old_tries(clock.now()) == 1
    assert list(LoginTries.objects.values_list("pk", flat=True)) == ["email:new@example.org"]


@pytest.mark.parametrize("email", EMAILS)
@pytest.mark.django_db(transaction=True)
def test_eight_wrong_tries_at_once_count_eight(alice: User, attempt: Try, at_once: AtOnce, email: str) -> None:
    answers = at_once(lambda: attempt(email), 8)
    assert set(answers) == {"BAD_CREDENTIALS", "LOGIN_LOCKED"}
    assert 5 <= answers.count("BAD_CREDENTIALS") < 5 + passwords.TURNS
    assert LoginTries.objects.get(pk=f"email:{email}").failed == 8
    assert LoginAttempt.objects.filter(email=email, success=False).count() == 8


@pytest.mark.django_db(transaction=True)
def test_eight_right_ones_at_once_all_get_in(alice: User, attempt: Try, at_once: AtOnce) -> None:
    assert at_once(lambda: attempt(password=PASSWORD), 8) == ["in"] * 8
    assert not LoginTries.objects.exists()


def test_known_and_unknown_emails_cost_the_same_work(
    alice: User, attempt: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No clock is asked: the same hashes and the same statements take the same time."""
    stored_key("audit_key")  # read once a process
    # A process's first audit row reads the key of the log.
    attempt("first@example.org")
    work = []
    for email in EMAILS:
        hashes: list[str] = []
        monkeypatch.setattr("accounts.passwords.check_password", lambda _, encoded, kept=hashes: kept.append(encoded))
        with CaptureQueriesContext(connection) as queries:
            attempt(email)
        # On PostgreSQL a scope goes ahead of a statement, on a line of its own.
        statements = [" ".join(query["sql"].rpartition(";\n")[2].split()[:3]) for query in queries.captured_queries]
        work.append((
            [encoded.rsplit("$", 2)[0] for encoded in hashes],
            [words for words in statements if "SAVEPOINT" not in words],
        ))
    assert work[0] == work[1]
    assert len(work[0][0]) == 1
