"""Deleting a user (AUD-3). At once: every session, every new order, every stream and strategy ends. Then the engine
cancels what is open, and the keys are destroyed (connections/key_destruction.py). The rows stay until their time of
retention is over (desproject/retention.py)."""

from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import F, Q

from accounts import gate, listeners, roles
from accounts.caller import Caller
from accounts.journal import record_act
from accounts.models import Device, PasswordReset, RecoveryCode, User
from accounts.tenancy import tenant_scope
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.errors import Conflict, NotFound


class LastAdministrator(Conflict):
    """Without an administrator nobody could operate the installation."""

    code = "LAST_ADMINISTRATOR"


def delete_own(*, user: User, password: str, caller: Caller, clock: Clock = SYSTEM_CLOCK) -> None:
    """The caller's own account, by their password.

    Raises InvalidInput, LoginLocked, TooManyTries, LastAdministrator.
    """
    gate.require_password(user, password, "password", caller, clock)
    _delete(user.pk, user, caller, clock)


def delete_user(*, deleter: User, user_id: UUID, caller: Caller, clock: Clock = SYSTEM_CLOCK) -> None:
    """Somebody's account, by an administrator. Raises NotFound (for anybody else too), LastAdministrator."""
    if roles.reach(deleter, roles.Thing.OPERATION) != roles.Reach.ALL:
        raise NotFound("no such user")
    _delete(user_id, deleter, caller, clock)


def _delete(user_id: UUID, deleter: User, caller: Caller, clock: Clock) -> None:
    with tenant_scope(user_id, deleter.pk), transaction.atomic():
        # All administrators, so that two of the last don't delete each other; the engine holds the row shared while it
        # commits an order: none can slip in. In one go and by key, as engines lock: no circle of waiting.
        concerned = Q(pk=user_id) | Q(is_admin=True, is_active=True)
        rows = User.objects.select_for_update().filter(concerned, is_deleted=False).order_by("pk")
        locked = {row.pk: row for row in rows}
        user = locked.get(user_id)
        if user is None:
            raise NotFound("no such user")
        if user.is_admin and locked.keys() == {user_id}:
            raise LastAdministrator("you are the last administrator: make another one first")
        _shut_out(user, clock)
        with tenant_scope(user_id):
            listeners.tell_deleted(user)
        for owner in {user_id, deleter.pk}:
            record_act("user.deleted", owner, caller, user=str(user_id), by=str(deleter.pk))
        listeners.tell_sessions_ended(user_id)


def _shut_out(user: User, clock: Clock) -> None:
    """Nothing lets the user in any more, and what could is forgotten."""
    now = clock.now()
    User.objects.filter(pk=user.pk).update(
        is_deleted=True, deleted_at=now, updated_at=now, password=make_password(None),
        token_version=F("token_version") + 1, otp_secret="", otp_verified=False, otp_last_step=None,
    )
    Device.objects.filter(user=user, revoked_at__isnull=True).update(revoked_at=now)
    RecoveryCode.objects.filter(user=user).delete()
    PasswordReset.objects.filter(user=user).delete()
