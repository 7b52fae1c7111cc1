"""Users made by others: traders by the manager of their team, traders and managers by administrators (TEN-5)."""

from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import QuerySet

from accounts import password_reset, passwords, roles
from accounts.caller import Caller
from accounts.journal import record
from accounts.models import Role, User
from accounts.services import create_user
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.errors import InvalidInput, NotFound


def users(caller: User) -> "QuerySet[User]":
    """Those whom the caller may see, living ones. Raises NotAllowed."""
    roles.require(caller, roles.Thing.USERS)
    return User.objects.filter(roles.reached(caller, roles.Thing.USERS), is_deleted=False)


def audited_users(caller: User, only: UUID | None) -> list[UUID]:
    """Whose audit log the caller reads: their own, or ``only`` that of somebody they may read. Raises NotFound."""
    if only is None or only == caller.pk:
        return [caller.pk]
    if not User.objects.filter(roles.reached(caller, roles.Thing.AUDIT_LOG), pk=only).exists():
        raise NotFound("no such user")
    return [only]


def team_of(caller: User) -> list[UUID]:
    """The caller and the users of their team, those deleted too: what they did stays in the log."""
    if roles.reach(caller, roles.Thing.AUDIT_LOG) == roles.Reach.OWN:
        return [caller.pk]
    return [caller.pk, *User.objects.filter(manager=caller).values_list("pk", flat=True)]


def add_user(
    *, creator: User, email: str, password: str | None, role: str, caller: Caller, clock: Clock = SYSTEM_CLOCK
) -> User:
    """A new user. A manager's is a trader of their team. Without a password they get a mail to set one themselves.

    Raises NotAllowed, InvalidInput, WeakPassword, EmailTaken.
    """
    roles.require(creator, roles.Thing.USERS)
    leads = roles.reach(creator, roles.Thing.USERS) == roles.Reach.TEAM
    if leads and role != Role.TRADER:
        raise InvalidInput("a manager creates traders", fields={"role": ["You can create traders only."]})
    if password is not None:
        passwords.require_strong(password, email, "password")
    hashed = make_password(None) if password is None else passwords.hash_password(password)
    with transaction.atomic():
        user = create_user(email, hashed, role=role, manager=creator if leads else None)
        record(
            "user.created", user_id=creator.pk, resource_type="user", resource_id=user.pk, details={"role": role},
            ip=caller.ip, user_agent=caller.user_agent,
        )
        if password is None:
            password_reset.note_wish(user, caller, clock)
    return user
