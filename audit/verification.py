"""Finds what was done to the audit log behind DES's back: rows altered, removed, inserted or moved, and a cut tail."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from django.db.models import Count, Exists, OuterRef

from accounts.tenancy import everyone
from audit.codes import NO_LINK, fits, link_code, purge_code
from audit.heads import Head
from audit.models import AuditLog, AuditPurge, AuditSeal, PurgedAuditLog
from desproject.lib.clock import SYSTEM_CLOCK, Clock

_CHUNK = 1000
# A row that is committed and still has no seal after this: no sealer runs, or the row came by another way.
_UNSEALED_LIMIT = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with what: ``subject`` names a row, a seal, a purge or the chain."""

    subject: str
    fault: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.fault}"


def verify(heads: Iterable[Head] = (), *, clock: Clock = SYSTEM_CLOCK) -> Iterator[Finding]:
    """Everything that doesn't fit, in the order of the chain; nothing when all is well.

    ``heads`` were exported earlier, and their links must still be there.
    """
    with everyone():
        yield from _chain({head.number: head.link for head in heads})
        yield from _unsealed(clock)
        yield from _copies()
        yield from _purges()


def _chain(heads: dict[int, str]) -> Iterator[Finding]:
    number, link = 0, NO_LINK
    for seals in _chunks(AuditSeal.objects.order_by("number").iterator(_CHUNK)):
        rows = AuditLog.objects.in_bulk([seal.audit_log_id for seal in seals])
        missing = {seal.audit_log_id for seal in seals} - rows.keys()
        purged = set(PurgedAuditLog.objects.filter(pk__in=missing).values_list("pk", flat=True))
        for seal in seals:
            if seal.number != number + 1:
                yield Finding(f"seals {number + 1} to {seal.number - 1}", "removed")
            elif seal.link != link_code(seal.number, link, seal.audit_log_id, seal.code):
                yield Finding(f"seal {seal.number}", "altered, or moved, or what was before it is gone")
            if heads.get(seal.number, seal.link) != seal.link:
                yield Finding(f"seal {seal.number}", "isn't the one that was exported")
            number, link = seal.number, seal.link
            yield from _sealed_row(seal, rows.get(seal.audit_log_id), is_purged=seal.audit_log_id in purged)
    if heads and (newest := max(heads)) > number:
        yield Finding("chain", f"ends at seal {number}, but seal {newest} was exported: its tail was cut off")


def _sealed_row(seal: AuditSeal, row: AuditLog | None, *, is_purged: bool) -> Iterator[Finding]:
    if row is None:
        if not is_purged:
            yield Finding(f"row {seal.audit_log_id}", "removed")
    elif row.code != seal.code or not fits(row):
        yield Finding(f"row {row.pk}", "altered, or not written by DES")


def _unsealed(clock: Clock) -> Iterator[Finding]:
    sealed = AuditSeal.objects.filter(audit_log_id=OuterRef("pk"))
    late = clock.now() - _UNSEALED_LIMIT
    for row in AuditLog.objects.filter(~Exists(sealed)).order_by("pk").iterator(_CHUNK):
        if not fits(row):
            yield Finding(f"row {row.pk}", "not written by DES")
        elif row.created_at < late:
            yield Finding(f"row {row.pk}", "without a seal for longer than a minute")


def _copies() -> Iterator[Finding]:
    repeated = AuditLog.objects.order_by().values("code").annotate(times=Count("pk")).filter(times__gt=1)
    for code, times in repeated.values_list("code", "times"):
        ids = AuditLog.objects.filter(code=code).order_by("pk").values_list("pk", flat=True)
        yield Finding(f"rows {', '.join(map(str, ids))}", f"one row, {times} times")


def _purges() -> Iterator[Finding]:
    for purge in AuditPurge.objects.order_by("pk").iterator():
        ids = list(purge.purged.order_by("pk").values_list("pk", flat=True))
        if purge.rows != len(ids) or purge.signature != purge_code(purge, ids):
            yield Finding(f"purge {purge.pk}", "altered, or not made by DES")


def _chunks(seals: Iterable[AuditSeal]) -> Iterator[Sequence[AuditSeal]]:
    waiting = iter(seals)
    while chunk := list(islice(waiting, _CHUNK)):
        yield chunk
