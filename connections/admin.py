"""Admin pages of connections and of the processes that share out work. Keys stay sealed and unseen."""

from typing import ClassVar

from django.contrib import admin

from accounts.admin_pages import ReadOnlyAdmin
from connections.models import Connection, KeyHolder, Lease, Process


@admin.register(Connection)
class ConnectionAdmin(ReadOnlyAdmin):
    list_display: ClassVar = (
        "name", "user", "exchange", "mode", "api_key_masked", "key_age_days", "key_version", "status",
    )
    list_select_related: ClassVar = ("user",)
    list_filter: ClassVar = ("exchange", "mode", "status", "is_deleted")
    search_fields: ClassVar = ("user__email", "name")


@admin.register(Lease)
class LeaseAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("kind", "key", "owner", "epoch", "expires_at")
    list_filter: ClassVar = ("kind",)


@admin.register(Process)
class ProcessAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("kind", "host", "pid", "started_at", "seen_at", "draining")


@admin.register(KeyHolder)
class KeyHolderAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("role", "host", "pid", "fingerprints", "seen_at")
