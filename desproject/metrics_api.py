"""The installation's figures over HTTP (OBS-1), for administrators: they tell of all tenants together.

The answer is JSON that was merged beforehand (desproject/metrics_board.py): a request looks up nothing but its
caller.
"""

from typing import Any

import redis
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.views import REFUSED, ApiView
from desproject.lib.api import ErrorAnswer, ServiceUnavailable
from desproject.metrics_board import BOARD, Documents

_ANSWERS = {
    401: REFUSED[401],
    403: OpenApiResponse(ErrorAnswer, "The caller is no administrator."),
    503: OpenApiResponse(ErrorAnswer, "The figures can't be read right now."),
}


class FlowSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField(help_text="Since the processes that live began.")
    per_second = serializers.FloatField(help_text="Over the window.")


class ProcessSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    host = serializers.CharField()
    pid = serializers.IntegerField()
    started_at = serializers.DateTimeField()
    age_seconds = serializers.FloatField()
    seen_seconds_ago = serializers.FloatField()
    memory_bytes = serializers.IntegerField(help_text="Resident memory; 0 where the system doesn't tell.")


class FiguresSerializer(serializers.Serializer[Any]):
    as_of = serializers.DateTimeField(help_text="When it was merged: at most a second before the answer.")
    window_seconds = serializers.IntegerField()
    orders = FlowSerializer()
    ticks = FlowSerializer()
    signals = FlowSerializer()
    queue_depth = serializers.IntegerField(help_text="All that waits: for tenants, commits, sends, Redis, browsers.")
    tasks = serializers.IntegerField(help_text="asyncio tasks of engines and streams.")
    memory_bytes = serializers.IntegerField()
    errors = serializers.DictField(  # type: ignore[assignment]  # OBS-1's own name
        child=serializers.IntegerField(), help_text="Logged errors by kind."
    )
    counters = serializers.DictField(child=FlowSerializer(), help_text="Everything counted, as `area.name`.")
    gauges = serializers.DictField(child=serializers.FloatField(), help_text="Everything else, as `area.name`.")
    processes = ProcessSerializer(many=True)


class LatencySerializer(serializers.Serializer[Any]):
    min = serializers.FloatField(allow_null=True)
    max = serializers.FloatField(allow_null=True)
    avg = serializers.FloatField(allow_null=True)
    p50 = serializers.FloatField(allow_null=True)
    p95 = serializers.FloatField(allow_null=True)
    p99 = serializers.FloatField(allow_null=True)
    count = serializers.IntegerField()
    last_update = serializers.DateTimeField(allow_null=True)


class LatenciesSerializer(serializers.Serializer[Any]):
    as_of = serializers.DateTimeField()
    window_seconds = serializers.IntegerField()
    unit = serializers.CharField()
    relative_error = serializers.FloatField(help_text="Of the percentiles.")
    latency = serializers.DictField(
        child=serializers.DictField(child=LatencySerializer()), help_text="By area (order, strategy, database, …)."
    )


class IsAdministrator(BasePermission):
    def has_permission(self, request: Request, view: object) -> bool:
        return bool(request.user and request.user.is_staff)


class _BoardView(ApiView):
    permission_classes = (IsAdministrator,)
    pagination_class = None

    def documents(self) -> Documents:
        try:
            return BOARD.documents()
        except redis.RedisError:
            raise ServiceUnavailable("the figures can't be read right now, try again shortly", retry_after=5) from None


class InstallationMetricsView(_BoardView):
    """What the whole installation does: orders, ticks and signals a second, queues, tasks, memory, errors by kind."""

    serializer_class = FiguresSerializer

    @extend_schema(operation_id="metrics", responses={200: FiguresSerializer, **_ANSWERS})
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(self.documents().overview, content_type="application/json")


class LatencyMetricsView(_BoardView):
    """How long orders, strategy evaluations and the database took in the last minute, in milliseconds."""

    serializer_class = LatenciesSerializer

    @extend_schema(operation_id="metrics_latency", responses={200: LatenciesSerializer, **_ANSWERS})
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(self.documents().latency, content_type="application/json")
