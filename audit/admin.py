"""Admin pages of the audit log."""

from typing import ClassVar

from django.contrib import admin

from accounts.admin_pages import ReadOnlyAdmin
from audit.models import AuditLog, AuditPurge, AuditSeal, PurgedAuditLog


@admin.register(AuditLog)
class AuditLogAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("created_at", "event_type", "user", "resource_type", "resource_id", "ip")
    list_select_related: ClassVar = ("user",)
    list_filter: ClassVar = ("event_type",)
    search_fields: ClassVar = ("user__email", "resource_id")
    ordering: ClassVar = ("-created_at",)


@admin.register(AuditSeal)
class AuditSealAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("number", "audit_log_id", "sealed_at")
    ordering: ClassVar = ("-number",)


@admin.register(AuditPurge)
class AuditPurgeAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("purged_at", "user_id", "rows", "reason")
    ordering: ClassVar = ("-purged_at",)


@admin.register(PurgedAuditLog)
class PurgedAuditLogAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("audit_log_id", "purge")
    list_select_related: ClassVar = ("purge",)
    ordering: ClassVar = ("-audit_log_id",)
