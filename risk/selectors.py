"""Reads of limits and kill switches, inside the tenant scope that the caller has opened."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from accounts.tenancy import everyone
from connections.models import Connection, Mode
from desproject.lib.money import ZERO
from risk.models import KillLevel, KillSwitch, PolicyLevel, RiskMetrics, RiskPolicy
from risk.policy import Limits, effective


def limits_of(connection: Connection) -> Limits:
    """The limits in force on a connection, but for those of its strategies."""
    levels = ((PolicyLevel.CONNECTION, connection.pk), (PolicyLevel.USER, connection.user_id))
    return effective([RiskPolicy.objects.filter(level=level, target_id=target).first() for level, target in levels])


@dataclass(frozen=True, slots=True)
class DaySum:
    """A UTC day of all of a user's connections in one quote asset. Limits hold for each connection, not for this."""

    date: date
    quote_asset: str
    connections: int
    trade_count: int
    realized_pnl: Decimal
    loss: Decimal


def summed_metrics(since: date) -> list[DaySum]:
    """The days from ``since`` on, newest first; paper accounts are left out."""
    days: dict[tuple[date, str], list[RiskMetrics]] = defaultdict(list)
    for row in RiskMetrics.objects.filter(date__gte=since).exclude(connection__mode=Mode.PAPER):
        days[row.date, row.quote_asset].append(row)
    return [
        DaySum(
            day, asset, len(rows), sum(row.trade_count for row in rows), sum((row.realized_pnl for row in rows), ZERO),
            sum((row.loss for row in rows), ZERO),
        )
        for (day, asset), rows in sorted(days.items(), key=lambda item: (-item[0][0].toordinal(), item[0][1]))
    ]  # fmt: skip


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
