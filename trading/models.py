"""Strategy instances, signals, orders and what they lead to: trades, positions, balances.

Only the engine that owns a user's shard writes orders past ``new``, trades, positions, balances and reservations.
"""

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models

from accounts.tenancy import TenantModel
from connections.gateways import Side
from desproject.lib.money import ZERO, MoneyField
from trading.order_states import OrderStatus
from trading.order_types import Lifetime, OrderKind

# Ours are no longer; of orders placed elsewhere no more is kept, for they are named by the exchange's id.
CLIENT_ID_LENGTH = 36


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
    """A strategy with parameters, bound to one connection (an arbitrage to two) and a symbol."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80)
    strategy = models.CharField(max_length=32)
    connection = models.ForeignKey("connections.Connection", on_delete=models.PROTECT, related_name="+")
    # The other side of an arbitrage; null for every other strategy.
    connection_b = models.ForeignKey(
        "connections.Connection", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    symbol = models.CharField(max_length=32)
    timeframe = models.CharField(max_length=4)
    params = models.JSONField(default=dict)
    sizing = models.JSONField(default=dict)
    # Attached stops and times (trading/exits.py).
    exits = models.JSONField(default=dict)
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


class PaperRun(TenantModel):
    """A time in which an instance ran on paper with one configuration (trading/dry_run.py); ``seen_at`` is moved on by
    the engine while it runs."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    instance = models.ForeignKey(StrategyInstance, on_delete=models.PROTECT, related_name="+")
    fingerprint = models.CharField(max_length=64)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "paper_runs"
        indexes: ClassVar = [models.Index(fields=["instance", "fingerprint"], name="paper_runs_instance")]

    def __str__(self) -> str:
        return f"{self.started_at} to {self.seen_at}"


class DryRunLift(TenantModel):
    """A configuration that may trade live without its dry run."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    instance = models.ForeignKey(StrategyInstance, on_delete=models.PROTECT, related_name="+")
    fingerprint = models.CharField(max_length=64)
    reason = models.CharField(max_length=300)
    # null: it had traded before there was a gate.
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        db_table = "dry_run_lifts"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["instance", "fingerprint"], name="dry_run_lifts_once")
        ]

    def __str__(self) -> str:
        return self.reason


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
    type = models.CharField(max_length=20, choices=_choices(OrderKind))
    time_in_force = models.CharField(max_length=4, choices=_choices(Lifetime))
    # Past this moment what is left of it is cancelled: its own time, or that of what is meant to fill at once.
    expires_at = models.DateTimeField(null=True, blank=True)
    # How long it may take to fill; null for the usual time of what is meant to fill at once, 0 for as long as it rests.
    timeout_seconds = models.PositiveIntegerField(null=True, blank=True)
    quantity = MoneyField()
    price = MoneyField(null=True, blank=True)
    # The trigger of an order that waits for one; a trailing stop's moves with the market, so far behind it.
    stop_price = MoneyField(null=True, blank=True)
    trail_rate = MoneyField(null=True, blank=True)
    triggered_at = models.DateTimeField(null=True, blank=True)
    # The order that it waits with: the first of them that is triggered cancels the others.
    oco_group = models.UUIDField(null=True, blank=True)
    # The order whose place it takes once that has been cancelled; its quantity then becomes what is left of it.
    replaces = models.UUIDField(null=True, blank=True, unique=True)
    reduce_only = models.BooleanField(default=False)
    status = models.CharField(max_length=16, choices=_choices(OrderStatus), default=OrderStatus.NEW)
    # Sum of the trades booked, and their average price.
    filled_quantity = MoneyField(default=ZERO)
    average_price = MoneyField(null=True, blank=True)
    # What it was decided on: its limit, or the price at which a market order would have filled.
    expected_price = MoneyField(null=True, blank=True)
    # Fees by asset, amounts as plain decimals.
    fee = models.JSONField(default=dict)
    # What the exchange reported as filled; above filled_quantity while trades are still to come.
    reported_quantity = MoneyField(default=ZERO)
    client_order_id = models.CharField(max_length=CLIENT_ID_LENGTH, blank=True)
    exchange_order_id = models.CharField(max_length=64, blank=True)
    # Somebody placed it at the exchange without DES; it was adopted, and counts like every other.
    elsewhere = models.BooleanField(default=False)
    # It never leaves DES: its connection is a paper account.
    paper = models.BooleanField(default=False)
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
                condition=models.Q(
                    status__in=["new", "waiting", "pending", "submitted", "partially_filled", "unknown"]
                ),
                name="orders_open",
            ),
            models.Index(
                fields=["connection", "exchange_order_id"],
                condition=models.Q(elsewhere=True),
                name="orders_elsewhere",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "idempotency_key"], name="orders_idempotency_key")
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.symbol}"


class OrderAttempt(TenantModel):
    """One try to place an order at the exchange, under its own client order id, committed before it is sent."""

    client_order_id = models.CharField(max_length=CLIENT_ID_LENGTH, primary_key=True)
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


class FireStatus(models.TextChoices):
    """How far an arbitrage has come: its legs are under way; one side was filled further than the other and is being
    hedged; both sides are even."""

    OPEN = "open"
    EXPOSED = "exposed"
    SETTLED = "settled"


class ArbitrageFire(TenantModel):
    """Bought on one connection and sold on another at the same time: what was expected and what became of it.

    Prices are averages over the depth that was walked, amounts in the quote asset after fees, quantities in base.
    Written by the engine (trading/engine/arbitrage_settling.py), with its legs in the transaction that commits them.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    instance = models.ForeignKey(StrategyInstance, on_delete=models.PROTECT, related_name="+")
    signal = models.OneToOneField(Signal, on_delete=models.PROTECT, related_name="+")
    symbol = models.CharField(max_length=32)
    quote_asset = models.CharField(max_length=16)
    buy_connection = models.ForeignKey("connections.Connection", on_delete=models.PROTECT, related_name="+")
    sell_connection = models.ForeignKey("connections.Connection", on_delete=models.PROTECT, related_name="+")
    quantity = MoneyField()
    expected_buy_price = MoneyField()
    expected_sell_price = MoneyField()
    expected_profit = MoneyField()
    status = models.CharField(max_length=8, choices=FireStatus, default=FireStatus.OPEN)
    # Both sides' fills, hedges included; the profit is known once the fire is settled.
    bought_quantity = MoneyField(default=ZERO)
    sold_quantity = MoneyField(default=ZERO)
    profit = MoneyField(null=True, blank=True)
    # Bought less sold when the legs had ended: single-sided until hedged. Below zero, more was sold.
    exposed_quantity = MoneyField(default=ZERO)
    exposed_at = models.DateTimeField(null=True, blank=True)
    # What the hedge lost against an exposure that had never been, fees included; below zero where it won.
    exposure_cost = MoneyField(default=ZERO)
    # The slower leg's way to the exchange and back.
    latency_ms = models.FloatField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "arbitrage_fires"
        indexes: ClassVar = [
            models.Index(fields=["user", "created_at"], name="arbitrage_fires_user_created"),
            models.Index(fields=["instance", "created_at"], name="arbitrage_fires_instance"),
            models.Index(fields=["user"], condition=~models.Q(status="settled"), name="arbitrage_fires_unsettled"),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.status}"


