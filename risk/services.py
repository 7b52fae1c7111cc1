"""Limits and kill switches: rows written with their audit entry, and the engines woken after the commit.

Every function works inside the user's tenant scope, which the caller has opened.
"""

import contextlib
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from accounts.models import User
from accounts.roles import Reach, Thing, reach
from accounts.tenancy import everyone, shard_of
from audit.record import record
from desproject.lib.bus import Wake, wake
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.errors import Conflict, DomainError, NotFound
from desproject.lib.money import plain
from risk import listeners, selectors
from risk.models import KillLevel, KillSwitch, RiskPolicy


class AdministratorsOnly(DomainError):
    """The whole system's switch is the administrators'."""

    code = "FORBIDDEN"
    status = 403


def press_kill_switch(*, user: User, level: str, target_id: UUID, reason: str, flatten: bool) -> KillSwitch:
    """Stops everything new for the target until lifted. After this returns, nothing more is committed for it.

    Raises AdministratorsOnly.
    """
    require_right(user, level)
    with transaction.atomic():
        stopped = _lock(user, level)
        switch: KillSwitch = KillSwitch.objects.create(
            user=user, level=level, target_id=target_id, reason=reason, flatten=flatten, pressed_by=user
        )
        _record("kill_switch.pressed", user, switch, reason)
        _wake_after_commit(stopped, "kill")
        transaction.on_commit(lambda: listeners.tell(switch))
    return switch


def lift_kill_switch(*, user: User, switch: KillSwitch, reason: str) -> KillSwitch:
    """Lets the target trade again. Raises Conflict when it was lifted already, AdministratorsOnly."""
    require_right(user, switch.level)
    with transaction.atomic():
        freed = _lock(user, switch.level)
        now = SYSTEM_CLOCK.now()
        if not _lift(switch, now, reason):
            raise Conflict("this kill switch was lifted already", code="ALREADY_LIFTED")
        switch.lifted_at, switch.lift_reason = now, reason
        _record("kill_switch.lifted", user, switch, reason)
        _wake_after_commit(freed, "kill")
        transaction.on_commit(lambda: listeners.tell(switch))
    return switch


def lift_all(*, user: User, level: str, target_id: UUID, reason: str) -> list[KillSwitch]:
    """Lifts every switch that holds for exactly this target. Raises NotFound when none does, AdministratorsOnly."""
    require_right(user, level)
    held = selectors.switches_on(level, target_id)
    if not held:
        raise NotFound("no kill switch holds for this")
    return [lift_kill_switch(user=user, switch=switch, reason=reason) for switch in held]


def set_policy(*, user: User, level: str, target_id: UUID, limits: dict[str, Decimal | int | None]) -> RiskPolicy:
    """Sets all limits of one level; a limit that isn't named is taken off."""
    with transaction.atomic():
        policy: RiskPolicy = RiskPolicy.objects.update_or_create(
            user=user, level=level, target_id=target_id, defaults=limits
        )[0]
        details = {name: plain(value) if isinstance(value, Decimal) else value for name, value in limits.items()}
        record(
            "risk.policy_changed", user_id=user.pk, resource_type="risk_policy", resource_id=policy.pk,
            details={"level": level, "target": str(target_id), **details},
        )
        _wake_after_commit([user.pk], "policy")
    return policy


def require_right(user: User, level: str) -> None:
    """Raises AdministratorsOnly."""
    if level == KillLevel.SYSTEM and reach(user, Thing.OPERATION) != Reach.ALL:
        raise AdministratorsOnly("only administrators stop the whole system")


def _lift(switch: KillSwitch, now: datetime, reason: str) -> int:
    # An administrator may lift what another one pressed for the whole system.
    with everyone() if switch.level == KillLevel.SYSTEM else contextlib.nullcontext():
        rows = KillSwitch.objects.filter(pk=switch.pk, lifted_at__isnull=True)
        return int(rows.update(lifted_at=now, lift_reason=reason))


def _lock(user: User, level: str) -> list[UUID]:
    """Waits for commits under way of whom the switch stops: the engine holds their rows shared. Returns their ids.

    On SQLite the transaction itself excludes every other writer.
    """
    rows: Any = User.objects.order_by("pk")
    if level != KillLevel.SYSTEM:
        rows = rows.filter(pk=user.pk)
    if connection.features.has_select_for_update:
        rows = rows.select_for_update()
    return list(rows.values_list("pk", flat=True))


def _record(event: str, user: User, switch: KillSwitch, reason: str) -> None:
    record(
        event, user_id=user.pk, resource_type="kill_switch", resource_id=switch.pk,
        details={
            "level": switch.level, "target": str(switch.target_id), "flatten": switch.flatten, "reason": reason,
        },
    )


def _wake_after_commit(users: list[UUID], what: str) -> None:
    messages = [Wake(shard_of(user_id), user_id, what) for user_id in users]
    # At once: a frozen Redis lets each way to it take its whole time-out, and a stop of the system has many users.
    transaction.on_commit(lambda: wake(*messages))
