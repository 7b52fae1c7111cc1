"""The audit log: who did what, when, from where; and the seals that prove that nobody changed it since.

``audit_logs`` is append-only: the database refuses changes (``append_only``). Every row carries a code over its content
under a key that is not in the database in plain, so a row that somebody wrote or altered by hand doesn't fit. A seal
binds each row to all rows before it (``sealer``), so a row that is removed or moved leaves a gap.
"""

from typing import Any, ClassVar

from django.db import models
from django_scopes import ScopedManager

from audit.codes import row_code

_HEX_DIGITS = 64


class CodeField(models.CharField):  # type: ignore[type-arg]  # not subscriptable at run time
    """The row's authentication code, computed when the row is inserted, however it is inserted."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        if add:
            setattr(model_instance, self.attname, row_code(model_instance))  # type: ignore[arg-type]
        return super().pre_save(model_instance, add)


class AuditLog(models.Model):
    """One event, written in the transaction of what it records. ``user`` is null only for nobody known."""

    user = models.ForeignKey("accounts.User", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    event_type = models.CharField(max_length=64)
    resource_type = models.CharField(max_length=32, blank=True)
    resource_id = models.CharField(max_length=64, blank=True)
    ip = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    details = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    code = CodeField(max_length=_HEX_DIGITS, editable=False)

    objects: ClassVar = ScopedManager(user="user")

    class Meta:
        db_table = "audit_logs"
        indexes: ClassVar = [
            models.Index(fields=["user", "event_type", "created_at"], name="audit_user_event"),
            models.Index(fields=["user", "created_at"], name="audit_user_created"),
            models.Index(fields=["event_type", "created_at"], name="audit_event"),
        ]

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M:%S} {self.event_type}"


class AuditSeal(models.Model):
    """The ``number``-th link of the chain. ``link`` authenticates the link before it, the row's id and its code.

    Kept when the row itself is lawfully purged, so that what comes after still verifies.
    """

    number = models.BigIntegerField(primary_key=True)
    audit_log_id = models.BigIntegerField(unique=True)
    code = models.CharField(max_length=_HEX_DIGITS)
    link = models.CharField(max_length=_HEX_DIGITS)
    sealed_at = models.DateTimeField()

    class Meta:
        db_table = "audit_seals"

    def __str__(self) -> str:
        return f"{self.number}: {self.audit_log_id}"


class AuditPurge(models.Model):
    """A lawful removal of rows whose time of retention is over; ``signature`` covers the ids that it names."""

    user_id = models.UUIDField(null=True, blank=True)
    reason = models.CharField(max_length=200)
    rows = models.PositiveBigIntegerField()
    signature = models.CharField(max_length=_HEX_DIGITS)
    purged_at = models.DateTimeField()

    class Meta:
        db_table = "audit_purges"

    def __str__(self) -> str:
        return f"{self.rows} rows at {self.purged_at:%Y-%m-%d}"


class PurgedAuditLog(models.Model):
    """One row that a purge removed. The database lets a row of ``audit_logs`` go only when it stands here."""

    audit_log_id = models.BigIntegerField(primary_key=True)
    purge = models.ForeignKey(AuditPurge, on_delete=models.PROTECT, related_name="purged")

    class Meta:
        db_table = "audit_purged"

    def __str__(self) -> str:
        return str(self.audit_log_id)
