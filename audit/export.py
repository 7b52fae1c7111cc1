"""The audit log as JSON Lines: one row a line, oldest first, with the code that authenticates it (audit/codes.py)."""

import json
from collections.abc import Collection, Iterator
from uuid import UUID

from django.db.models import QuerySet

from audit.models import AuditLog

MEDIA_TYPE = "application/x-ndjson"
_BATCH = 1000


def line(row: AuditLog) -> str:
    """One row, without the line's end."""
    said = {
        "id": row.pk,
        "user": None if row.user_id is None else str(row.user_id),
        "event_type": row.event_type,
        "resource_type": row.resource_type,
        "resource_id": row.resource_id,
        "ip": row.ip,
        "user_agent": row.user_agent,
        "details": row.details,
        "created_at": row.created_at.isoformat(),
        "code": row.code,
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def rows(users: Collection[UUID] | None, after: int) -> "QuerySet[AuditLog]":
    """Rows beyond the id ``after``, of these users or of everybody; inside a scope that holds them."""
    found: QuerySet[AuditLog] = AuditLog.objects.filter(pk__gt=after).order_by("pk")
    return found if users is None else found.filter(user__in=users)


def lines(users: Collection[UUID] | None, after: int = 0) -> Iterator[str]:
    """All of them, read in batches: one that is under way holds no transaction open."""
    while batch := list(rows(users, after)[:_BATCH]):
        yield from map(line, batch)
        after = batch[-1].pk
