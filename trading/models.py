"""Strategy instances, signals, orders and what they lead to: trades, positions, balances.

Only the engine that owns a user's shard writes orders past ``new``, trades, positions, balances and reservations.
"""

import uuid
from typing import ClassVar

from django.db import models

from accounts.tenancy import TenantModel
from connections.gateways import OrderType, Side, TimeInForce
from desproject.lib.money import ZERO, MoneyField
from trading.order_states import OrderStatus


def _choices(kinds: type) -> list[tuple[str, str]]:
    return [(kind.value, kind.value) for kind in kinds]  # type: ignore[attr-defined]


class InstanceStatus(models.TextChoices):
    STOPPED = "stopped"
    RUNNING = "running"
    PAUSED = "paused"
    ERROR = "error"


class InstanceMode(models.TextChoices):
    LIVE = "live"
    PAPER = "paper"


class StrategyInstance(TenantModel):
    """A strategy with parameters, bound to one connection and symbol."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80)
    strategy = models.CharField(max_length=32)
    connection = models.ForeignKey("connections.Connection", on_delete=models.PROTECT, related_name="+")
    symbol = models.CharField(max_length=32)
    timeframe = models.CharField(max_length=4)
    params = models.JSONField(default=dict)
    sizing = models.JSONField(default=dict)
    mode = models.CharField(max_length=8, choices=InstanceMode, default=InstanceMode.LIVE)
    status = models.CharField(max_length=8, choices=InstanceStatus, default=InstanceStatus.STOPPED)
    status_reason = models.CharField(max_length=300, blank=True)
    # What the strategy itself holds in base asset, from the fills of its own orders; written by the engine.
    held_quantity = MoneyField(default=ZERO)
    # Saved by the engine in the transaction of each decision (grid level, DCA step, trailing high, …).
    state = models.JSONField(default=dict)
    started_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)
    is_deleted = models.BooleanField(default=False)

    class Meta:
        db_table = "strategy_instances"
        indexes: ClassVar = [
            models.Index(fields=["user", "created_at"], name="instances_user_created"),
            models.Index(fields=["user"], condition=models.Q(status="running"), name="instances_running"),
        ]

    def __str__(self) -> str:
        return self.name


class Decision(models.TextChoices):
    ORDERED = "ordered"
    DENIED = "denied"
    IGNORED = "ignored"


class Signal(TenantModel):
    """What a strategy emitted, what was seen and what was decided. Unique by (instance, event key): decided once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    instance = models.ForeignKey(StrategyInstance, on_delete=models.PROTECT, related_name="+")
    event_key = models.CharField(max_length=64)
    action = models.CharField(max_length=8)
    price = MoneyField()
    # Indicator values and the like, for people.
    seen = models.JSONField(default=dict)
    decision = models.CharField(max_length=8, choices=Decision)
    reason = models.CharField(max_length=300, blank=True)
    # When the market event that caused it reached the stream process.
    observed_at = models.DateTimeField()
    # When the engine decided: observed_at to decided_at is tick to signal.
    decided_at = models.DateTimeField()

    class Meta:
        db_table = "signals"
        indexes: ClassVar = [models.Index(fields=["user", "created_at"], name="signals_user_created")]
        constraints: ClassVar = [models.UniqueConstraint(fields=["instance", "event_key"], name="signals_decided_once")]

    def __str__(self) -> str:
        return f"{self.action} {self.event_key}"


class Order(TenantModel):
    """An order as DES sees it. Its statuses and moves are in trading/order_states.py."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey("connections.Connection", on_delete=models.PROTECT, related_name="+")
    instance = models.ForeignKey(StrategyInstance, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    signal = models.OneToOneField(Signal, on_delete=models.PROTECT, null=True, blank=True, related_name="order")
    symbol = models.CharField(max_length=32)
    side = models.CharField(max_length=4, choices=_choices(Side))
    type = models.CharField(max_length=16, choices=_choices(OrderType))
    time_in_force = models.CharField(max_length=4, choices=_choices(TimeInForce))
    quantity = MoneyField()
    price = MoneyField(null=True, blank=True)
    stop_price = MoneyField(null=True, blank=True)
    reduce_only = models.BooleanField(default=False)
    status = models.CharField(max_length=16, choices=_choices(OrderStatus), default=OrderStatus.NEW)
    # Sum of the trades booked, and their average price.
    filled_quantity = MoneyField(default=ZERO)
    average_price = MoneyField(null=True, blank=True)
    # Fees by asset, amounts as plain decimals.
    fee = models.JSONField(default=dict)
    # What the exchange reported as filled; above filled_quantity while trades are still to come.
    reported_quantity = MoneyField(default=ZERO)
    client_order_id = models.CharField(max_length=36, blank=True)
    exchange_order_id = models.CharField(max_length=64, blank=True)
    reject_code = models.CharField(max_length=64, blank=True)
    reject_reason = models.CharField(max_length=300, blank=True)
    idempotency_key = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001  # null keeps it unique only when given
    request_hash = models.CharField(max_length=64, blank=True)
    # Signal decided (or request accepted) to exchange acknowledged.
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "orders"
        indexes: ClassVar = [
            models.Index(fields=["user", "created_at"], name="orders_user_created"),
            models.Index(
                fields=["user"],
                condition=models.Q(status__in=["new", "pending", "submitted", "partially_filled", "unknown"]),
                name="orders_open",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "idempotency_key"], name="orders_idempotency_key")
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.symbol}"


class OrderAttempt(TenantModel):
    """One try to place an order at the exchange, under its own client order id, committed before it is sent."""

    client_order_id = models.CharField(max_length=36, primary_key=True)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="attempts")
    connection = models.ForeignKey("connections.Connection", on_delete=models.PROTECT, related_name="+")
    number = models.PositiveSmallIntegerField(default=1)
    shard = models.PositiveSmallIntegerField()
    epoch = models.PositiveBigIntegerField()
    # Nothing may be sent past this moment; a new owner asks the exchange only after it.
    send_deadline = models.DateTimeField()
    # null while nobody knows: sent, rejected, not_sent, …
    outcome = models.CharField(max_length=16, blank=True)
    latency_ms = models.FloatField(null=True, blank=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "order_attempts"
        constraints: ClassVar = [models.UniqueConstraint(fields=["order", "number"], name="order_attempts_number")]

    def __str__(self) -> str:
        return self.client_order_id


class OrderEvent(TenantModel):
    """One recorded move of an order from a status to the next."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="events")
    from_status = models.CharField(max_length=16)
    to_status = models.CharField(max_length=16)
    cause = models.CharField(max_length=32)
    at = models.DateTimeField()

    class Meta:
        db_table = "order_events"
        indexes: ClassVar = [models.Index(fields=["order", "id"], name="order_events_order")]

    def __str__(self) -> str:
        return f"{self.from_status} to {self.to_status}"


