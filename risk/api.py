"""Limits, the day's figures and the kill switch over HTTP."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import CONFLICT, FORBIDDEN, MISSING, REFUSED, TenantView
from connections import symbols
from desproject.lib.api import AmountField, NewestFirst
from desproject.lib.clock import SYSTEM_CLOCK
from risk import selectors, services
from risk.models import KillLevel, KillSwitch, PolicyLevel, RiskMetrics, RiskPolicy
from risk.policy import contradictions, effective
from risk.targets import target_of


class PartField(AmountField):
    """A part of the whole: above 0, at most 1; null is no limit."""

    default_error_messages: ClassVar = {"too_much": "Must be at most 1, which is all of it."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(positive=True, **{"allow_null": True, "required": False, "default": None, **kwargs})

    def to_internal_value(self, data: Any) -> Decimal:
        part = super().to_internal_value(data)
        if part > 1:
            self.fail("too_much")
        return part


class LimitsSerializer(serializers.Serializer[Any]):
    """Limits in the quote asset; null is no limit of this level."""

    max_order_size = AmountField(positive=True, allow_null=True, required=False, default=None)
    max_position_size = AmountField(positive=True, allow_null=True, required=False, default=None)
    max_exposure = AmountField(positive=True, allow_null=True, required=False, default=None)
    max_daily_loss = AmountField(positive=True, allow_null=True, required=False, default=None)
    max_drawdown = AmountField(positive=True, allow_null=True, required=False, default=None)
    max_daily_trades = serializers.IntegerField(
        min_value=0, max_value=1_000_000, allow_null=True, required=False, default=None
    )
    max_open_orders = serializers.IntegerField(
        min_value=0, max_value=100_000, allow_null=True, required=False, default=None
    )
    max_orders_per_second = serializers.IntegerField(
        min_value=1, max_value=10_000, allow_null=True, required=False, default=None,
        help_text="Orders beyond it wait. The installation's own limit for a connection holds besides.",
    )
    symbols = serializers.ListField(
        child=serializers.RegexField(
            rf"^{symbols.PATTERN.pattern}$", max_length=32, error_messages={"invalid": symbols.SHAPE}
        ),
        max_length=200, allow_null=True, required=False, default=None,
        help_text="The only symbols that may be entered; an empty list allows none.",
    )
    max_leverage = serializers.IntegerField(
        min_value=1, max_value=1000, allow_null=True, required=False, default=None,
        help_text="Of contracts. Entries beyond it are denied, and so is setting more.",
    )
    max_slippage = PartField(help_text="By which part market orders may fill worse than the best price: `0.001`.")
    max_depth_share = PartField(help_text="Which part of the book's ten best levels a market order may take: `0.1`.")
    max_market_btc = AmountField(
        positive=True, allow_null=True, required=False, default=None, help_text="A market order's largest worth in BTC."
    )


class PolicySerializer(LimitsSerializer):
    level = serializers.ChoiceField(choices=PolicyLevel.choices)
    id = serializers.UUIDField(
        source="target_id", required=False, allow_null=True, default=None,
        help_text="The connection or strategy instance; not needed at level user.",
    )
    updated_at = serializers.DateTimeField(read_only=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if faults := contradictions(attrs):
            raise serializers.ValidationError(faults)
        return attrs


class PoliciesSerializer(serializers.Serializer[Any]):
    effective = LimitsSerializer(help_text="What holds where no connection or strategy says otherwise.")
    policies = PolicySerializer(many=True)


class MetricsSerializer(serializers.ModelSerializer[RiskMetrics]):
    connection = serializers.UUIDField(source="connection_id")
    realized_pnl = AmountField()
    loss = AmountField()
    max_drawdown = AmountField()

    class Meta:
        model = RiskMetrics
        fields = (
            "connection", "date", "quote_asset", "trade_count", "realized_pnl", "loss", "max_drawdown", "updated_at",
        )


class KillSwitchSerializer(serializers.Serializer[Any]):
    """One pressing of the switch, as answered."""

    id = serializers.UUIDField()
    level = serializers.ChoiceField(choices=KillLevel.choices)
    target = serializers.SerializerMethodField()
    flatten = serializers.BooleanField()
    reason = serializers.CharField()
    created_at = serializers.DateTimeField()
    lifted_at = serializers.DateTimeField(allow_null=True)
    lift_reason = serializers.CharField()

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_target(self, switch: KillSwitch) -> str | None:
        # Which administrator pressed the system's switch is nobody's business here.
        return None if switch.level == KillLevel.SYSTEM else str(switch.target_id)


class PressSerializer(serializers.Serializer[Any]):
    level = serializers.ChoiceField(choices=KillLevel.choices)
    id = serializers.UUIDField(required=False, allow_null=True, default=None)
    flatten = serializers.BooleanField(default=False)
    reason = serializers.CharField(max_length=500)


class LiftSerializer(serializers.Serializer[Any]):
    level = serializers.ChoiceField(choices=KillLevel.choices)
    id = serializers.UUIDField(required=False, allow_null=True, default=None)
    reason = serializers.CharField(max_length=500, default="lifted by its owner")


class PolicyView(TenantView):
    """The caller's limits: strategy before connection before user before the global ones."""

    serializer_class = PolicySerializer
    pagination_class = None

    @extend_schema(operation_id="risk_policy", responses={200: PoliciesSerializer, 401: REFUSED[401]})
    def get(self, request: Request) -> Response:
        rows = list(RiskPolicy.objects.order_by("level", "created_at"))
        of_user = next((row for row in rows if row.level == PolicyLevel.USER), None)
        return Response(PoliciesSerializer({"effective": effective([of_user]), "policies": rows}).data)

    @extend_schema(operation_id="risk_policy_set", responses={200: PolicySerializer, **REFUSED, **MISSING})
    def put(self, request: Request) -> Response:
        """Sets all limits of one level; those left out are taken off."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = dict(serializer.validated_data)
        level = data.pop("level")
        target_id = target_of(user=self.tenant, level=level, target_id=data.pop("target_id"))
        policy = services.set_policy(user=self.tenant, level=level, target_id=target_id, limits=data)
        return Response(PolicySerializer(policy).data)


class _ByDate(NewestFirst):
    ordering = ("-date", "-pk")


class MetricsView(TenantView):
    """What was traded, won and lost, by connection, UTC day and quote asset."""

    serializer_class = MetricsSerializer
    pagination_class = _ByDate
    queryset = RiskMetrics.objects.none()

    @extend_schema(operation_id="risk_metrics", responses={200: MetricsSerializer(many=True), **REFUSED})
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(RiskMetrics.objects.all())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class DaySumSerializer(serializers.Serializer[Any]):
    """One UTC day of all connections in one quote asset. Limits hold for each connection by itself."""

    date = serializers.DateField()
    quote_asset = serializers.CharField()
    connections = serializers.IntegerField()
    trade_count = serializers.IntegerField()
    realized_pnl = AmountField()
    loss = AmountField()


class DaysSerializer(serializers.Serializer[Any]):
    days = serializers.IntegerField(min_value=1, max_value=366, default=7, help_text="How many, today included.")


class SummedMetricsView(TenantView):
    """The same figures of all connections together, newest day first."""

    serializer_class = DaySumSerializer
    pagination_class = None

    @extend_schema(
        operation_id="risk_metrics_summed", parameters=[DaysSerializer],
        responses={200: DaySumSerializer(many=True), **REFUSED},
    )
    def get(self, request: Request) -> Response:
        query = DaysSerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        since = SYSTEM_CLOCK.now().date() - timedelta(days=query.validated_data["days"] - 1)
        return Response(DaySumSerializer(selectors.summed_metrics(since), many=True).data)


class KillSwitchView(TenantView):
    """Stops and releases trading for a strategy, a connection, the user or (administrators) the whole system."""

    serializer_class = PressSerializer
    pagination_class = None

    @extend_schema(
        operation_id="kill_switches", responses={200: KillSwitchSerializer(many=True), 401: REFUSED[401]}
    )
    def get(self, request: Request) -> Response:
        """The switches that hold now."""
        return Response(KillSwitchSerializer(selectors.active_switches(), many=True).data)

    @extend_schema(
        operation_id="kill_switch_press", responses={201: KillSwitchSerializer, **REFUSED, **FORBIDDEN, **MISSING},
    )
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        switch = services.press_kill_switch(
            user=self.tenant, level=data["level"], reason=data["reason"], flatten=data["flatten"],
            target_id=target_of(user=self.tenant, level=data["level"], target_id=data["id"]),
        )
        return Response(KillSwitchSerializer(switch).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="kill_switch_lift",
        parameters=[LiftSerializer, OpenApiParameter("level", str, enum=KillLevel.values, required=True)],
        responses={200: KillSwitchSerializer(many=True), **REFUSED, **FORBIDDEN, **MISSING, **CONFLICT},
    )
    def delete(self, request: Request) -> Response:
        """Lifts every switch that holds for exactly this target. The values may also come as a JSON body."""
        serializer = LiftSerializer(data=request.data or request.query_params)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        target_id = target_of(user=self.tenant, level=data["level"], target_id=data["id"])
        lifted = services.lift_all(
            user=self.tenant, level=data["level"], target_id=target_id, reason=data["reason"]
        )
        return Response(KillSwitchSerializer(lifted, many=True).data)
