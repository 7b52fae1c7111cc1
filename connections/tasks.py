"""What the default cluster does for connections by the clock."""

from datetime import timedelta

from accounts.tenancy import everyone
from audit.models import AuditLog
from audit.record import record
from connections.models import OLD_KEY_DAYS, Connection, ConnectionStatus, Mode
from desproject.lib.clock import SYSTEM_CLOCK, Clock

REMINDER = "api_key.old"


def remind_of_old_keys(clock: Clock = SYSTEM_CLOCK) -> int:
    """Writes into its owner's audit log that a key is older than OLD_KEY_DAYS, once in as many days; how many."""
    now = clock.now()
    since = now - timedelta(days=OLD_KEY_DAYS)
    with everyone():
        told = AuditLog.objects.filter(event_type=REMINDER, created_at__gt=since)
        known = set(told.values_list("resource_id", flat=True))
        old = Connection.objects.filter(is_deleted=False, user__is_deleted=False, key_set_at__lt=since)
        old = old.exclude(status=ConnectionStatus.DISABLED).exclude(mode=Mode.PAPER)
        due = [row for row in old if str(row.pk) not in known]
        for row in due:
            record(
                REMINDER, user_id=row.user_id, resource_type="connection", resource_id=row.pk, at=now,
                details={"name": row.name, "api_key_masked": row.api_key_masked, "days": (now - row.key_set_at).days},
            )  # fmt: skip
    return len(due)
