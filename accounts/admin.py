"""Admin pages of users and what belongs to their sessions."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.models import Group
from django.http import HttpRequest

from accounts.admin_pages import ReadOnlyAdmin, RecordedAdmin
from accounts.models import Device, LoginAttempt, SystemConfig, User

# Roles are columns of the user here; Django's groups aren't used.
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(RecordedAdmin):
    list_display: ClassVar = ("email", "role", "is_admin", "is_active", "is_deleted", "created_at")
    list_filter: ClassVar = ("role", "is_active", "is_deleted")
    search_fields: ClassVar = ("email",)
    ordering: ClassVar = ("-created_at",)
    fields: ClassVar = (
        "id", "email", "role", "is_admin", "is_active", "is_deleted", "beta_code", "otp_verified", "token_version",
        "failed_attempts", "last_failed_at", "locked_until", "created_at", "updated_at", "last_login",
    )
    readonly_fields: ClassVar = (
        "id", "email", "is_deleted", "otp_verified", "token_version", "failed_attempts", "last_failed_at",
        "created_at", "updated_at", "last_login",
    )

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        # Users register themselves, with a password that nobody else knows.
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Device)
class DeviceAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("name", "user", "ip", "last_used_at", "revoked_at")
    list_select_related: ClassVar = ("user",)
    search_fields: ClassVar = ("user__email", "name")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [name for name in super().get_fields(request, obj) if name != "refresh_jti"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return self.get_fields(request, obj)


@admin.register(LoginAttempt)
class LoginAttemptAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("email", "success", "ip", "created_at")
    list_filter: ClassVar = ("success",)
    search_fields: ClassVar = ("email", "ip")


@admin.register(SystemConfig)
class SystemConfigAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("key", "updated_at")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        # The values are sealed secrets.
        return ["key", "updated_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return self.get_fields(request, obj)
