"""Group commit: everything that waits is written in one transaction, and only then may it leave the process.

Whoever commits hands over a WriteSet and awaits. While one transaction runs the next group gathers, so nothing waits
on a timer. The transaction is fenced: it locks the lease rows of its shards and refuses what another owner's epoch has
overtaken; intents also lock their users' rows and are refused under a kill switch.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection, models, transaction

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from connections.database import run as run_in_db
from connections.leases import RunInDb
from connections.models import Connection, Lease
from desproject.lib.clock import SYSTEM_CLOCK
from risk.models import KillLevel, KillSwitch, RiskMetrics
from trading.engine import failpoints
from trading.engine_count import SHARD
from trading.models import (
    Balance,
    Order,
    OrderAttempt,
    OrderEvent,
    Position,
    Reservation,
    Signal,
    StrategyInstance,
    Trade,
)

log = structlog.get_logger(__name__)


_MAX_GROUP = 200
# Parents before children.
_CREATE_ORDER: Sequence[type[models.Model]] = (
    Signal,
    Order,
    OrderAttempt,
    Reservation,
    Position,
    Trade,
    Balance,
    RiskMetrics,
    OrderEvent,
    AuditLog,
)


class CommitRefused(Exception):
    """Nothing of the set was written, for sure."""


class Fenced(CommitRefused):
    """Another engine owns the shard now."""


class Killed(CommitRefused):
    """A kill switch holds for the intent."""


class BadRow(CommitRefused):
    """The database refused a row of this set (a constraint, mostly: it was decided before)."""


class CommitUnknown(Exception):
    """The database went away: the set may or may not be written. Reload before acting."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What an intent is for, as kill switches see it."""

    user_id: UUID
    connection_id: UUID
    instance_id: UUID | None

    def hit_by(self, switch: KillSwitch) -> bool:
        return switch.level == KillLevel.SYSTEM or switch.target_id in (
            self.user_id,
            self.connection_id,
            self.instance_id,
        )


@dataclass(slots=True)
class WriteSet:
    """One tenant's rows that are written together or not at all.

    ``intent`` is set when the rows make something that will be sent as a new order.
    """

    user_id: UUID
    shard: int
    epoch: int
    intent: Scope | None = None
    creates: list[models.Model] = field(default_factory=list)
    updates: list[tuple[models.Model, tuple[str, ...]]] = field(default_factory=list)

    def create(self, *rows: models.Model) -> None:
        self.creates.extend(rows)

    def update(self, row: models.Model, *fields: str) -> None:
        self.updates.append((row, fields))

    def save(self, row: models.Model, *fields: str) -> None:
        """Creates a row that isn't in the database yet, else updates the fields."""
        if row._state.adding:
            self.create(row)
        else:
            self.update(row, *fields)


@dataclass(slots=True)
class _Waiting:
    writes: WriteSet
    done: "asyncio.Future[None]"


