"""Reads of limits and kill switches, inside the tenant scope that the caller has opened."""

from uuid import UUID

from accounts.tenancy import everyone
from risk.models import KillLevel, KillSwitch


def active_switches() -> list[KillSwitch]:
    """What holds for the tenant now, newest first: their own switches, and those of the whole system."""
    own = KillSwitch.objects.filter(lifted_at__isnull=True).exclude(level=KillLevel.SYSTEM)
    return sorted([*own, *system_switches()], key=lambda row: row.created_at, reverse=True)


def switches_on(level: str, target_id: UUID) -> list[KillSwitch]:
    """The active switches of exactly this target."""
    if level == KillLevel.SYSTEM:
        return system_switches()
    return list(KillSwitch.objects.filter(level=level, target_id=target_id, lifted_at__isnull=True))


def system_switches() -> list[KillSwitch]:
    """The active switches of the whole system, whichever administrator pressed them."""
    with everyone():
        return list(KillSwitch.objects.filter(level=KillLevel.SYSTEM, lifted_at__isnull=True))
