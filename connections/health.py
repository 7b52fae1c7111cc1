"""What regular checks of a connection found, and what becomes of its status (CON-5).

An exchange that doesn't answer makes a connection unhealthy after a few checks in a row; a key that doesn't work, or
may do too much or too little, at once. A check that succeeds makes it healthy again.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import connection as database
from django.db import transaction

from accounts.tenancy import shard_of, tenant_scope
from audit.record import record
from connections.gateways import GatewayError, KeyPermissions, KeyRefused
from connections.models import Connection, ConnectionStatus
from connections.services import KeyCannotTrade, KeyCanWithdraw, require_safe
from desproject.lib.bus import Wake, wake

_FIELDS = ("status", "status_reason", "permissions", "failed_checks", "last_checked_at", "updated_at")


@dataclass(frozen=True, slots=True)
class Finding:
    """What the exchange answered, or ``fault``: why there is no good answer. ``is_final``: asking again won't help."""

    permissions: KeyPermissions | None = None
    fault: str = ""
    is_final: bool = False


def judge(answer: KeyPermissions | GatewayError) -> Finding:
    """What an answer means."""
    if isinstance(answer, GatewayError):
        return Finding(fault=answer.message, is_final=isinstance(answer, KeyRefused))
    try:
        require_safe(answer)
    except (KeyCanWithdraw, KeyCannotTrade) as error:
        return Finding(permissions=answer, fault=error.message, is_final=True)
    return Finding(permissions=answer)


def note(user_id: UUID, connection_id: UUID, credential_version: int, finding: Finding, at: datetime) -> None:
    """Keeps what was found; tells the owner's audit log and engine where the status changes. In a database thread.

    What was found out about a key that was replaced meanwhile says nothing about the new one; one that was disabled or
    deleted meanwhile stays so.
    """
    with tenant_scope(user_id), transaction.atomic():
        rows = Connection.objects.filter(pk=connection_id, credential_version=credential_version, is_deleted=False)
        if database.features.has_select_for_update:
            rows = rows.select_for_update()
        row: Connection | None = rows.exclude(status=ConnectionStatus.DISABLED).first()
        if row is None:
            return
        before = row.status
        _take(row, finding)
        row.last_checked_at = at
        row.save(update_fields=_FIELDS)
        if row.status != before:
            _tell(row, at)


def _take(row: Connection, finding: Finding) -> None:
    if finding.permissions is not None:
        row.permissions = asdict(finding.permissions)
    if not finding.fault:
        row.status, row.status_reason, row.failed_checks = ConnectionStatus.OK, "", 0
        return
    row.failed_checks += 1
    if finding.is_final or row.failed_checks >= settings.CONFIG.health_check_failures:
        row.status, row.status_reason = ConnectionStatus.UNHEALTHY, finding.fault[:200]


def _tell(row: Connection, at: datetime) -> None:
    event = "connection.recovered" if row.status == ConnectionStatus.OK else "connection.unhealthy"
    record(
        event, user_id=row.user_id, resource_type="connection", resource_id=row.pk, at=at,
        details={"name": row.name, "reason": row.status_reason, "failed_checks": row.failed_checks},
    )  # fmt: skip
    transaction.on_commit(lambda: wake(Wake(shard_of(row.user_id), row.user_id, "connection")))


