"""The one gate: API, console and admin log in through it. Lock, password, second factor; each try recorded."""

from uuid import UUID

from django.db import transaction

from accounts import limits, lockout, passwords, second_factor
from accounts.caller import Caller
from accounts.journal import record_act
from accounts.models import LoginAttempt, User
from accounts.unreadable import SecretUnreadable
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.errors import DomainError, InvalidInput


class BadCredentials(DomainError):
    """E-mail or password is wrong, or the user may not log in: one text for all, so that nothing is told."""

    code = "BAD_CREDENTIALS"
    status = 401


class LoginLocked(DomainError):
    """Too many wrong tries of this e-mail, whether anybody has it or not, or from this address."""

    code = "LOGIN_LOCKED"
    status = 429


class OtpRequired(DomainError):
    """The password is right; the second factor's code is missing."""

    code = "OTP_REQUIRED"
    status = 401


class OtpInvalid(DomainError):
    """The password is right; the second factor's code is wrong, too old, or was used before."""

    code = "OTP_INVALID"
    status = 401


def check_credentials(
    *, email: str, password: str, caller: Caller, otp: str = "", clock: Clock = SYSTEM_CLOCK
) -> User:
    """The user whose e-mail and password these are, without a session. Each try is counted and recorded.

    ``otp`` is the second factor's code, or a recovery code; who has none of these switched on needs none. Does the
    same, with the same answers, for e-mails that nobody has.

    Raises BadCredentials, LoginLocked, OtpRequired, OtpInvalid, SecretUnreadable, TooManyTries.
    """
    limits.check_login(caller, email)
    # The turn ends when the try is counted: of tries that come together, no more than turns slip past a lock.
    with passwords.turn():
        user = User.objects.with_email(email).first()
        refusal = _locked(email, caller, clock) or _refusal(user, password, otp, clock)
        with transaction.atomic():
            _record_try(email, user, caller, refusal, clock)
    if refusal is not None:
        raise refusal
    assert user is not None  # noqa: S101  # else there is a refusal
    return user


def _locked(email: str, caller: Caller, clock: Clock) -> DomainError | None:
    seconds = lockout.locked_for(email, caller, clock.now())
    if seconds is None:
        return None
    return LoginLocked("too many wrong tries, wait until they are forgotten", retry_after=seconds)


def _refusal(user: User | None, password: str, otp: str, clock: Clock) -> DomainError | None:
    accepted = passwords.matches(password, user)
    if user is None or not accepted or not user.is_active:
        return BadCredentials("e-mail or password is wrong")
    if not user.otp_verified:
        return None
    if not otp:
        return OtpRequired("enter the code of your authenticator app", fields={"otp": ["Enter the code."]})
    try:
        if second_factor.accepts(user, otp, clock):
            return None
    except SecretUnreadable as error:
        return error
    return OtpInvalid("the code is wrong or was used before", fields={"otp": ["This code isn't accepted."]})


def _record_try(email: str, user: User | None, caller: Caller, refusal: DomainError | None, clock: Clock) -> None:
    LoginAttempt.objects.create(
        user=user, email=email[:254], ip=caller.ip, success=refusal is None, reason=refusal.code if refusal else "",
        user_agent=caller.user_agent,
    )
    user_id = user.pk if user else None
    if refusal is None:
        lockout.unlock(email)
        record_act("login.succeeded", user_id, caller)
        return
    record_act("login.failed", user_id, caller, reason=refusal.code)
    if not isinstance(refusal, OtpRequired | SecretUnreadable):
        _count_failure(email, user_id, caller, clock)


def _count_failure(email: str, user_id: UUID | None, caller: Caller, clock: Clock) -> None:
    for what in lockout.count_failure(email, caller, clock.now()):
        record_act("login.locked", user_id, caller, what=what)


def require_password(user: User, password: str, field: str, caller: Caller, clock: Clock = SYSTEM_CLOCK) -> None:
    """Makes sure that it is really the user who asks: a stolen token mustn't serve to guess the password.

    Counted like a try to log in. Raises InvalidInput that names ``field``, LoginLocked, TooManyTries.
    """
    limits.check_login(caller, user.email)
    with passwords.turn():
        if refusal := _locked(user.email, caller, clock):
            raise refusal
        if passwords.matches(password, user):
            return
        with transaction.atomic():
            record_act("password.refused", user.pk, caller)
            _count_failure(user.email, user.pk, caller, clock)
    raise InvalidInput("the password is wrong", fields={field: ["This is not your password."]})
