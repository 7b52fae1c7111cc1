"""Trading rows as API answers and browser pushes show them. None of them reads the database by itself."""

import hashlib
import json
import re
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from connections.gateways import Side
from desproject.lib.api import AmountField
from desproject.lib.errors import InvalidInput
from desproject.lib.money import ZERO
from trading.models import (
    ArbitrageFire,
    ArbitrageLeg,
    Balance,
    FireStatus,
    InstanceMode,
    InstanceStatus,
    LegRole,
    Order,
    Position,
    Signal,
    StrategyInstance,
    Trade,
)
from trading.order_states import OrderStatus
from trading.order_types import Lifetime, OrderKind
from trading.paper.account import PREFIX
from trading.performance import Performance
from trading.positions import PositionState, unrealized

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,64}")
# The same for the published schema.
IDEMPOTENCY_KEY = {"type": "string", "pattern": f"^{_IDEMPOTENCY_KEY.pattern}$"}


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses names that it doesn't know: an ignored one could change what an order means."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := set(data) - set(self.fields)):
            raise serializers.ValidationError({name: ["There is no such field."] for name in sorted(unknown)})
        return super().to_internal_value(data)


class OrderSerializer(serializers.ModelSerializer[Order]):
    connection = serializers.UUIDField(source="connection_id")
    strategy_instance = serializers.UUIDField(source="instance_id", allow_null=True)
    side = serializers.ChoiceField(choices=[side.value for side in Side])
    type = serializers.ChoiceField(choices=[(kind.value, kind.name) for kind in OrderKind])
    time_in_force = serializers.ChoiceField(choices=[kind.value for kind in Lifetime])
    status = serializers.ChoiceField(choices=[status.value for status in OrderStatus])
    quantity = AmountField()
    price = AmountField(allow_null=True)
    stop_price = AmountField(allow_null=True)
    trail_rate = AmountField(allow_null=True)
    filled_quantity = AmountField()
    average_price = AmountField(allow_null=True)
    expected_price = AmountField(allow_null=True, help_text="What it was decided on; null before.")
    fee = serializers.DictField(child=serializers.CharField(), help_text="Asset to amount.")

    class Meta:
        model = Order
        fields = (
            "id", "connection", "strategy_instance", "symbol", "side", "type", "time_in_force",
            "expires_at", "timeout_seconds", "quantity", "price", "stop_price", "trail_rate", "oco_group",
            "replaces", "reduce_only", "triggered_at", "status", "filled_quantity", "average_price", "expected_price",
            "fee", "client_order_id", "exchange_order_id", "elsewhere", "paper", "reject_code", "reject_reason",
            "created_at", "updated_at",
        )


class NewOrderSerializer(StrictSerializer):
    connection = serializers.UUIDField()
    symbol = serializers.CharField(max_length=32)
    side = serializers.ChoiceField(choices=[side.value for side in Side])
    type = serializers.ChoiceField(choices=[(kind.value, kind.name) for kind in OrderKind])
    quantity = AmountField(positive=True)
    price = AmountField(positive=True, required=False, allow_null=True, default=None)
    stop_price = AmountField(
        positive=True, required=False, allow_null=True, default=None,
        help_text="Of stop_loss and take_profit orders, with or without limit: the price of a trade, or the middle of "
        "bid and ask, that sends them.",
    )
    trail_rate = AmountField(
        positive=True, required=False, allow_null=True, default=None,
        help_text="Of trailing_stop orders: how far behind the best price the trigger is, as a share of it (0.01).",
    )
    oco_with = serializers.UUIDField(
        required=False, allow_null=True, default=None,
        help_text="An order that waits for its trigger: the first of them that is triggered cancels the other. "
        "Cancelling one cancels both.",
    )
    time_in_force = serializers.ChoiceField(choices=[kind.value for kind in Lifetime], default=Lifetime.GTC.value)
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="With gtd: what isn't filled then is cancelled."
    )
    timeout_seconds = serializers.IntegerField(
        min_value=0, max_value=86_400, required=False, allow_null=True, default=None,
        help_text="What isn't filled after so many seconds is cancelled. Without it that holds, after the usual time, "
        "for orders that are meant to fill at once: market, ioc, fok, and a limit that the market has reached when it "
        "is sent. 0 lets such a limit rest.",
    )
    reduce_only = serializers.BooleanField(default=False)


