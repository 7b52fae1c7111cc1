"""The API keys of a deleted user (AUD-3): destroyed when nothing needs them any more, or after a time of grace, for an
exchange that stays away mustn't keep a key alive."""

from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from accounts.models import User
from accounts.tenancy import everyone, shard_of, tenant_scope
from audit.record import record
from connections import usage
from connections.models import Connection, ConnectionStatus
from desproject.lib.bus import Wake, wake
from desproject.lib.clock import SYSTEM_CLOCK, Clock

log = structlog.get_logger(__name__)

# For ``save(update_fields=…)`` after ``end``.
ENDED_FIELDS = (
    "is_deleted", "status", "status_reason", "api_key_sealed", "api_secret_sealed", "credential_version", "updated_at",
)


def end(connection: Connection) -> None:
    """Takes the connection and its ciphertexts away, for good; the caller saves ENDED_FIELDS."""
    connection.is_deleted = True
    connection.status, connection.status_reason = ConnectionStatus.DISABLED, "deleted"
    connection.api_key_sealed = connection.api_secret_sealed = ""
    # Gateways close at the next look.
    connection.credential_version += 1


def wake_streams(user: User) -> None:
    """Has streams and engines look at a deleted user's connections, once that has committed."""
    transaction.on_commit(partial(_wake, user.pk))


def destroy_due_keys(clock: Clock = SYSTEM_CLOCK) -> int:
    """Destroys the keys of deleted users that are due; answers how many. Any process may, as often as it likes."""
    with everyone():
        waiting = list(
            Connection.objects.filter(is_deleted=False, user__is_deleted=True).select_related("user").order_by("pk")
        )
    return sum(_destroy_if_due(row.pk, row.user, clock) for row in waiting)


def _destroy_if_due(connection_id: UUID, user: User, clock: Clock) -> bool:
    with tenant_scope(user.pk), transaction.atomic():
        connection = Connection.objects.select_for_update().filter(pk=connection_id, is_deleted=False).first()
        if connection is None:  # another process was first
            return False
        needed = usage.needed_by(connection.pk)
        if needed and not _grace_is_over(user, clock):
            return False
        end(connection)
        connection.save(update_fields=ENDED_FIELDS)
        record(
            "api_key.destroyed", user_id=user.pk, resource_type="connection", resource_id=connection.pk,
            details={"reason": "the user was deleted", "left_behind": needed},
        )
        transaction.on_commit(partial(_wake, user.pk))
    if needed:
        log.error("key_destroyed_with_work_left", connection_id=str(connection_id), left=needed)
    return True


def _grace_is_over(user: User, clock: Clock) -> bool:
    grace = timedelta(seconds=settings.CONFIG.key_grace_seconds)
    return user.deleted_at is None or clock.now() - user.deleted_at >= grace


def _wake(user_id: UUID) -> None:
    wake(Wake(shard_of(user_id), user_id, "connection"))
