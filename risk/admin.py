"""Admin pages of limits, figures and kill switches."""

from typing import ClassVar

from django.contrib import admin

from accounts.admin_pages import ReadOnlyAdmin
from risk.models import KillSwitch, RiskMetrics, RiskPolicy


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
