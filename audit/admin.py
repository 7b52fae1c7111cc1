"""Admin pages of the audit log."""

from typing import ClassVar

from django.contrib import admin

from accounts.admin_pages import ReadOnlyAdmin
from audit.models import AuditLog


@admin.register(AuditLog)
class AuditLogAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("created_at", "event_type", "user", "resource_type", "resource_id", "ip")
    list_select_related: ClassVar = ("user",)
    list_filter: ClassVar = ("event_type",)
    search_fields: ClassVar = ("user__email", "resource_id")
    ordering: ClassVar = ("-created_at",)
