"""Risk limits, a user's day in figures, and the kill switch."""

import uuid
from typing import ClassVar

from django.db import models

from accounts.tenancy import TenantModel
from desproject.lib.money import ZERO, MoneyField


class PolicyLevel(models.TextChoices):
    STRATEGY = "strategy"
    CONNECTION = "connection"
    USER = "user"


class RiskPolicy(TenantModel):
    """Limits at one level; an empty limit leaves the next level to decide. Amounts are in the quote asset.

    Precedence: strategy, then connection, then user, then the global defaults (risk/policy.py).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    level = models.CharField(max_length=16, choices=PolicyLevel)
    # The strategy instance, connection or user that the limits are for.
    target_id = models.UUIDField()
    max_order_size = MoneyField(null=True, blank=True)
    max_position_size = MoneyField(null=True, blank=True)
    max_exposure = MoneyField(null=True, blank=True)
    max_daily_loss = MoneyField(null=True, blank=True)
    max_open_orders = models.PositiveIntegerField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "risk_policies"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "level", "target_id"], name="risk_policy_target")
        ]

    def __str__(self) -> str:
        return f"{self.level} policy"


class RiskMetrics(TenantModel):
    """One connection's UTC day: what was traded, won and lost, in the quote asset."""

    connection = models.ForeignKey("connections.Connection", on_delete=models.PROTECT, related_name="+")
    date = models.DateField()
    quote_asset = models.CharField(max_length=16)
    trade_count = models.PositiveIntegerField(default=0)
    realized_pnl = MoneyField(default=ZERO)
    # Sum of the day's losing trades, a positive number.
    loss = MoneyField(default=ZERO)
    peak_pnl = MoneyField(default=ZERO)
    max_drawdown = MoneyField(default=ZERO)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "risk_metrics"
        indexes: ClassVar = [models.Index(fields=["user", "date"], name="risk_metrics_user_date")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "connection", "date", "quote_asset"], name="risk_metrics_day")
        ]

    def __str__(self) -> str:
        return f"{self.date} {self.quote_asset}"


class KillLevel(models.TextChoices):
    STRATEGY = "strategy"
    CONNECTION = "connection"
    USER = "user"
    SYSTEM = "system"


class KillSwitch(TenantModel):
    """While ``lifted_at`` is null nothing new may be sent for the target. One row for each pressing.

    ``target_id`` is the strategy instance, connection or user that is stopped. Pressing takes the user's row
    exclusively, the engine holds it shared while it commits an intent: so a switch waits for the commits under way,
    and none comes after it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    level = models.CharField(max_length=16, choices=KillLevel)
    target_id = models.UUIDField()
    reason = models.CharField(max_length=500)
    flatten = models.BooleanField(default=False)
    pressed_by = models.ForeignKey("accounts.User", on_delete=models.PROTECT, related_name="+")
    lifted_at = models.DateTimeField(null=True, blank=True)
    lift_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "kill_switches"
        indexes: ClassVar = [
            models.Index(fields=["user"], condition=models.Q(lifted_at__isnull=True), name="kill_switches_active")
        ]

    def __str__(self) -> str:
        return f"{self.level} kill switch"
