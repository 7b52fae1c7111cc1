"""Writing the audit log. An entry commits with what it records, or not at all."""

from datetime import datetime
from typing import Any
from uuid import UUID

from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.log import scrub


def entry(
    event_type: str,
    *,
    user_id: UUID | None,
    resource_type: str = "",
    resource_id: object = "",
    details: dict[str, Any] | None = None,
    ip: str | None = None,
    user_agent: str = "",
    at: datetime | None = None,
) -> AuditLog:
    """An unsaved audit row, for callers that write many rows in one go."""
    return AuditLog(
        user_id=user_id,
        event_type=event_type,
        resource_type=resource_type,
        resource_id=str(resource_id),
        details=scrub(details or {}),
        ip=ip,
        user_agent=user_agent[:300],
        created_at=at or SYSTEM_CLOCK.now(),
    )


def record(event_type: str, *, user_id: UUID | None, **rest: Any) -> AuditLog:
    """Writes one audit row inside the caller's transaction; takes what ``entry`` takes."""
    row = entry(event_type, user_id=user_id, **rest)
    with everyone() if user_id is None else tenant_scope(user_id):
        row.save(force_insert=True)
    return row
