"""Strategies, orders and what they lead to, over HTTP."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from accounts.roles import Thing, require
from accounts.views import CONFLICT, FORBIDDEN, MISSING, REFUSED, TenantView, TenantViewSet
from connections.prices import read_prices
from connections.selectors import connection, connections
from desproject.lib import features
from desproject.lib.api import AmountField
from trading import filters, selectors, services
from trading import serializers as shapes
from trading.catalogue import catalogue
from trading.dry_run import dry_runs, lift
from trading.marks import marks
from trading.models import Balance, Order, Position, Signal, StrategyInstance, Trade
from trading.performance import performance
from trading.price_board import price_shape


class MeSerializer(serializers.ModelSerializer[User]):
    instances = serializers.IntegerField(help_text="Strategy instances.")
    running_instances = serializers.IntegerField(source="running")
    logins_30_days = serializers.IntegerField(source="logins")
    features = serializers.SerializerMethodField(help_text="New behaviours that this user has already.")

    class Meta:
        model = User
        fields = (
            "id", "email", "role", "is_admin", "otp_verified", "created_at", "instances", "running_instances",
            "logins_30_days", "features",
        )

    def get_features(self, user: User) -> list[str]:
        return features.active(user)


class MeView(TenantView):
    """The caller, with figures."""

    serializer_class = MeSerializer
    pagination_class = None

    @extend_schema(operation_id="me", responses={200: MeSerializer, 401: REFUSED[401]})
    def get(self, request: Request) -> Response:
        return Response(self.get_serializer(selectors.user_with_counts(self.tenant)).data)


class StrategiesView(TenantView):
    """The strategies that instances can be made of, with the JSON Schema of their parameters."""

    serializer_class = shapes.StrategySerializer
    pagination_class = None

    @extend_schema(
        operation_id="strategies", responses={200: shapes.StrategySerializer(many=True), 401: REFUSED[401]}
    )
    def get(self, request: Request) -> Response:
        return Response(self.get_serializer(catalogue(), many=True).data)


@extend_schema_view(
    list=extend_schema(operation_id="orders", responses={200: shapes.OrderSerializer(many=True), **REFUSED}),
    retrieve=extend_schema(operation_id="order", responses={200: shapes.OrderSerializer, 401: REFUSED[401], **MISSING}),
)
class OrderViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Orders. Placing and cancelling are accepted first and carried out by the engine."""

    serializer_class = shapes.OrderSerializer
    queryset = Order.objects.none()
    filter_backends = (DjangoFilterBackend,)
    filterset_class = filters.OrderFilter

    def get_queryset(self) -> "QuerySet[Order]":
        return selectors.orders()

    @extend_schema(
        operation_id="order_place",
        request=shapes.NewOrderSerializer,
        parameters=[
            OpenApiParameter(
                "Idempotency-Key", shapes.IDEMPOTENCY_KEY, OpenApiParameter.HEADER,
                description="The same key with the same body answers the same order again.",
            )
        ],
        responses={202: shapes.OrderSerializer, **REFUSED, **MISSING, **CONFLICT},
    )
    def create(self, request: Request) -> Response:
        serializer = shapes.NewOrderSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        order = services.place_order(
            user=self.tenant, **{**data, "connection": connection(data["connection"])},
            idempotency_key=shapes.idempotency_key(request.headers.get("Idempotency-Key")),
            request_hash=shapes.request_hash(data),
        )
        return Response(self.get_serializer(order).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(
        operation_id="order_replace",
        request=shapes.OrderChangesSerializer,
        responses={202: shapes.OrderSerializer, **REFUSED, **MISSING, **CONFLICT},
    )
    def partial_update(self, request: Request, id: object) -> Response:
        """Puts another order in the place of one that rests or waits. It is sent when that one has ended for sure; one
        that was filled in the meantime has no place to take, and the new order ends rejected."""
        order = self.get_object()
        serializer = shapes.OrderChangesSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        fresh = services.replace_order(user=self.tenant, order=order, **serializer.validated_data)
        return Response(self.get_serializer(fresh).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(
        operation_id="order_cancel",
        responses={202: shapes.OrderSerializer, 401: REFUSED[401], **MISSING, **CONFLICT},
    )
    def destroy(self, request: Request, id: object) -> Response:
        order = self.get_object()
        services.cancel_order(user=self.tenant, order=order)
        return Response(self.get_serializer(order).data, status=status.HTTP_202_ACCEPTED)


@extend_schema_view(
    list=extend_schema(
        operation_id="strategy_instances", responses={200: shapes.InstanceSerializer(many=True), **REFUSED}
    ),
    retrieve=extend_schema(
        operation_id="strategy_instance", responses={200: shapes.InstanceSerializer, 401: REFUSED[401], **MISSING}
    ),
)
class InstanceViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Strategy instances: a strategy with parameters, bound to one connection and symbol."""

    serializer_class = shapes.InstanceSerializer
    queryset = StrategyInstance.objects.none()

    def get_queryset(self) -> "QuerySet[StrategyInstance]":
        return selectors.instances()

    def get_serializer_context(self) -> dict[str, Any]:
        context = dict(super().get_serializer_context())
        found = getattr(self, "_shown", ())
        if found:
            context["performance"] = performance([row.pk for row in found])
            context["dry_runs"] = dry_runs(found)
        return context

    def list(self, request: Request) -> Response:
        self._shown = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response(self.get_serializer(self._shown, many=True).data)

    def retrieve(self, request: Request, id: object) -> Response:
        return self._answer(self.get_object())

    @extend_schema(
        operation_id="strategy_instance_create",
        request=shapes.NewInstanceSerializer,
        responses={201: shapes.InstanceSerializer, **REFUSED, **MISSING},
    )
    def create(self, request: Request) -> Response:
        serializer = shapes.NewInstanceSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = dict(serializer.validated_data)
        data |= selectors.sides(data)
        return self._answer(services.create_instance(user=self.tenant, **data), status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="strategy_instance_change",
        request=shapes.InstanceChangesSerializer(partial=True),
        responses={200: shapes.InstanceSerializer, **REFUSED, **MISSING, **CONFLICT},
    )
    def partial_update(self, request: Request, id: object) -> Response:
        instance = self.get_object()
        serializer = shapes.InstanceChangesSerializer(data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        data = dict(serializer.validated_data)
        data |= selectors.sides(data)
        return self._answer(services.update_instance(user=self.tenant, instance=instance, **data))

    @extend_schema(
        operation_id="strategy_instance_delete",
        responses={204: None, 401: REFUSED[401], **MISSING, **CONFLICT},
    )
    def destroy(self, request: Request, id: object) -> Response:
        services.delete_instance(user=self.tenant, instance=self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="strategy_instance_start", request=None,
        responses={200: shapes.InstanceSerializer, **REFUSED, **MISSING, **CONFLICT},
    )
    @action(detail=True, methods=["post"])
    def start(self, request: Request, id: object) -> Response:
        return self._answer(services.start_instance(user=self.tenant, instance=self.get_object()))

    @extend_schema(
        operation_id="strategy_instance_pause", request=None,
        responses={200: shapes.InstanceSerializer, 401: REFUSED[401], **MISSING, **CONFLICT},
    )
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, id: object) -> Response:
        return self._answer(services.pause_instance(user=self.tenant, instance=self.get_object()))

    @extend_schema(
        operation_id="strategy_instance_stop", request=None,
        responses={200: shapes.InstanceSerializer, 401: REFUSED[401], **MISSING},
    )
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, id: object) -> Response:
        return self._answer(services.stop_instance(user=self.tenant, instance=self.get_object()))

    @extend_schema(
        operation_id="strategy_instance_fires",
        responses={200: shapes.FireSerializer(many=True), **REFUSED, **MISSING},
    )
    @action(detail=True, methods=["get"])
    def fires(self, request: Request, id: object) -> Response:
        """What an arbitrage expected and what came of it, newest first; none for other strategies."""
        page = self.paginate_queryset(selectors.fires(self.get_object())) or []
        return self.get_paginated_response(shapes.FireSerializer(page, many=True).data)

    @extend_schema(
        operation_id="strategy_instance_dry_run_lift", request=shapes.LiftReasonSerializer,
        responses={204: None, **REFUSED, **FORBIDDEN, **MISSING, **CONFLICT},
    )
    @action(detail=True, methods=["post"], url_path="dry-run-lift")
    def dry_run_lift(self, request: Request, id: UUID) -> Response:
        """Lets the present configuration be started live at once. For administrators, of any user's instance."""
        require(self.tenant, Thing.OPERATION)
        serializer = shapes.LiftReasonSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        lift(administrator=self.tenant, instance_id=id, reason=serializer.validated_data["reason"])
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _answer(self, instance: StrategyInstance, code: int = status.HTTP_200_OK) -> Response:
        self._shown = [instance]
        return Response(self.get_serializer(instance).data, status=code)


class PriceSerializer(serializers.Serializer[Any]):
    feed = serializers.CharField()
    symbol = serializers.CharField()
    last = AmountField(allow_null=True)
    bid = AmountField(allow_null=True)
    ask = AmountField(allow_null=True)
    seen_ms = serializers.IntegerField(help_text="When the newest part came in, epoch milliseconds.")


class FeedSerializer(serializers.Serializer[Any]):
    feed = serializers.RegexField(
        r"^[a-z0-9_]{1,32}:[a-z]{1,16}\Z", required=False,
        help_text="For example `binance_spot:live`; without it, those of the caller's connections.",
    )


class PricesView(TenantView):
    """The newest prices of a feed."""

    serializer_class = PriceSerializer
    pagination_class = None

    @extend_schema(
        operation_id="prices", parameters=[FeedSerializer], responses={200: PriceSerializer(many=True), **REFUSED}
    )
    def get(self, request: Request) -> Response:
        wanted = FeedSerializer(data=request.query_params)
        wanted.is_valid(raise_exception=True)
        feed = wanted.validated_data.get("feed")
        feeds = [feed] if feed else sorted({row.feed for row in connections()})
        prices = [
            price_shape(feed, symbol, price) for feed in feeds for symbol, price in sorted(read_prices(feed).items())
        ]
        return Response(prices)


class _TenantList(TenantView, ListAPIView[Any]):
    filter_backends = (DjangoFilterBackend,)


@extend_schema_view(
    get=extend_schema(operation_id="trades", responses={200: shapes.TradeSerializer(many=True), **REFUSED})
)
class TradesView(_TenantList):
    """Fills, newest first."""

    serializer_class = shapes.TradeSerializer
    filterset_class = filters.TradeFilter
    queryset = Trade.objects.none()

    def get_queryset(self) -> "QuerySet[Any]":
        return selectors.trades()


@extend_schema_view(
    get=extend_schema(operation_id="positions", responses={200: shapes.PositionSerializer(many=True), **REFUSED})
)
class PositionsView(_TenantList):
    """What is held, valued at the present prices."""

    serializer_class = shapes.PositionSerializer
    filterset_class = filters.PositionFilter
    queryset = Position.objects.none()

    def get_queryset(self) -> "QuerySet[Any]":
        return selectors.positions()

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        context = {**self.get_serializer_context(), "marks": marks(page)}
        return self.get_paginated_response(shapes.PositionSerializer(page, many=True, context=context).data)


@extend_schema_view(
    get=extend_schema(operation_id="balances", responses={200: shapes.BalanceSerializer(many=True), **REFUSED})
)
class BalancesView(_TenantList):
    """What each connection's account holds."""

    serializer_class = shapes.BalanceSerializer
    filterset_class = filters.BalanceFilter
    queryset = Balance.objects.none()

    def get_queryset(self) -> "QuerySet[Any]":
        return selectors.balances()

    def get_serializer_context(self) -> dict[str, Any]:
        context = dict(super().get_serializer_context())
        if not getattr(self, "swagger_fake_view", False):
            context["reserved"] = selectors.reserved()
        return context


@extend_schema_view(
    get=extend_schema(operation_id="signals", responses={200: shapes.SignalSerializer(many=True), **REFUSED})
)
class SignalsView(_TenantList):
    """What strategies saw, what was decided, newest first."""

    serializer_class = shapes.SignalSerializer
    filterset_class = filters.SignalFilter
    queryset = Signal.objects.none()

    def get_queryset(self) -> "QuerySet[Any]":
        return selectors.signals()
