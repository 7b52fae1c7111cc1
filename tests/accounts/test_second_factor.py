"""The second factor: enrolling, codes that work once, recovery codes."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from accounts import gate, second_factor, services
from accounts.models import LoginTries, RecoveryCode, User
from accounts.tenancy import everyone
from accounts.unreadable import SecretUnreadable
from audit.models import AuditLog
from desproject.lib.clock import ManualClock
from desproject.lib.errors import DomainError, InvalidInput
from tests.accounts.conftest import AtOnce
from tests.accounts.second_factor import CALLER, app_code
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 21, 12, tzinfo=UTC)
LogIn = Callable[..., str]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def secret(alice: User) -> str:
    enrolment = second_factor.enrol(alice, CALLER)
    alice.refresh_from_db()
    return enrolment.secret


@pytest.fixture
def codes(alice: User, secret: str, clock: ManualClock) -> list[str]:
    """Alice's recovery codes; her second factor is on, and a minute has gone by."""
    codes = second_factor.confirm(alice, app_code(secret, clock.now()), CALLER, clock)
    alice.refresh_from_db()
    clock.advance(60)
    return codes


@pytest.fixture
def log_in(clock: ManualClock) -> LogIn:
    """Answers "in" or the error's code."""

    def log_in(otp: str = "", password: str = PASSWORD) -> str:
        try:
            gate.check_credentials(email="alice@example.org", password=password, otp=otp, caller=CALLER, clock=clock)
        except DomainError as error:
            return error.code
        return "in"

    return log_in


def test_the_enrolments_address_says_what_an_app_needs(alice: User) -> None:
    enrolment = second_factor.enrol(alice, CALLER)
    uri = urlsplit(enrolment.otpauth_uri)
    query = {name: values[0] for name, values in parse_qs(uri.query).items()}
    assert (uri.scheme, uri.netloc, unquote(uri.path)) == ("otpauth", "totp", "/DES:alice@example.org")
    assert query == {"secret": enrolment.secret, "issuer": "DES", "algorithm": "SHA1", "digits": "6", "period": "30"}
    assert len(base64.b32decode(enrolment.secret)) == 20
    assert enrolment.qr_svg.startswith("data:image/svg+xml")
    assert enrolment.secret not in repr(enrolment)


def test_the_secret_is_stored_sealed_for_its_row(alice: User, bob: User, secret: str) -> None:
    assert alice.otp_secret.startswith("ENC[v1]:")
    assert secret not in alice.otp_secret
    bob.otp_secret = alice.otp_secret
    with pytest.raises(SecretUnreadable):
        second_factor.accepts(bob, app_code(secret, START), ManualClock(START))


def test_until_it_is_confirmed_the_password_is_enough(alice: User, secret: str, log_in: LogIn) -> None:
    assert log_in() == "in"


def test_a_wrong_first_code_confirms_nothing(alice: User, secret: str, clock: ManualClock) -> None:
    late = app_code(secret, clock.now() + timedelta(minutes=10))
    with pytest.raises(InvalidInput):
        second_factor.confirm(alice, late, CALLER, clock)
    alice.refresh_from_db()
    assert not alice.otp_verified


def test_confirmed_the_password_alone_is_not_enough(codes: list[str], log_in: LogIn) -> None:
    assert log_in() == "OTP_REQUIRED"
    assert log_in(password="wrong-wrong") == "BAD_CREDENTIALS"
    assert log_in(otp="000000", password="wrong-wrong") == "BAD_CREDENTIALS"


def test_asking_for_the_code_is_no_failure(codes: list[str], log_in: LogIn) -> None:
    assert [log_in() for _ in range(8)] == ["OTP_REQUIRED"] * 8
    assert not LoginTries.objects.exists()


def test_the_apps_code_lets_in_once(codes: list[str], secret: str, log_in: LogIn, clock: ManualClock) -> None:
    code = app_code(secret, clock.now())
    assert log_in(code) == "in"
    assert log_in(code) == "OTP_INVALID"


def test_the_code_that_confirmed_is_spent_too(
    alice: User, secret: str, log_in: LogIn, clock: ManualClock
) -> None:
    code = app_code(secret, clock.now())
    second_factor.confirm(alice, code, CALLER, clock)
    assert log_in(code) == "OTP_INVALID"


