"""Limits, the day's figures and the kill switch over HTTP."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import CONFLICT, MISSING, REFUSED, TenantView
from desproject.lib.api import AmountField, NewestFirst
from desproject.lib.errors import NotFound
from risk import selectors, services
from risk.models import KillLevel, KillSwitch, PolicyLevel, RiskMetrics, RiskPolicy
from risk.policy import effective
from risk.targets import target_of


class LimitsSerializer(serializers.Serializer[Any]):
    """Limits in the quote asset; null is no limit of this level."""

    max_order_size = AmountField(positive=True, allow_null=True, required=False, default=None)
    max_position_size = AmountField(positive=True, allow_null=True, required=False, default=None)
    max_exposure = AmountField(positive=True, allow_null=True, required=False, default=None)
    max_daily_loss = AmountField(positive=True, allow_null=True, required=False, default=None)
    max_open_orders = serializers.IntegerField(
        min_value=0, max_value=100_000, allow_null=True, required=False, default=None
    )


class PolicySerializer(LimitsSerializer):
    level = serializers.ChoiceField(choices=PolicyLevel.choices)
    id = serializers.UUIDField(
        source="target_id", required=False, allow_null=True, default=None,
        help_text="The connection or strategy instance; not needed at level user.",
    )
    updated_at = serializers.DateTimeField(read_only=True)


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

    def get_target(self, switch: KillSwitch) -> UUID | None:
        # Which administrator pressed the system's switch is nobody's business here.
        return None if switch.level == KillLevel.SYSTEM else switch.target_id


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

    @extend_schema(operation_id="kill_switch_press", responses={201: KillSwitchSerializer, **REFUSED, **MISSING})
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
        responses={200: KillSwitchSerializer(many=True), **REFUSED, **MISSING, **CONFLICT},
    )
    def delete(self, request: Request) -> Response:
        """Lifts every switch that holds for exactly this target. The values may also come as a JSON body."""
        serializer = LiftSerializer(data=request.data or request.query_params)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        level, reason = data["level"], data["reason"]
        target_id = target_of(user=self.tenant, level=level, target_id=data["id"])
        services.require_right(self.tenant, level)
        held = selectors.switches_on(level, target_id)
        if not held:
            raise NotFound("no kill switch holds for this")
        for switch in held:
            services.lift_kill_switch(user=self.tenant, switch=switch, reason=reason)
        return Response(KillSwitchSerializer(held, many=True).data)
