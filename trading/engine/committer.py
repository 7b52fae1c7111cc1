"""Group commit: everything that waits is written in one transaction, and only then may it leave the process.

Whoever commits hands over a WriteSet and awaits. While one transaction runs the next group gathers, so nothing waits
on a timer. The transaction is fenced: it locks the lease rows of its shards and refuses what another owner's epoch has
overtaken; intents also lock their users' rows and are refused under a kill switch.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, models, transaction

from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from connections.database import run as run_in_db
from connections.leases import RunInDb
from desproject.lib.clock import SYSTEM_CLOCK
from risk.models import KillLevel, RiskMetrics
from trading.engine import failpoints, row_writer, timings
from trading.engine.statements import Statements, as_uuid, listed, locked_shared, one_of, together
from trading.engine_count import SHARD
from trading.models import (
    ArbitrageFire,
    ArbitrageLeg,
    Balance,
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

log = structlog.get_logger(__name__)


_MAX_GROUP = 200
# Parents before children.
_CREATE_ORDER: Sequence[type[models.Model]] = (
    Signal,
    ArbitrageFire,
    Order,
    ArbitrageLeg,
    OrderAttempt,
    Reservation,
    Position,
    Trade,
    Balance,
    RiskMetrics,
    OrderEvent,
    Reconciliation,
    PaperRun,
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
    """What an intent is for, as kill switches see it. ``other_connection_id`` is the second one's of two legs."""

    user_id: UUID
    connection_id: UUID
    instance_id: UUID | None
    other_connection_id: UUID | None = None

    @property
    def targets(self) -> set[UUID]:
        """Everything whose kill switch, or end, stops the intent."""
        return {
            each
            for each in (self.user_id, self.connection_id, self.instance_id, self.other_connection_id)
            if each is not None
        }


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
    updates: list[tuple[models.Model, tuple[str, ...], str]] = field(default_factory=list)

    def create(self, *rows: models.Model) -> None:
        self.creates.extend(rows)

    def update(self, row: models.Model, *fields: str, was: str = "") -> None:
        """``was``: the status that the row must still have in the database, else the set is refused as a BadRow."""
        self.updates.append((row, fields, was))

    def save(self, row: models.Model, *fields: str, was: str = "") -> None:
        """Creates a row that isn't in the database yet, else updates the fields."""
        if row._state.adding:
            self.create(row)
        else:
            self.update(row, *fields, was=was)


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

    @property
    def waiting(self) -> int:
        """How many sets wait for the next transaction."""
        return len(self._waiting)

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
        started = SYSTEM_CLOCK.monotonic()
        try:
            refused = await self._run_job(write_group, [entry.writes for entry in group])
            timings.COMMIT.record(SYSTEM_CLOCK.monotonic() - started)
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
    """Writes all sets that are allowed in one transaction; returns why others (by index) were not.

    Two ways to the database and its commit: what must hold is asked for, then everything is written.
    """
    tenants = {writes.user_id for writes in sets}
    with tenant_scope(*tenants), transaction.atomic():
        with everyone(), together() as statements:  # who pressed the whole system's switch is none of the tenants
            verdicts = [_fenced(statements, sets), _killed(statements, sets)]
            refused = {index: error for verdict in verdicts for index, error in verdict().items()}
        failpoints.reach("before_commit")
        allowed = [writes for index, writes in enumerate(sets) if index not in refused]
        with together() as statements:
            for confirm in [*_create(statements, allowed), *_update(statements, allowed)]:
                confirm()
    failpoints.reach("after_commit")
    return refused


_Verdict = Callable[[], dict[int, CommitRefused]]


def _fenced(statements: Statements, sets: Sequence[WriteSet]) -> _Verdict:
    """Sets whose shard another epoch has taken over. The lock makes a take-over wait for this transaction."""
    shards = sorted({str(writes.shard) for writes in sets})
    rows = statements.read(
        f"SELECT key, epoch FROM leases WHERE kind = %s AND {one_of('key')} ORDER BY key{locked_shared()}",  # noqa: S608
        [SHARD, listed(shards)],
    )

    def verdict() -> dict[int, CommitRefused]:
        epochs: dict[str, int] = dict(rows())
        return {
            index: Fenced(f"shard {writes.shard}")
            for index, writes in enumerate(sets)
            if epochs.get(str(writes.shard)) != writes.epoch
        }

    return verdict


def _killed(statements: Statements, sets: Sequence[WriteSet]) -> _Verdict:
    """Intents under a kill switch, of a deactivated user, for a deleted connection. Pressing a switch locks the user's
    row: it waits for us, or we see it, because the switches are read by a statement that begins with the lock held."""
    intents = {index: writes.intent for index, writes in enumerate(sets) if writes.intent}
    if not intents:
        return dict
    users = listed(sorted({scope.user_id for scope in intents.values()}))
    connections = listed({target for scope in intents.values() for target in scope.targets})
    barred = statements.read(
        f"SELECT id, is_deleted OR NOT is_active FROM users WHERE {one_of('id')} ORDER BY id{locked_shared()}",  # noqa: S608
        [users],
    )
    gone = statements.read(f"SELECT id FROM connections WHERE is_deleted AND {one_of('id')}", [connections])  # noqa: S608
    active = statements.read(
        f"SELECT level, target_id FROM kill_switches WHERE lifted_at IS NULL AND (level = %s OR {one_of('user_id')})",  # noqa: S608
        [KillLevel.SYSTEM, users],
    )

    def verdict() -> dict[int, CommitRefused]:
        stopped = {as_uuid(key) for key, is_barred in barred() if is_barred} | {as_uuid(key) for (key,) in gone()}
        everybody = False
        for level, target in active():
            everybody = everybody or level == KillLevel.SYSTEM
            stopped.add(as_uuid(target))
        return {
            index: Killed("kill switch, deactivated user or deleted connection")
            for index, scope in intents.items()
            if everybody or not stopped.isdisjoint(scope.targets)
        }

    return verdict


def _create(statements: Statements, sets: Sequence[WriteSet]) -> list[row_writer.Confirm]:
    by_model: dict[type[models.Model], list[models.Model]] = defaultdict(list)
    for writes in sets:
        for row in writes.creates:
            by_model[type(row)].append(row)
    if unknown := by_model.keys() - set(_CREATE_ORDER):
        raise TypeError(f"no place in the create order for {sorted(m.__name__ for m in unknown)}")
    return [row_writer.insert(statements, model, by_model[model]) for model in _CREATE_ORDER if model in by_model]


def _update(statements: Statements, sets: Sequence[WriteSet]) -> list[row_writer.Confirm]:
    """Rows of one kind of which the same fields change go together; a tenant has one set in a group."""
    by_kind: dict[tuple[type[models.Model], tuple[str, ...], str], list[models.Model]] = defaultdict(list)
    for writes in sets:
        for row, fields, was in writes.updates:
            # What users change has a stamp by which the sweep finds their changes: a fill isn't one.
            if hasattr(row, "updated_at") and not isinstance(row, StrategyInstance):
                fields = (*fields, "updated_at")
            by_kind[type(row), fields, was].append(row)
    return [
        row_writer.update(statements, model, fields, rows, was=was) for (model, fields, was), rows in by_kind.items()
    ]
