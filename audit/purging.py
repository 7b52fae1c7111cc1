"""Removing audit rows whose time of retention is over, so that the rest still verifies."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.tenancy import everyone
from audit.codes import purge_code
from audit.models import AuditLog, AuditPurge, PurgedAuditLog
from audit.sealer import seal_all
from desproject.lib.clock import SYSTEM_CLOCK, Clock


def purge_rows(user_id: UUID | None, *, before: datetime, reason: str, clock: Clock = SYSTEM_CLOCK) -> int:
    """Removes the rows of a user (None: of nobody) from before a time; returns how many.

    One transaction, which leaves a signed record. Their seals stay. The caller has made sure that the law wants this.
    """
    seal_all(clock)
    with everyone(), transaction.atomic():
        rows = AuditLog.objects.filter(created_at__lt=before)
        rows = rows.filter(user_id=user_id) if user_id else rows.filter(user__isnull=True)
        ids = list(rows.order_by("pk").values_list("pk", flat=True))
        if not ids:
            return 0
        purge = AuditPurge(user_id=user_id, reason=reason, rows=len(ids), purged_at=clock.now())
        purge.signature = purge_code(purge, ids)
        purge.save()
        PurgedAuditLog.objects.bulk_create([PurgedAuditLog(pk=pk, purge=purge) for pk in ids], batch_size=500)
        for start in range(0, len(ids), 500):
            AuditLog.objects.filter(pk__in=ids[start : start + 500]).delete()
    return len(ids)