@pytest.mark.parametrize(("seconds", "answer"), [(-60, "OTP_INVALID"), (-30, "in"), (30, "in"), (60, "OTP_INVALID")])
def test_clocks_may_differ_by_one_code(
    codes: list[str], secret: str, log_in: LogIn, clock: ManualClock, seconds: int, answer: str
) -> None:
    clock.advance(600)
    assert log_in(app_code(secret, clock.now() + timedelta(seconds=seconds))) == answer


def test_an_older_code_is_not_taken_after_a_newer_one(
    codes: list[str], secret: str, log_in: LogIn, clock: ManualClock
) -> None:
    before = app_code(secret, clock.now() - timedelta(seconds=30))
    assert log_in(app_code(secret, clock.now())) == "in"
    assert log_in(before) == "OTP_INVALID"


@pytest.mark.parametrize("otp", ["12345", "1234567", "abcdef", "\u0661" * 6, "-12345", "0x1234", " ", "x" * 40])
def test_what_is_no_code_is_refused(codes: list[str], log_in: LogIn, otp: str) -> None:
    assert log_in(otp) == "OTP_INVALID"


def test_guessing_codes_locks(codes: list[str], log_in: LogIn) -> None:
    assert [log_in("000000") for _ in range(6)] == ["OTP_INVALID"] * 5 + ["LOGIN_LOCKED"]


@pytest.mark.django_db(transaction=True)
def test_a_code_works_once_even_at_once(
    codes: list[str], secret: str, log_in: LogIn, clock: ManualClock, at_once: AtOnce
) -> None:
    code = app_code(secret, clock.now())
    assert sorted(at_once(lambda: log_in(code), 4)) == ["OTP_INVALID"] * 3 + ["in"]


@pytest.mark.django_db(transaction=True)
def test_a_recovery_code_works_once_even_at_once(codes: list[str], log_in: LogIn, at_once: AtOnce) -> None:
    assert sorted(at_once(lambda: log_in(codes[0]), 4)) == ["OTP_INVALID"] * 3 + ["in"]


def test_each_recovery_code_lets_in_once_however_it_is_typed(codes: list[str], log_in: LogIn) -> None:
    assert len(set(codes)) == 10
    assert log_in(codes[0]) == "in"
    assert log_in(codes[1].lower().replace("-", " ")) == "in"
    assert log_in(codes[0]) == "OTP_INVALID"


def test_of_recovery_codes_only_hashes_are_kept(codes: list[str]) -> None:
    kept = list(RecoveryCode.objects.values_list("code_hash", flat=True))
    assert len(kept) == 10
    assert all(len(hashed) == 64 for hashed in kept)


def test_bobs_recovery_codes_are_none_of_alices(codes: list[str], bob: User, clock: ManualClock) -> None:
    assert not second_factor.accepts(bob, codes[0], clock)


def test_what_is_on_cannot_be_enrolled_over(alice: User, codes: list[str]) -> None:
    with pytest.raises(second_factor.OtpAlreadyEnabled):
        second_factor.enrol(alice, CALLER)


def test_only_the_newest_enrolment_can_be_confirmed(alice: User, secret: str, clock: ManualClock) -> None:
    second_factor.enrol(User.objects.get(pk=alice.pk), CALLER)
    with pytest.raises(second_factor.OtpNotEnrolled):
        second_factor.confirm(alice, app_code(secret, clock.now()), CALLER, clock)


def test_disabling_takes_the_password_and_forgets_all(alice: User, codes: list[str], log_in: LogIn) -> None:
    with pytest.raises(InvalidInput):
        services.disable_otp(user=alice, password="wrong-wrong", caller=CALLER)
    assert log_in() == "OTP_REQUIRED"
    services.disable_otp(user=alice, password=PASSWORD, caller=CALLER)
    assert log_in() == "in"
    alice.refresh_from_db()
    assert (alice.otp_secret, alice.otp_verified) == ("", False)
    assert not RecoveryCode.objects.exists()


def test_each_act_is_in_the_audit_log(alice: User, codes: list[str]) -> None:
    services.disable_otp(user=alice, password=PASSWORD, caller=CALLER)
    with everyone():
        events = AuditLog.objects.filter(user=alice).order_by("id").values_list("event_type", flat=True)
        assert list(events) == ["otp.enrolled", "otp.confirmed", "otp.disabled"]
