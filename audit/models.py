"""The audit log: who did what, when, from where."""

from typing import ClassVar

from django.db import models
from django_scopes import ScopedManager


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
