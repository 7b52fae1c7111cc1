"""Trading rows as API answers and browser pushes show them. None of them reads the database by itself."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from connections.gateways import OrderType, Side, TimeInForce
from desproject.lib.api import AmountField
from desproject.lib.money import ZERO
from trading.models import Balance, InstanceMode, InstanceStatus, Order, Position, Signal, StrategyInstance, Trade
from trading.order_states import OrderStatus
from trading.positions import PositionState, unrealized


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
    type = serializers.ChoiceField(choices=[kind.value for kind in OrderType])
    time_in_force = serializers.ChoiceField(choices=[kind.value for kind in TimeInForce])
    status = serializers.ChoiceField(choices=[status.value for status in OrderStatus])
    quantity = AmountField()
    price = AmountField(allow_null=True)
    stop_price = AmountField(allow_null=True)
    filled_quantity = AmountField()
    average_price = AmountField(allow_null=True)
    fee = serializers.DictField(child=serializers.CharField(), help_text="Asset to amount.")

    class Meta:
        model = Order
        fields = (
            "id", "connection", "strategy_instance", "symbol", "side", "type", "time_in_force", "quantity", "price",
            "stop_price", "reduce_only", "status", "filled_quantity", "average_price", "fee", "client_order_id",
            "exchange_order_id", "reject_code", "reject_reason", "created_at", "updated_at",
        )


class NewOrderSerializer(StrictSerializer):
    connection = serializers.UUIDField()
    symbol = serializers.CharField(max_length=32)
    side = serializers.ChoiceField(choices=[side.value for side in Side])
    type = serializers.ChoiceField(choices=[kind.value for kind in OrderType])
    quantity = AmountField(positive=True)
    price = AmountField(positive=True, required=False, allow_null=True, default=None)
    time_in_force = serializers.ChoiceField(choices=[kind.value for kind in TimeInForce], default=TimeInForce.GTC.value)
    reduce_only = serializers.BooleanField(default=False)


class TradeSerializer(serializers.ModelSerializer[Trade]):
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
            "fee_asset", "realized_pnl", "liquidity", "executed_at",
        )


class PositionSerializer(serializers.ModelSerializer[Position]):
    """``context["marks"]`` maps (connection id, symbol) to the price that positions are worth at."""

    connection = serializers.UUIDField(source="connection_id")
    quantity = AmountField()
    average_price = AmountField()
    realized_pnl = AmountField()
    mark_price = serializers.SerializerMethodField()
    unrealized_pnl = serializers.SerializerMethodField()

    class Meta:
        model = Position
        fields = (
            "connection", "symbol", "side", "quantity", "average_price", "mark_price", "unrealized_pnl",
            "realized_pnl", "updated_at",
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


class PerformanceSerializer(serializers.Serializer[Any]):
    trades = serializers.IntegerField()
    realized_pnl = AmountField()


class InstanceSerializer(serializers.ModelSerializer[StrategyInstance]):
    """``context["performance"]`` maps instance id to its figures."""

    connection = serializers.UUIDField(source="connection_id")
    params = serializers.DictField()
    sizing = serializers.DictField()
    mode = serializers.ChoiceField(choices=InstanceMode.choices)
    status = serializers.ChoiceField(choices=InstanceStatus.choices)
    held_quantity = AmountField()
    performance = serializers.SerializerMethodField()

    class Meta:
        model = StrategyInstance
        fields = (
            "id", "name", "strategy", "connection", "symbol", "timeframe", "params", "sizing", "mode", "status",
            "status_reason", "held_quantity", "performance", "started_at", "created_at", "updated_at",
        )

    def get_performance(self, instance: StrategyInstance) -> dict[str, Any]:
        figures = self.context.get("performance", {}).get(instance.pk, {"trades": 0, "realized_pnl": ZERO})
        return dict(PerformanceSerializer(figures).data)


class InstanceChangesSerializer(StrictSerializer):
    """What of an instance may be changed while it is stopped."""

    name = serializers.CharField(max_length=80)
    connection = serializers.UUIDField()
    symbol = serializers.CharField(max_length=32)
    timeframe = serializers.CharField(max_length=4)
    params = serializers.DictField(default=dict)
    sizing = serializers.DictField()
    mode = serializers.ChoiceField(choices=InstanceMode.choices, default=InstanceMode.LIVE)


class NewInstanceSerializer(InstanceChangesSerializer):
    strategy = serializers.CharField(max_length=32)


class StrategySerializer(serializers.Serializer[Any]):
    """A strategy that instances can be made of; ``params`` and ``sizing`` are JSON Schemas."""

    slug = serializers.CharField()
    title = serializers.CharField()
    summary = serializers.CharField()
    params = serializers.DictField()
    sizing = serializers.DictField()
    timeframes = serializers.ListField(child=serializers.CharField())
