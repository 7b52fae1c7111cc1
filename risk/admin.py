"""Admin pages of limits, figures and kill switches."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest

from accounts.admin_pages import ReadOnlyAdmin, RecordedAdmin
from risk.models import KillSwitch, RiskEvent, RiskMetrics, RiskPolicy


@admin.register(RiskPolicy)
class RiskPolicyAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("user", "level", "target_id", "max_order_size", "max_exposure", "max_daily_loss")
    list_select_related: ClassVar = ("user",)


@admin.register(RiskMetrics)
class RiskMetricsAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("user", "connection", "date", "quote_asset", "trade_count", "realized_pnl")
    list_select_related: ClassVar = ("user", "connection")


@admin.register(KillSwitch)
class KillSwitchAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("user", "level", "target_id", "reason", "created_at", "lifted_at")
    list_select_related: ClassVar = ("user",)


@admin.register(RiskEvent)
class RiskEventAdmin(RecordedAdmin):
    """The system enters events, and the API does for administrators; here is told what became of them."""

    list_display: ClassVar = ("reference", "type", "severity", "description", "user", "occurred_at", "resolved_at")
    list_filter: ClassVar = ("severity", "type")
    list_select_related: ClassVar = ("user",)
    ordering: ClassVar = ("-occurred_at",)
    search_fields: ClassVar = ("description",)
    # What has a form of its own is amended by the API, which knows it.
    readonly_fields: ClassVar = (
        "reference", "user", "source", "occurred_at", "timeline", "action_items", "created_at", "updated_at",
    )  # fmt: skip
    fields: ClassVar = (
        "reference", "user", "type", "severity", "description", "impact", "occurred_at", "resolved_at", "timeline",
        "lessons", "owner", "action_items", "source", "created_at", "updated_at",
    )

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