class Committer:
    """Writes sets in groups, one transaction at a time, by ``run_job`` (an engine gives it a thread of its own).

    ``figures`` counts groups and sets.
    """

    def __init__(self, run_job: RunInDb = run_in_db) -> None:
        self._run_job = run_job
        self.figures = {"commit_groups": 0, "commit_sets": 0, "commit_retries": 0}
        self._waiting: list[_Waiting] = []
        self._wanted = asyncio.Event()

    async def commit(self, writes: WriteSet) -> None:
        """Returns when the set is durable. Raises CommitRefused or CommitUnknown."""
        entry = _Waiting(writes, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        self._wanted.set()
        await asyncio.shield(entry.done)

    async def run(self) -> None:
        """Writes groups until cancelled."""
        while True:
            await self._wanted.wait()
            group, self._waiting = self._waiting[:_MAX_GROUP], self._waiting[_MAX_GROUP:]
            if not self._waiting:
                self._wanted.clear()
            try:
                await self._write(group)
            except Exception as error:  # a fault of ours: nobody may wait for ever
                log.exception("committer_failed", sets=len(group))
                _fail(group, CommitUnknown(str(error)))

    async def _write(self, group: list[_Waiting]) -> None:
        self.figures["commit_groups"] += 1
        self.figures["commit_sets"] += len(group)
        try:
            refused = await self._run_job(write_group, [entry.writes for entry in group])
        except (OperationalError, InterfaceError) as error:
            log.warning("commit_unknown", sets=len(group), error=str(error))
            _fail(group, CommitUnknown(str(error)))
        except DatabaseError as error:
            await self._write_singly(group, error)
        except Exception as error:  # whatever it was, the waiting tenants must hear of it
            log.exception("commit_failed", sets=len(group))
            _fail(group, CommitUnknown(str(error)))
        else:
            for index, entry in enumerate(group):
                _settle(entry, refused.get(index))

    async def _write_singly(self, group: list[_Waiting], error: DatabaseError) -> None:
        """One bad row fails a whole group: written one by one it hurts only its own set."""
        if len(group) == 1:
            log.warning("commit_refused", error=str(error).splitlines()[0])
            _fail(group, BadRow(str(error)))
            return
        self.figures["commit_retries"] += 1
        for entry in group:
            _unnumber(entry.writes.creates)
            await self._write([entry])


def _unnumber(rows: Iterable[models.Model]) -> None:
    """Takes off the numbers of the transaction that was rolled back: others may have got them meanwhile."""
    for row in rows:
        if isinstance(row._meta.pk, models.AutoField):
            row.pk = None


def _fail(group: Iterable[_Waiting], error: Exception) -> None:
    for entry in group:
        _settle(entry, error)


def _settle(entry: _Waiting, error: Exception | None) -> None:
    if entry.done.done():
        return
    if error is None:
        entry.done.set_result(None)
    else:
        entry.done.set_exception(error)


def write_group(sets: Sequence[WriteSet]) -> dict[int, CommitRefused]:
    """Writes all sets that are allowed in one transaction; returns why others (by index) were not."""
    tenants = {writes.user_id for writes in sets}
    with tenant_scope(*tenants), transaction.atomic():
        refused = _fenced(sets)
        refused.update(_killed(sets))
        failpoints.reach("before_commit")
        allowed = [writes for index, writes in enumerate(sets) if index not in refused]
        _create(allowed)
        for writes in allowed:
            for row, fields in writes.updates:
                _update(row, fields)
    failpoints.reach("after_commit")
    return refused


def _fenced(sets: Sequence[WriteSet]) -> dict[int, CommitRefused]:
    """Sets whose shard another epoch has taken over. The lock makes a take-over wait for this transaction."""
    shards = sorted({str(writes.shard) for writes in sets})
    rows = Lease.objects.filter(kind=SHARD, key__in=shards)
    epochs = dict(_locked_shared(rows.order_by("key").values_list("key", "epoch")))
    return {
        index: Fenced(f"shard {writes.shard}")
        for index, writes in enumerate(sets)
        if epochs.get(str(writes.shard)) != writes.epoch
    }


def _killed(sets: Sequence[WriteSet]) -> dict[int, CommitRefused]:
    """Intents under a kill switch, of a deactivated user, for a deleted connection. Pressing a switch locks the user's
    row: it waits for us, or we see it."""
    users = sorted({writes.user_id for writes in sets if writes.intent})
    if not users:
        return {}
    rows = User.objects.filter(pk__in=users).order_by("pk").values_list("pk", "is_active", "is_deleted")
    barred = {pk for pk, is_active, is_deleted in _locked_shared(rows) if is_deleted or not is_active}
    connections = {writes.intent.connection_id for writes in sets if writes.intent}
    with everyone():
        gone = set(Connection.objects.filter(pk__in=connections, is_deleted=True).values_list("pk", flat=True))
        active = list(
            KillSwitch.objects.filter(lifted_at__isnull=True).filter(
                models.Q(user__in=users) | models.Q(level=KillLevel.SYSTEM)
            )
        )

    def stopped(scope: Scope) -> bool:
        by_switch = any(scope.hit_by(switch) for switch in active)
        return by_switch or scope.user_id in barred or scope.connection_id in gone

    return {
        index: Killed("kill switch, deactivated user or deleted connection")
        for index, writes in enumerate(sets)
        if writes.intent and stopped(writes.intent)
    }


def _locked_shared(rows: "models.QuerySet[Any, Any]") -> Iterable[Any]:
    """The rows, locked FOR SHARE on PostgreSQL; an IMMEDIATE transaction on SQLite excludes writers anyway."""
    if connection.vendor != "postgresql":
        return rows
    query, params = rows.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"{query} FOR SHARE", params)
        found: list[Any] = cursor.fetchall()
        return found


def _create(sets: Sequence[WriteSet]) -> None:
    by_model: dict[type[models.Model], list[models.Model]] = defaultdict(list)
    for writes in sets:
        for row in writes.creates:
            by_model[type(row)].append(row)
    for model in _CREATE_ORDER:
        if rows := by_model.pop(model, None):
            model._default_manager.bulk_create(rows)
    if by_model:
        raise TypeError(f"no place in the create order for {sorted(m.__name__ for m in by_model)}")


def _update(row: models.Model, fields: tuple[str, ...]) -> None:
    values = {name: getattr(row, name) for name in fields}
    # What users change has a stamp by which the sweep finds their changes: a fill isn't one.
    if hasattr(row, "updated_at") and not isinstance(row, StrategyInstance):
        values["updated_at"] = SYSTEM_CLOCK.now()
    changed = type(row)._default_manager.filter(pk=row.pk).update(**values)
    if changed != 1:
        raise DatabaseError(f"{type(row).__name__} row vanished")
