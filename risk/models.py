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
    max_drawdown = MoneyField(null=True, blank=True)
    max_daily_trades = models.PositiveIntegerField(null=True, blank=True)
    max_open_orders = models.PositiveIntegerField(null=True, blank=True)
    max_orders_per_second = models.PositiveIntegerField(null=True, blank=True)
    # A list of symbols; empty means that nothing may be entered.
    symbols = models.JSONField(null=True, blank=True)
    max_leverage = models.PositiveSmallIntegerField(null=True, blank=True)
    # Of market orders, see Limits.
    max_slippage = MoneyField(null=True, blank=True)
    max_depth_share = MoneyField(null=True, blank=True)
    max_market_btc = MoneyField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "risk_policies"
        verbose_name_plural = "risk policies"
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
        verbose_name = verbose_name_plural = "risk metrics"
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
        verbose_name_plural = "kill switches"
        indexes: ClassVar = [
            models.Index(fields=["user"], condition=models.Q(lifted_at__isnull=True), name="kill_switches_active")
        ]

    def __str__(self) -> str:
        return f"{self.level} kill switch"


class RiskType(models.TextChoices):
    """What can go wrong, by the numbers of the risk register's document."""

    API = "R1.1", "exchange API"
    STREAM = "R1.2", "market and user streams"
    DATA = "R1.3", "market data"
    LATENCY = "R2.1", "latency"
    RESOURCES = "R2.2", "memory and tasks"
    EXECUTION = "R3.1", "order execution"
    SLIPPAGE = "R3.2", "slippage"
    BALANCE = "R3.3", "balance"
    SERVICE = "R4.1", "service"
    CONFIGURATION = "R4.2", "configuration"
    KEYS = "R5.1", "API keys"
    INPUT = "R5.2", "input and access"
    STRATEGY = "R6.1", "strategy"
    COMPLIANCE = "R6.2", "compliance"


class Severity(models.TextChoices):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class RiskEvent(TenantModel):
    """One entry of the risk register (RSK-7), numbered without a gap within each year over all users.

    What concerns the whole installation belongs to an administrator. ``source`` is the audit row that it was made of;
    null for what an administrator wrote down.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    year = models.PositiveSmallIntegerField(editable=False)
    number = models.PositiveIntegerField(editable=False)
    source = models.BigIntegerField(null=True, unique=True, editable=False)
    type = models.CharField(max_length=4, choices=RiskType)
    severity = models.CharField(max_length=8, choices=Severity)
    description = models.CharField(max_length=1000)
    impact = models.TextField(max_length=4000, blank=True)
    occurred_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    # What was done when: a list of {"at": ISO 8601, "what": text}.
    timeline = models.JSONField(default=list, blank=True)
    lessons = models.TextField(max_length=4000, blank=True)
    # Who sees to it, by name: not always somebody with an account here.
    owner = models.CharField(max_length=120, blank=True)
    # A list of {"what": text, "owner": text, "due": ISO 8601 date or null, "done": true or false}.
    action_items = models.JSONField(default=list, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "risk_events"
        indexes: ClassVar = [
            models.Index(fields=["user", "occurred_at"], name="risk_events_user_time"),
            models.Index(fields=["occurred_at"], name="risk_events_time"),
        ]
        constraints: ClassVar = [models.UniqueConstraint(fields=["year", "number"], name="risk_events_numbered")]

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        """``RE-2026-007``; past 999 the number grows longer."""
        return f"RE-{self.year}-{self.number:03d}"
