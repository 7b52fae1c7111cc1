"""Registering, logging in and out, refreshing, changing the password. What each changes commits with its audit row."""

import uuid
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet

from accounts import beta_codes, gate, limits, listeners, passwords, second_factor, tokens
from accounts.caller import Caller
from accounts.journal import record_act
from accounts.models import Device, User
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.errors import Conflict, NotFound


class EmailTaken(Conflict):
    """A living user has this e-mail, in whatever case."""

    code = "EMAIL_TAKEN"


@dataclass(frozen=True, slots=True)
class Session:
    """A user logged in on a device, with fresh tokens."""

    user: User
    device: Device
    access: str = field(repr=False)
    refresh: str = field(repr=False)


def register(
    *, email: str, password: str, device_name: str, caller: Caller, beta_code: str = "", clock: Clock = SYSTEM_CLOCK
) -> Session:
    """Creates a user and logs them in. Raises BetaCodeInvalid, WeakPassword, EmailTaken, TooManyTries."""
    tokens.require_key()
    limits.check_login(caller, email)
    passwords.require_strong(password, email, "password")
    hashed = passwords.hash_password(password)
    with transaction.atomic():
        # Before the e-mail is looked at: without a code nobody is told who is here. Taken back with the transaction.
        hint = beta_codes.use(beta_code, clock)
        user = create_user(email, hashed, beta_code=hint)
        record_act("user.registered", user.pk, caller)
        return _open_session(user, device_name, caller, clock)


def create_user(email: str, hashed: str, **fields: Any) -> User:
    """A user with this e-mail and password hash. Raises EmailTaken."""
    try:
        with transaction.atomic():
            return User.objects.create(email=email, password=hashed, **fields)
    except IntegrityError:
        raise EmailTaken(
            "this e-mail is already registered", fields={"email": ["This e-mail is already registered."]}
        ) from None


def log_in(
    *, email: str, password: str, device_name: str, caller: Caller, otp: str = "", clock: Clock = SYSTEM_CLOCK
) -> Session:
    """Passes the gate and opens a session on the device. Raises what ``gate.check_credentials`` raises."""
    user = gate.check_credentials(email=email, password=password, otp=otp, caller=caller, clock=clock)
    tokens.require_key()
    with transaction.atomic():
        return _open_session(user, device_name, caller, clock)


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
            record_act("token.reused", user.pk, caller, device=claims.device_id)
            listeners.tell_sessions_ended(user.pk)
    if not renewed:
        raise tokens.TokenInvalid("the token was used before or its device was logged out")
    return _session(user, Device(pk=claims.device_id, user=user), jti, clock)


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
        record_act("logout", user.pk, caller, device=device_id)
        listeners.tell_sessions_ended(user.pk)


def change_password(
    *, user: User, current: str, new: str, caller: Caller, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Sets a new password and revokes every token of the user.

    Raises InvalidInput, WeakPassword, LoginLocked, TooManyTries.
    """
    gate.require_password(user, current, "current_password", caller, clock)
    passwords.require_strong(new, user.email, "new_password")
    hashed = passwords.hash_password(new)
    with transaction.atomic():
        set_password(user, hashed, clock)
        record_act("password.changed", user.pk, caller)


def disable_otp(*, user: User, password: str, caller: Caller, clock: Clock = SYSTEM_CLOCK) -> None:
    """Logging in takes the password only from now on. Raises InvalidInput, LoginLocked, TooManyTries."""
    gate.require_password(user, password, "password", caller, clock)
    second_factor.remove(user, caller)


def revoke_device(*, user: User, device_id: UUID, caller: Caller, clock: Clock = SYSTEM_CLOCK) -> None:
    """Ends one device's session and its open websockets. Raises NotFound."""
    with transaction.atomic():
        living = Device.objects.filter(pk=device_id, user=user, revoked_at__isnull=True)
        if not living.update(revoked_at=clock.now()):
            raise NotFound("no such device")
        record_act("device.revoked", user.pk, caller, device=device_id)
        listeners.tell_sessions_ended(user.pk)


def devices(user: User, clock: Clock = SYSTEM_CLOCK) -> "QuerySet[Device]":
    """Where the user is logged in: what was neither revoked nor left alone until its refresh token ended."""
    since = clock.now() - settings.REFRESH_TOKEN_LIFETIME
    return Device.objects.filter(user=user, revoked_at__isnull=True, last_used_at__gt=since)


def set_password(user: User, hashed: str, clock: Clock) -> None:
    """Every token, device and browser session of before ends with it."""
    User.objects.filter(pk=user.pk).update(
        password=hashed, token_version=F("token_version") + 1, updated_at=clock.now()
    )
    Device.objects.filter(user=user, revoked_at__isnull=True).update(revoked_at=clock.now())
    listeners.tell_sessions_ended(user.pk)


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
    return Session(user, device, access, tokens.issue(user, device, "refresh", now=now, jti=jti))