class OrderChangesSerializer(StrictSerializer):
    """What of an order that rests or waits may be changed: another one takes its place."""

    quantity = AmountField(
        positive=True, required=False, help_text="Of both together: what of the first is filled is taken off."
    )
    price = AmountField(positive=True, required=False)
    stop_price = AmountField(positive=True, required=False)
    trail_rate = AmountField(positive=True, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError({name: ["Give at least one of these."] for name in self.get_fields()})
        return attrs


def idempotency_key(key: str | None) -> str | None:
    """The key under which an order came, if any. Raises InvalidInput."""
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidInput("the Idempotency-Key must be 1 to 64 printable ASCII characters without blanks")
    return key


def request_hash(data: dict[str, Any]) -> str:
    """Tells two orders apart that came under one Idempotency-Key."""
    shown = NewOrderSerializer(data).data
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


class TradeSerializer(serializers.ModelSerializer[Trade]):
    paper = serializers.SerializerMethodField()
    order = serializers.UUIDField(source="order_id", allow_null=True)
    connection = serializers.UUIDField(source="connection_id")
    side = serializers.ChoiceField(choices=[side.value for side in Side])
    quantity = AmountField()
    price = AmountField()
    fee = AmountField()
    realized_pnl = AmountField()

    class Meta:
        model = Trade
        fields = (
            "id", "order", "connection", "exchange_trade_id", "symbol", "side", "quantity", "price", "fee",
            "fee_asset", "realized_pnl", "liquidity", "paper", "executed_at",
        )

    def get_paper(self, trade: Trade) -> bool:
        return str(trade.exchange_trade_id).startswith(PREFIX)


class PositionSerializer(serializers.ModelSerializer[Position]):
    """``context["marks"]`` maps (connection id, symbol) to the price that positions are worth at."""

    connection = serializers.UUIDField(source="connection_id")
    quantity = AmountField()
    average_price = AmountField()
    realized_pnl = AmountField()
    liquidation_price = AmountField(allow_null=True, help_text="As the exchange tells it, of a position on margin.")
    mark_price = serializers.SerializerMethodField()
    unrealized_pnl = serializers.SerializerMethodField()

    class Meta:
        model = Position
        fields = (
            "connection", "symbol", "side", "quantity", "average_price", "mark_price", "unrealized_pnl",
            "realized_pnl", "leverage", "liquidation_price", "updated_at",
        )

    def get_mark_price(self, position: Position) -> str | None:
        mark = self._mark(position)
        return None if mark is None else AmountField().to_representation(mark)

    def get_unrealized_pnl(self, position: Position) -> str | None:
        mark = self._mark(position)
        if mark is None:
            return None
        held = PositionState(position.quantity, position.average_price)
        return AmountField().to_representation(unrealized(held, mark))

    def _mark(self, position: Position) -> Decimal | None:
        mark: Decimal | None = self.context.get("marks", {}).get((position.connection_id, position.symbol))
        return mark


class BalanceSerializer(serializers.ModelSerializer[Balance]):
    """``context["reserved"]`` maps (connection id, asset) to what open orders of ours hold back."""

    connection = serializers.UUIDField(source="connection_id")
    total = AmountField()
    available = serializers.SerializerMethodField()
    reserved = serializers.SerializerMethodField()

    class Meta:
        model = Balance
        fields = ("connection", "asset", "total", "available", "reserved", "as_of")

    def get_available(self, balance: Balance) -> str:
        # What is locked at the exchange and isn't reserved by us belongs to orders that were placed elsewhere.
        held = max(balance.locked, self._reserved(balance))
        return AmountField().to_representation(max(balance.total - held, ZERO))

    def get_reserved(self, balance: Balance) -> str:
        return AmountField().to_representation(self._reserved(balance))

    def _reserved(self, balance: Balance) -> Decimal:
        reserved: Decimal = self.context.get("reserved", {}).get((balance.connection_id, balance.asset), ZERO)
        return reserved


class SignalSerializer(serializers.ModelSerializer[Signal]):
    strategy_instance = serializers.UUIDField(source="instance_id")
    price = AmountField()
    seen = serializers.DictField()

    class Meta:
        model = Signal
        fields = (
            "id", "strategy_instance", "action", "price", "seen", "decision", "reason", "observed_at", "decided_at",
        )


class StretchSerializer(serializers.Serializer[Any]):
    """Results of a time; a result is what one closing order brought, in the quote asset."""

    results = serializers.IntegerField()
    win_rate = AmountField(allow_null=True, help_text="Share of the results above zero.")
    average_profit = AmountField(allow_null=True)


class PerformanceSerializer(serializers.Serializer[Any]):
    """An instance's figures, of all its trades. Amounts are in the quote asset."""

    trades = serializers.IntegerField()
    realized_pnl = AmountField()
    results = serializers.IntegerField(source="whole.results")
    win_rate = AmountField(source="whole.win_rate", allow_null=True)
    average_profit = AmountField(source="whole.average_profit", allow_null=True)
    profit_factor = AmountField(allow_null=True, help_text="Won over lost; null while nothing was lost.")
    sharpe = AmountField(allow_null=True, help_text="Of the daily results, for a year; null with fewer than two days.")
    max_drawdown = AmountField()
    last_7_days = StretchSerializer()


class DryRunSerializer(serializers.Serializer[Any]):
    """How long the present configuration ran on paper, of what it takes before it may be started live."""

    required_seconds = serializers.IntegerField(source="required")
    ran_seconds = serializers.IntegerField(source="ran")
    left_seconds = serializers.IntegerField(source="left")
    lifted = serializers.BooleanField(help_text="By an administrator.")


class LiftReasonSerializer(StrictSerializer):
    reason = serializers.CharField(max_length=300)


class InstanceSerializer(serializers.ModelSerializer[StrategyInstance]):
    """``context["performance"]`` and ``context["dry_runs"]`` map instance id to its figures."""

    connection = serializers.UUIDField(source="connection_id")
    connection_b = serializers.UUIDField(source="connection_b_id", allow_null=True)
    params = serializers.DictField()
    sizing = serializers.DictField()
    exits = serializers.DictField()
    mode = serializers.ChoiceField(choices=InstanceMode.choices)
    status = serializers.ChoiceField(choices=InstanceStatus.choices)
    held_quantity = AmountField()
    performance = serializers.SerializerMethodField()
    dry_run = serializers.SerializerMethodField()

    class Meta:
        model = StrategyInstance
        fields = (
            "id", "name", "strategy", "connection", "connection_b", "symbol", "timeframe", "params", "sizing", "exits",
            "mode", "status", "status_reason", "held_quantity", "performance", "dry_run", "started_at",
            "created_at", "updated_at",
        )

    @extend_schema_field(PerformanceSerializer)
    def get_performance(self, instance: StrategyInstance) -> dict[str, Any]:
        figures = self.context.get("performance", {}).get(instance.pk) or Performance()
        return dict(PerformanceSerializer(figures).data)

    @extend_schema_field(DryRunSerializer)
    def get_dry_run(self, instance: StrategyInstance) -> dict[str, Any]:
        return dict(DryRunSerializer(self.context["dry_runs"][instance.pk]).data)


class LegSerializer(serializers.ModelSerializer[ArbitrageLeg]):
    """An order of an arbitrage, with what it did."""

    order = serializers.UUIDField(source="order_id")
    role = serializers.ChoiceField(choices=LegRole.choices)
    connection = serializers.UUIDField(source="order.connection_id")
    side = serializers.CharField(source="order.side")
    status = serializers.CharField(source="order.status")
    quantity = AmountField(source="order.quantity")
    filled_quantity = AmountField(source="order.filled_quantity")
    average_price = AmountField(source="order.average_price", allow_null=True)

    class Meta:
        model = ArbitrageLeg
        fields = (
            "order", "role", "connection", "side", "status", "quantity", "filled_quantity", "average_price",
        )  # fmt: skip


class FireSerializer(serializers.ModelSerializer[ArbitrageFire]):
    """What an arbitrage expected and what came of it, with the time and cost of what stood on one side alone."""

    buy_connection = serializers.UUIDField(source="buy_connection_id")
    sell_connection = serializers.UUIDField(source="sell_connection_id")
    status = serializers.ChoiceField(choices=FireStatus.choices)
    quantity = AmountField()
    expected_buy_price = AmountField()
    expected_sell_price = AmountField()
    expected_profit = AmountField()
    profit = AmountField(allow_null=True)
    exposed_quantity = AmountField()
    exposed_seconds = serializers.SerializerMethodField()
    exposure_cost = AmountField()
    legs = LegSerializer(many=True)

    class Meta:
        model = ArbitrageFire
        fields = (
            "id", "symbol", "quote_asset", "buy_connection", "sell_connection", "quantity", "expected_buy_price",
            "expected_sell_price", "expected_profit", "status", "profit", "exposed_quantity", "exposed_seconds",
            "exposure_cost", "latency_ms", "legs", "created_at", "settled_at",
        )

    def get_exposed_seconds(self, fire: ArbitrageFire) -> float | None:
        """How long one side stood alone; null where it never did, or still does."""
        if fire.exposed_at is None or fire.settled_at is None:
            return None
        return (fire.settled_at - fire.exposed_at).total_seconds()


class InstanceChangesSerializer(StrictSerializer):
    """What of an instance may be changed while it is stopped."""

    name = serializers.CharField(max_length=80)
    connection = serializers.UUIDField()
    connection_b = serializers.UUIDField(
        required=False, allow_null=True, help_text="The second side; an arbitrage needs one, nothing else takes one."
    )
    symbol = serializers.CharField(max_length=32)
    timeframe = serializers.CharField(max_length=4)
    params = serializers.DictField(default=dict)
    sizing = serializers.DictField()
    exits = serializers.DictField(default=dict, help_text="Attached stops and times: see the strategies' `exits`.")
    mode = serializers.ChoiceField(choices=InstanceMode.choices, default=InstanceMode.LIVE)


class NewInstanceSerializer(InstanceChangesSerializer):
    strategy = serializers.CharField(max_length=32)


class StrategySerializer(serializers.Serializer[Any]):
    """A strategy that instances can be made of; ``params``, ``sizing`` and ``exits`` are JSON Schemas."""

    slug = serializers.CharField()
    title = serializers.CharField()
    summary = serializers.CharField()
    params = serializers.DictField()
    sizing = serializers.DictField()
    exits = serializers.DictField()
    timeframes = serializers.ListField(child=serializers.CharField())
