"""Registering, logging in and out, refreshing, changing the password. Each is one transaction with its audit row."""

import uuid
from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F

from accounts import journal, passwords, tokens
from accounts.caller import Caller
from accounts.models import Device, LoginAttempt, User
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.errors import Conflict, DomainError, InvalidInput


class EmailTaken(Conflict):
    """A living user has this e-mail, in whatever case."""

    code = "EMAIL_TAKEN"


class BadCredentials(DomainError):
    """E-mail or password is wrong, or the user may not log in: one text for all, so that nothing is told."""

    code = "BAD_CREDENTIALS"
    status = 401


@dataclass(frozen=True, slots=True)
class Session:
    """A user logged in on a device, with fresh tokens."""

    user: User
    access: str
    refresh: str


def register(
    *, email: str, password: str, device_name: str, caller: Caller, clock: Clock = SYSTEM_CLOCK
) -> Session:
    """Creates a user and logs them in. Raises WeakPassword, EmailTaken."""
    passwords.require_strong(password, email, "password")
    hashed = passwords.hash_password(password)
    with transaction.atomic():
        user = _create_user(email, hashed)
        _record("user.registered", user.pk, caller)
        return _open_session(user, device_name, caller, clock)


def _create_user(email: str, hashed: str) -> User:
    try:
        with transaction.atomic():
            return User.objects.create(email=email, password=hashed)
    except IntegrityError:
        raise EmailTaken(
            "this e-mail is already registered", fields={"email": ["This e-mail is already registered."]}
        ) from None


def log_in(*, email: str, password: str, device_name: str, caller: Caller, clock: Clock = SYSTEM_CLOCK) -> Session:
    """Checks the password and opens a session. Raises BadCredentials. Each try is recorded."""
    user = _with_password(email, password, caller)
    with transaction.atomic():
        _record_success(email, user, caller)
        return _open_session(user, device_name, caller, clock)


def check_credentials(*, email: str, password: str, caller: Caller) -> User:
    """The user whose e-mail and password these are, without a session. Raises BadCredentials. Each try is recorded."""
    user = _with_password(email, password, caller)
    with transaction.atomic():
        _record_success(email, user, caller)
    return user


def _with_password(email: str, password: str, caller: Caller) -> User:
    user = User.objects.filter(email__iexact=email, is_deleted=False).first()
    accepted = passwords.matches(password, user)
    if user is not None and accepted and user.is_active:
        return user
    with transaction.atomic():
        _attempt(email, user, caller, success=False)
        _record("login.failed", user.pk if user else None, caller)
    raise BadCredentials("e-mail or password is wrong")


def _record_success(email: str, user: User, caller: Caller) -> None:
    _attempt(email, user, caller, success=True)
    _record("login.succeeded", user.pk, caller)


def refresh(*, token: str, caller: Caller, clock: Clock = SYSTEM_CLOCK) -> Session:
    """Trades a refresh token for a new pair; it is spent then. A spent one revokes its device.

    Raises TokenInvalid, TokenExpired.
    """
    claims = tokens.read(token, "refresh")
    user = living_user(claims)
    now, jti = clock.now(), uuid.uuid4()
    with transaction.atomic():
        device = Device.objects.filter(pk=claims.device_id, user=user, revoked_at__isnull=True)
        renewed = device.filter(refresh_jti=claims.jti).update(
            refresh_jti=jti, last_used_at=now, ip=caller.ip, user_agent=caller.user_agent
        )
        if not renewed and device.update(revoked_at=now):
            _record("token.reused", user.pk, caller, device=claims.device_id)
    if not renewed:
        raise tokens.TokenInvalid("the token was used before or its device was logged out")
    return _session(user, Device(pk=claims.device_id), jti, clock)


def living_user(claims: tokens.Claims) -> User:
    """The token's user. Raises TokenInvalid when deleted, shut out, or when all their tokens were revoked."""
    user = User.objects.filter(pk=claims.user_id, is_deleted=False, is_active=True).first()
    if user is None or user.token_version != claims.token_version:
        raise tokens.TokenInvalid("the token is no longer accepted")
    return user


def log_out(*, user: User, device_id: UUID, caller: Caller, clock: Clock = SYSTEM_CLOCK) -> None:
    """Ends the device's session: none of its tokens is accepted any more."""
    with transaction.atomic():
        Device.objects.filter(pk=device_id, user=user).update(revoked_at=clock.now())
        _record("logout", user.pk, caller, device=device_id)


def change_password(
    *, user: User, current: str, new: str, caller: Caller, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Sets a new password and revokes every token of the user. Raises InvalidInput, WeakPassword."""
    if not passwords.matches(current, user):
        raise InvalidInput("the current password is wrong", fields={"current_password": ["This is not your password."]})
    passwords.require_strong(new, user.email, "new_password")
    hashed = passwords.hash_password(new)
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(
            password=hashed, token_version=F("token_version") + 1, updated_at=clock.now()
        )
        Device.objects.filter(user=user, revoked_at__isnull=True).update(revoked_at=clock.now())
        _record("password.changed", user.pk, caller)


def _open_session(user: User, device_name: str, caller: Caller, clock: Clock) -> Session:
    jti = uuid.uuid4()
    # A device that was revoked comes back under a new id: tokens from before stay dead.
    Device.objects.filter(user=user, name=device_name, revoked_at__isnull=False).delete()
    device, _ = Device.objects.update_or_create(
        user=user,
        name=device_name,
        defaults={
            "refresh_jti": jti, "last_used_at": clock.now(), "ip": caller.ip, "user_agent": caller.user_agent,
        },
    )
    return _session(user, device, jti, clock)


def _session(user: User, device: Device, jti: UUID, clock: Clock) -> Session:
    now = clock.now()
    access = tokens.issue(user, device, "access", now=now)
    return Session(user, access, tokens.issue(user, device, "refresh", now=now, jti=jti))


def _attempt(email: str, user: User | None, caller: Caller, *, success: bool) -> None:
    LoginAttempt.objects.create(
        user=user, email=email[:254], ip=caller.ip, success=success, user_agent=caller.user_agent
    )


def _record(event: str, user_id: UUID | None, caller: Caller, *, device: UUID | None = None) -> None:
    journal.record(
        event, user_id=user_id, resource_type="device" if device else "user",
        resource_id=device or user_id or "", ip=caller.ip, user_agent=caller.user_agent,
    )
