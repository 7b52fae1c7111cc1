"""Appends a seal for every audit row, seconds after it was committed and off the order path.

Any number of processes may run a sealer: the number of a seal is unique, so of two that append at once one fails and
looks again.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import structlog
from django.db import DatabaseError, IntegrityError, InterfaceError, models, transaction

from accounts.tenancy import everyone
from audit import heads
from audit.codes import NO_LINK, link_code
from audit.models import AuditLog, AuditSeal
from desproject.lib.clock import SYSTEM_CLOCK, Clock

log = structlog.get_logger(__name__)

SEAL_SECONDS = 1.0
# A batch is one transaction; SQLite has one writer, and orders wait for it.
_BATCH = 200
# Numbers are given before the commit: a row may come to light after those that follow it. One that takes longer than
# any transaction lives is found by the look at all rows, at the start of a process and every so many looks.
_LOOK_BACK_ROWS = 20_000
_LOOKS_TO_ALL = 600
_HEAD_SECONDS = 60.0


def seal_batch(*, all_rows: bool = False, clock: Clock = SYSTEM_CLOCK) -> int:
    """Seals the next rows that have no seal, at most 200; returns how many it sealed."""
    with everyone(), transaction.atomic():
        last = AuditSeal.objects.order_by("-number").first()
        rows = _unsealed(0 if all_rows or last is None else last.audit_log_id - _LOOK_BACK_ROWS)
        number, link = (last.number, last.link) if last else (0, NO_LINK)
        seals, now = [], clock.now()
        for audit_log_id, code in rows:
            number += 1
            link = link_code(number, link, audit_log_id, code)
            seals.append(AuditSeal(number=number, audit_log_id=audit_log_id, code=code, link=link, sealed_at=now))
        AuditSeal.objects.bulk_create(seals)
    return len(seals)


def _unsealed(above: int) -> "models.QuerySet[AuditLog, tuple[int, str]]":
    sealed = AuditSeal.objects.filter(audit_log_id=models.OuterRef("pk"))
    found = AuditLog.objects.filter(~models.Exists(sealed), pk__gt=above).order_by("pk")
    return found.values_list("pk", "code")[:_BATCH]


def seal_all(clock: Clock = SYSTEM_CLOCK) -> int:
    """Seals everything that is committed; returns how many rows it sealed."""
    sealed = 0
    while done := seal_batch(all_rows=True, clock=clock):
        sealed += done
    return sealed


class Sealer:
    """Seals until cancelled. ``figures`` counts; each minute the head of the chain is exported.

    ``run_job`` runs a function with arguments in a database thread.
    """

    def __init__(
        self, run_job: Callable[..., Awaitable[Any]], figures: Counter[str], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.figures = figures
        self._run_job = run_job
        self._clock = clock
        self._looks = 0
        self._head_due = clock.now()

    async def run(self) -> None:
        """Never returns; what the database refuses is tried again."""
        while True:
            try:
                sealed = await self._look()
            except (IntegrityError, DatabaseError, InterfaceError) as error:
                # Another sealer was quicker, or the database is away: what is unsealed stays to be sealed.
                self.figures["audit_seal_failures"] += 1
                log.info("audit_not_sealed", error=type(error).__name__)
                sealed = 0
            if sealed < _BATCH:
                await asyncio.sleep(SEAL_SECONDS)

    async def _look(self) -> int:
        sealed: int = await self._run_job(seal_batch, all_rows=self._looks % _LOOKS_TO_ALL == 0, clock=self._clock)
        self._looks += 1
        self.figures["audit_sealed"] += sealed
        if (now := self._clock.now()) >= self._head_due:
            self._head_due = now + timedelta(seconds=_HEAD_SECONDS)
            await self._run_job(heads.export, self._clock)
        return sealed
