"""Removing what is kept no longer (AUD-3): rows of deleted users, each kind when its own time is over.

The audit log is kept for three years, and so is what tells who logged in; everything that trades hang on, seven. Of
living users nothing is removed, for positions are rebuilt from all of a user's trades. A row that another one still
hangs on waits for it. The audit log of nobody known follows its age alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from uuid import UUID

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q

from accounts.models import Device, DisclosureAcceptance, LoginAttempt, User
from accounts.tenancy import everyone
from audit.models import AuditLog
from audit.purging import purge_rows
from connections.models import Connection
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from risk.models import KillSwitch, RiskEvent, RiskMetrics, RiskPolicy
from trading.models import (
    ArbitrageFire,
    ArbitrageLeg,
    Balance,
    Command,
    DryRunLift,
    EquityPoint,
    Order,
    OrderAttempt,
    OrderEvent,
    PaperRun,
    Position,
    Reconciliation,
    Reservation,
    Signal,
    StrategyInstance,
    Trade,
)

_AUDIT_YEARS, _TRADING_YEARS = 3, 7
_REASON = "kept for three years"


class Since(Enum):
    """What a row's years are counted from: an event's from its time, all else from the deletion."""

    EVENT = auto()
    DELETION = auto()


# Children before parents.
_KINDS: Sequence[tuple[type[models.Model], int, Since]] = (
    (LoginAttempt, _AUDIT_YEARS, Since.EVENT),
    (Device, _AUDIT_YEARS, Since.DELETION),
    (DisclosureAcceptance, _AUDIT_YEARS, Since.DELETION),
    (Command, _TRADING_YEARS, Since.EVENT),
    (OrderEvent, _TRADING_YEARS, Since.EVENT),
    (OrderAttempt, _TRADING_YEARS, Since.EVENT),
    (Reservation, _TRADING_YEARS, Since.EVENT),
    (Trade, _TRADING_YEARS, Since.EVENT),
    (ArbitrageLeg, _TRADING_YEARS, Since.EVENT),
    (Order, _TRADING_YEARS, Since.EVENT),
    (ArbitrageFire, _TRADING_YEARS, Since.EVENT),
    (Signal, _TRADING_YEARS, Since.EVENT),
    (PaperRun, _TRADING_YEARS, Since.EVENT),
    (DryRunLift, _TRADING_YEARS, Since.EVENT),
    (EquityPoint, _TRADING_YEARS, Since.EVENT),
    (Reconciliation, _TRADING_YEARS, Since.EVENT),
    (RiskMetrics, _TRADING_YEARS, Since.EVENT),
    (KillSwitch, _TRADING_YEARS, Since.EVENT),
    (RiskEvent, _TRADING_YEARS, Since.EVENT),
    (Balance, _TRADING_YEARS, Since.DELETION),
    (Position, _TRADING_YEARS, Since.DELETION),
    (RiskPolicy, _TRADING_YEARS, Since.DELETION),
    (StrategyInstance, _TRADING_YEARS, Since.DELETION),
    (Connection, _TRADING_YEARS, Since.DELETION),
    (User, _TRADING_YEARS, Since.DELETION),
)


@dataclass(frozen=True, slots=True)
class Purged:
    """How many rows of a table went, or would go; ``user_id`` is empty for those of nobody known."""

    user_id: str
    table: str
    rows: int


def purge_expired(clock: Clock = SYSTEM_CLOCK, *, dry_run: bool = False) -> Iterator[Purged]:
    """Removes what is due, one transaction per user and kind; killed at any moment, the next run goes on.

    ``dry_run`` only counts, and a parent whose children are still there isn't counted.
    """
    yield from _purged("", AuditLog, _purge_audit_log(None, clock, dry_run=dry_run))
    old = Q(created_at__lt=_years_before(clock.now(), _AUDIT_YEARS))
    yield from _purged("", LoginAttempt, _purge(None, LoginAttempt, old, dry_run=dry_run))
    for user in list(User.objects.filter(is_deleted=True).order_by("deleted_at", "pk")):
        yield from _purged(str(user.pk), AuditLog, _purge_audit_log(user.pk, clock, dry_run=dry_run))
        for model, years, since in _KINDS:
            before = _years_before(clock.now(), years)
            if since == Since.EVENT or (user.deleted_at is not None and user.deleted_at < before):
                due = Q(created_at__lt=before) if since == Since.EVENT else Q()
                yield from _purged(str(user.pk), model, _purge(user.pk, model, due, dry_run=dry_run))


def _purged(user_id: str, model: type[models.Model], rows: int) -> Iterator[Purged]:
    if rows:
        yield Purged(user_id, model._meta.db_table, rows)


def _purge_audit_log(user_id: UUID | None, clock: Clock, *, dry_run: bool) -> int:
    before = _years_before(clock.now(), _AUDIT_YEARS)
    if not dry_run:
        return purge_rows(user_id, before=before, reason=_REASON, clock=clock)
    with everyone():
        return int(AuditLog.objects.filter(user=user_id, created_at__lt=before).count())


def _purge(user_id: UUID | None, model: type[models.Model], due: Q, *, dry_run: bool) -> int:
    whose = Q(pk=user_id) if model is User else Q(user=user_id)
    with everyone(), transaction.atomic():
        rows = model._default_manager.filter(whose, due).exclude(_hung_on(model))
        if dry_run:
            return int(rows.count())
        return int(rows.delete()[1].get(model._meta.label, 0))


def _years_before(moment: datetime, years: int) -> datetime:
    try:
        return moment.replace(year=moment.year - years)
    except ValueError:  # the 29th of February
        return moment.replace(year=moment.year - years, day=28)


def _hung_on(model: type[models.Model]) -> Q:
    """Whether rows that the database protects still point to it."""
    found = Q(pk__in=[])
    for relation in model._meta.get_fields(include_hidden=True):
        if isinstance(relation, models.ForeignObjectRel) and relation.on_delete is models.PROTECT:
            children = relation.related_model._base_manager.filter(**{relation.field.name: OuterRef("pk")})
            found |= Q(Exists(children))
    return found
