"""Strategies, orders and what they lead to, over HTTP."""

import hashlib
import json
import re
from typing import Any

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from accounts.views import CONFLICT, MISSING, REFUSED, TenantView, TenantViewSet
from connections.gateways import OrderType, Side, TimeInForce
from connections.prices import read_prices
from connections.selectors import connection, connections
from desproject.lib.api import AmountField
from desproject.lib.errors import InvalidInput
from trading import filters, selectors, services
from trading import serializers as shapes
from trading.bars import TIMEFRAMES
from trading.marks import marks
from trading.models import Balance, Order, Position, Signal, StrategyInstance, Trade
from trading.price_board import price_shape
from trading.sizing import sizing_schema
from trading.strategies import params_schema, strategies

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,64}")


class MeSerializer(serializers.ModelSerializer[User]):
    instances = serializers.IntegerField(help_text="Strategy instances.")
    running_instances = serializers.IntegerField(source="running")
    logins_30_days = serializers.IntegerField(source="logins")

    class Meta:
        model = User
        fields = (
            "id", "email", "role", "is_admin", "otp_verified", "created_at", "instances", "running_instances",
            "logins_30_days",
        )


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
        catalogue = [
            {
                "slug": kind.slug, "title": kind.title, "summary": kind.summary, "params": params_schema(slug),
                "sizing": sizing_schema(), "timeframes": list(TIMEFRAMES),
            }
            for slug, kind in strategies().items()
        ]
        return Response(self.get_serializer(catalogue, many=True).data)


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
                "Idempotency-Key", str, OpenApiParameter.HEADER,
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
            user=self.tenant, connection=connection(data["connection"]), symbol=data["symbol"],
            side=Side(data["side"]), type=OrderType(data["type"]), quantity=data["quantity"], price=data["price"],
            time_in_force=TimeInForce(data["time_in_force"]), reduce_only=data["reduce_only"],
            idempotency_key=_idempotency_key(request), request_hash=_hash(data),
        )
        return Response(self.get_serializer(order).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(
        operation_id="order_cancel",
        responses={202: shapes.OrderSerializer, 401: REFUSED[401], **MISSING, **CONFLICT},
    )
    def destroy(self, request: Request, id: object) -> Response:
        order = self.get_object()
        services.cancel_order(user=self.tenant, order=order)
        return Response(self.get_serializer(order).data, status=status.HTTP_202_ACCEPTED)


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidInput("the Idempotency-Key must be 1 to 64 printable ASCII characters without blanks")
    return key


def _hash(data: dict[str, Any]) -> str:
    """Tells two orders apart that came under one Idempotency-Key."""
    shown = shapes.NewOrderSerializer(data).data
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


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
            context["performance"] = selectors.performance([row.pk for row in found])
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
        data["connection"] = connection(data["connection"])
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
        if "connection" in data:
            data["connection"] = connection(data["connection"])
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
