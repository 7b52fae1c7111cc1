"""The risk register follows the audit log: what went wrong is already there, written with what it records.

So an entry of the register can neither be lost nor doubled, and nothing that trades waits for its number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Max

from accounts.models import User
from accounts.tenancy import everyone
from audit.models import AuditLog
from audit.record import record
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from risk.models import KillLevel, RiskEvent, RiskType, Severity

log = structlog.get_logger(__name__)

# What is older than this was entered long ago, or belongs to a time before the register.
_LOOK_BACK = timedelta(days=7)
_TRIES = 50


class NumberingFailed(Exception):
    """Others took number after number: the next run tries again."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What an event of the audit log is in the register. ``says`` is filled with the event's details."""

    type: RiskType
    severity: Severity
    says: str


# Audit events that are risk events.
KINDS: Mapping[str, Kind] = {
    "kill_switch.pressed": Kind(RiskType.EXECUTION, Severity.HIGH, "kill switch of the {level}: {reason}"),
    "risk.daily_loss": Kind(
        RiskType.STRATEGY, Severity.HIGH, "the day's loss of {loss} {asset} has reached the limit of {limit}"
    ),
    "risk.slippage": Kind(
        RiskType.SLIPPAGE, Severity.MEDIUM,
        "{symbol} filled at {actual}, expected were {expected} (slippage {slippage})",
    ),
    "arbitrage.exposed": Kind(
        RiskType.EXECUTION, Severity.HIGH, "an arbitrage of {symbol} was filled on one side alone: {quantity}"
    ),
    "risk.liquidation_near": Kind(
        RiskType.STRATEGY, Severity.HIGH, "{symbol} at {price} is near its liquidation at {liquidation_price}"
    ),
    "risk.price_gap": Kind(RiskType.DATA, Severity.MEDIUM, "the price of {symbol} at {feed} jumped by the part {part}"),
    "strategy.error": Kind(RiskType.STRATEGY, Severity.MEDIUM, "a strategy failed and was stopped"),
    "strategy.underperforms": Kind(
        RiskType.STRATEGY, Severity.LOW,
        "{name}: the week's win rate is {win_rate}, its average result {average_profit}",
    ),
    "connection.unhealthy": Kind(RiskType.API, Severity.MEDIUM, "a connection can't be used: {reason}"),
    "exchange.watch_only": Kind(RiskType.API, Severity.HIGH, "nothing is entered at {feed} any more: {reason}"),
    "stream.cuts": Kind(RiskType.STREAM, Severity.MEDIUM, "{stream} was cut {cuts} times within an hour"),
    "connection.key_disabled": Kind(RiskType.KEYS, Severity.HIGH, "the API key of {name} was disabled"),
}


class _Missing(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def follow(clock: Clock = SYSTEM_CLOCK) -> int:
    """Enters what the audit log tells and the register doesn't hold yet, in the order of its happening; a scheduled
    task. Returns how many events were entered."""
    since = clock.now() - _LOOK_BACK
    with everyone():
        known = RiskEvent.objects.filter(source__isnull=False, occurred_at__gte=since).values("source")
        rows = AuditLog.objects.filter(event_type__in=KINDS, created_at__gte=since).exclude(pk__in=known)
        found = list(rows.order_by("created_at", "pk"))
        operator = _operator()
    entered = 0
    for row in found:
        owner = row.user_id or operator
        if owner is not None:
            entered += _enter_row(row, owner)
    return entered


def enter(
    *, user_id: UUID, type: str, severity: str, description: str, occurred_at: datetime, source: int | None = None,
    **more: Any,
) -> RiskEvent | None:  # fmt: skip
    """Adds an event under the next number of its year; None where one of this source is there already.

    Raises NumberingFailed.
    """
    with everyone():
        for _ in range(_TRIES):
            last = RiskEvent.objects.filter(year=occurred_at.year).aggregate(last=Max("number"))["last"]
            row = RiskEvent(
                user_id=user_id, year=occurred_at.year, number=(last or 0) + 1, source=source, type=type,
                severity=severity, description=description[:1000], occurred_at=occurred_at, **more,
            )  # fmt: skip
            try:
                with transaction.atomic():
                    row.save(force_insert=True)
            except IntegrityError:  # somebody else was faster: with this number, or with this event
                if source is not None and RiskEvent.objects.filter(source=source).exists():
                    return None
                continue
            return row
    raise NumberingFailed(f"no number of {occurred_at.year} was free in {_TRIES} tries")


def _enter_row(row: AuditLog, owner: UUID) -> bool:
    kind = KINDS[row.event_type]
    severity = kind.severity
    if row.event_type == "kill_switch.pressed" and row.details.get("level") == KillLevel.SYSTEM:
        severity = Severity.CRITICAL
    event = enter(
        user_id=owner, type=kind.type, severity=severity, description=kind.says.format_map(_Missing(row.details)),
        occurred_at=row.created_at, source=row.pk,
        timeline=[{"at": row.created_at.isoformat(), "what": "noticed by the system"}],
    )  # fmt: skip
    if event is None:
        return False
    log.warning("risk_event", reference=event.reference, type=event.type, severity=event.severity)
    return True


def _operator() -> UUID | None:
    """The administrator whose is what concerns the whole installation."""
    rows = User.objects.filter(is_admin=True, is_active=True, is_deleted=False)
    key: UUID | None = rows.order_by("created_at").values_list("pk", flat=True).first()
    return key


def write_down(*, administrator: User, user_id: UUID | None, values: dict[str, Any]) -> RiskEvent:
    """An event that an administrator noticed, with its audit entry; the installation's without ``user_id``."""
    with transaction.atomic():
        event = enter(user_id=user_id or administrator.pk, **values)
        assert event is not None  # noqa: S101  # only a source can be there already
        _record(administrator, event, "entered", sorted(values))
    return event


def amend(*, administrator: User, event: RiskEvent, changes: dict[str, Any]) -> RiskEvent:
    """What became of an event: impact, times, lessons, who sees to it."""
    with everyone(), transaction.atomic():
        for name, value in changes.items():
            setattr(event, name, value)
        event.save(update_fields=[*changes, "updated_at"])
        _record(administrator, event, "amended", sorted(changes))
    return event


def _record(administrator: User, event: RiskEvent, what: str, fields: list[str]) -> None:
    record(
        f"risk_event.{what}", user_id=administrator.pk, resource_type="risk_event", resource_id=event.pk,
        details={"reference": event.reference, "fields": fields},
    )  # fmt: skip