class LegRole(models.TextChoices):
    BUY = "buy"
    SELL = "sell"
    HEDGE = "hedge"


class ArbitrageLeg(TenantModel):
    """An order of an arbitrage: one of the two sides, or what evens them out afterwards."""

    order = models.OneToOneField(Order, on_delete=models.PROTECT, primary_key=True, related_name="arbitrage_leg")
    fire = models.ForeignKey(ArbitrageFire, on_delete=models.PROTECT, related_name="legs")
    role = models.CharField(max_length=5, choices=LegRole)

    class Meta:
        db_table = "arbitrage_legs"
        indexes: ClassVar = [models.Index(fields=["fire"], name="arbitrage_legs_fire")]

    def __str__(self) -> str:
        return self.role


class Position(TenantModel):
    """What is held of a symbol on one connection, at average cost; derived from trades and rebuildable from them."""

    connection = models.ForeignKey("connections.Connection", on_delete=models.PROTECT, related_name="+")
    symbol = models.CharField(max_length=32)
    side = models.CharField(max_length=5, default="long")
    quantity = MoneyField(default=ZERO)
    average_price = MoneyField(default=ZERO)
    realized_pnl = MoneyField(default=ZERO)
    # Of a position on margin, as the exchange last told; no price where none would liquidate it.
    leverage = models.PositiveSmallIntegerField(null=True, blank=True)
    liquidation_price = MoneyField(null=True, blank=True)
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
    """What the exchange account holds of an asset. What open orders hold back of it stands in their reservations."""

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


class EquityPoint(TenantModel):
    """What an account was worth in a quote asset at a minute; written by the engine (trading/engine/equity.py)."""

    connection = models.ForeignKey("connections.Connection", on_delete=models.PROTECT, related_name="+")
    asset = models.CharField(max_length=16)
    at = models.DateTimeField()
    value = MoneyField()

    class Meta:
        db_table = "equity_points"
        indexes: ClassVar = [
            models.Index(fields=["user", "at"], name="equity_points_user_at"),
            models.Index(fields=["at"], name="equity_points_at"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["connection", "asset", "at"], name="equity_points_once_a_minute")
        ]

    def __str__(self) -> str:
        return f"{self.at} {self.asset}"


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


class Reconciliation(TenantModel):
    """One comparison of an account with what the exchange says of it, and what it repaired (ORD-8).

    A comparison that finds nothing leaves a row only when its owner asked for it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey("connections.Connection", on_delete=models.PROTECT, related_name="+")
    # start, gap, timer, asked
    cause = models.CharField(max_length=8)
    at = models.DateTimeField()
    orders_checked = models.PositiveIntegerField()
    # Each {kind, subject, exchange, here}, as trading/engine/findings.py says.
    differences = models.JSONField(default=list)

    class Meta:
        db_table = "reconciliations"
        indexes: ClassVar = [models.Index(fields=["user", "created_at"], name="reconciliations_user_created")]

    def __str__(self) -> str:
        return f"{self.cause} {self.at}"


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