class Trade(TenantModel):
    """One fill, booked once by (connection, symbol, exchange trade id)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey("connections.Connection", on_delete=models.PROTECT, related_name="+")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, null=True, blank=True, related_name="trades")
    exchange_trade_id = models.CharField(max_length=64)
    symbol = models.CharField(max_length=32)
    side = models.CharField(max_length=4, choices=_choices(Side))
    quantity = MoneyField()
    price = MoneyField()
    fee = MoneyField(default=ZERO)
    fee_asset = models.CharField(max_length=16, blank=True)
    # In the quote asset, fees in base or quote taken off.
    realized_pnl = MoneyField(default=ZERO)
    liquidity = models.CharField(max_length=5, blank=True)
    executed_at = models.DateTimeField()

    class Meta:
        db_table = "trades"
        indexes: ClassVar = [models.Index(fields=["user", "created_at"], name="trades_user_created")]
        constraints: ClassVar = [
            # Binance numbers trades per symbol.
            models.UniqueConstraint(fields=["connection", "symbol", "exchange_trade_id"], name="trades_booked_once")
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.symbol}"


class Position(TenantModel):
    """What is held of a symbol on one connection, at average cost; derived from trades and rebuildable from them."""

    connection = models.ForeignKey("connections.Connection", on_delete=models.PROTECT, related_name="+")
    symbol = models.CharField(max_length=32)
    side = models.CharField(max_length=5, default="long")
    quantity = MoneyField(default=ZERO)
    average_price = MoneyField(default=ZERO)
    realized_pnl = MoneyField(default=ZERO)
    # Fees in assets other than base and quote, by asset.
    other_fees = models.JSONField(default=dict)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "positions"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "connection", "symbol", "side"], name="positions_unique")
        ]

    def __str__(self) -> str:
        return self.symbol


class Balance(TenantModel):
    """What the exchange account holds of an asset; ``reserved`` is held back for open orders."""

    connection = models.ForeignKey("connections.Connection", on_delete=models.PROTECT, related_name="+")
    asset = models.CharField(max_length=16)
    total = MoneyField(default=ZERO)
    # What the exchange itself has locked for open orders, ours and others'.
    locked = MoneyField(default=ZERO)
    # The exchange's time of the last known state.
    as_of = models.DateTimeField()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "balances"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "connection", "asset"], name="balances_unique")
        ]

    def __str__(self) -> str:
        return self.asset


class Reservation(TenantModel):
    """What an open order may still spend. Taken with the order, lowered by its fills, released once."""

    order = models.OneToOneField(Order, on_delete=models.PROTECT, primary_key=True, related_name="reservation")
    connection = models.ForeignKey("connections.Connection", on_delete=models.PROTECT, related_name="+")
    asset = models.CharField(max_length=16)
    # Taken at the start, and what is left of it.
    amount = MoneyField()
    remaining = MoneyField()
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "reservations"
        indexes: ClassVar = [
            models.Index(fields=["user"], condition=models.Q(released_at__isnull=True), name="reservations_open")
        ]

    def __str__(self) -> str:
        return self.asset


class CommandKind(models.TextChoices):
    CANCEL = "cancel"
    RECONCILE = "reconcile"


class Command(TenantModel):
    """A wish that only the shard's engine may carry out. The row is the promise; the wake-up message only a hint."""

    kind = models.CharField(max_length=16, choices=CommandKind)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    connection = models.ForeignKey(
        "connections.Connection", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    done_at = models.DateTimeField(null=True, blank=True)
    result = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "commands"
        indexes: ClassVar = [
            models.Index(fields=["user"], condition=models.Q(done_at__isnull=True), name="commands_open")
        ]

    def __str__(self) -> str:
        return self.kind


class Bar(models.Model):
    """A finished candle of a feed, shared by all tenants; final once stored. Prices are public market data."""

    feed = models.CharField(max_length=40)
    symbol = models.CharField(max_length=32)
    timeframe = models.CharField(max_length=4)
    opened_at = models.DateTimeField()
    open = MoneyField()
    high = MoneyField()
    low = MoneyField()
    close = MoneyField()
    volume = MoneyField()

    class Meta:
        db_table = "bars"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["feed", "symbol", "timeframe", "opened_at"], name="bars_final_once")
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe}"
