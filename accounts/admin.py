"""Admin pages of users and what belongs to their sessions."""

from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import deletion, lockout
from accounts.admin_pages import ReadOnlyAdmin, RecordedAdmin
from accounts.caller import caller_of
from accounts.models import (
    BetaCode,
    Device,
    DisclosureAcceptance,
    LoginAttempt,
    LoginTries,
    PasswordReset,
    RecoveryCode,
    SystemConfig,
    User,
)
from accounts.tenancy import everyone
from desproject.lib import features
from desproject.lib.errors import DomainError

# Roles are columns of the user here; Django's groups aren't used.
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(RecordedAdmin):
    list_display: ClassVar = ("email", "role", "is_admin", "is_active", "is_deleted", "created_at")
    list_filter: ClassVar = ("role", "is_active", "is_deleted")
    search_fields: ClassVar = ("email",)
    ordering: ClassVar = ("-created_at",)
    fields: ClassVar = (
        "id", "email", "role", "manager", "is_admin", "is_active", "is_alpha", "features", "is_deleted",
        "deleted_at", "beta_code", "otp_verified", "token_version", "failed_attempts", "last_failed_at", "locked_until",
        "created_at", "updated_at", "last_login",
    )
    autocomplete_fields: ClassVar = ("manager",)
    readonly_fields: ClassVar = (
        "id", "email", "features", "is_deleted", "deleted_at", "otp_verified", "token_version", "failed_attempts",
        "last_failed_at", "locked_until", "created_at", "updated_at", "last_login",
    )
    actions: ClassVar = ("unlock", "delete_users")

    @admin.display(description="Features")
    def features(self, user: User) -> str:
        return ", ".join(features.active(user)) or "none"

    @admin.action(description="Lift the lock of too many wrong log-ins")
    def unlock(self, request: HttpRequest, users: "QuerySet[User]") -> None:
        with everyone(), transaction.atomic():
            for user in users:
                lockout.unlock(user.email)
                self.log_change(request, user, "unlocked")

    @admin.action(description="Delete: end sessions and trading at once, cancel open orders, destroy the keys")
    def delete_users(self, request: HttpRequest, users: "QuerySet[User]") -> None:
        for user in users.filter(is_deleted=False):
            try:
                deletion.delete_user(deleter=cast(User, request.user), user_id=user.pk, caller=caller_of(request))
            except DomainError as error:
                self.message_user(request, f"{user.email}: {error.message}", messages.ERROR)

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


@admin.register(RecoveryCode)
class RecoveryCodeAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("user", "used_at", "created_at")
    list_select_related: ClassVar = ("user",)


@admin.register(LoginAttempt)
class LoginAttemptAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("email", "success", "reason", "ip", "created_at")
    list_filter: ClassVar = ("success", "reason")
    search_fields: ClassVar = ("email", "ip")


@admin.register(LoginTries)
class LoginTriesAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("subject", "failed", "locks", "locked_until", "last_failed_at")
    search_fields: ClassVar = ("subject",)


@admin.register(PasswordReset)
class PasswordResetAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("user", "ip", "created_at", "mailed_at", "expires_at", "used_at")
    list_select_related: ClassVar = ("user",)


@admin.register(BetaCode)
class BetaCodeAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("hint", "uses", "max_uses", "expires_at", "created_at")


@admin.register(DisclosureAcceptance)
class DisclosureAcceptanceAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("user", "version", "accepted_at", "ip")
    list_select_related: ClassVar = ("user",)


@admin.register(SystemConfig)
class SystemConfigAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("key", "updated_at")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        # The values are sealed secrets.
        return ["key", "updated_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return self.get_fields(request, obj)
