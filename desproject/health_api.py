"""Liveness and readiness over HTTP."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import ApiView
from desproject import health, liveness


class LivenessSerializer(serializers.Serializer[Any]):
    status = serializers.CharField()


class ReadinessSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=["ok", "unavailable"])
    checks = serializers.DictField(
        child=serializers.CharField(), help_text='Part to "ok" (in brackets: what isn\'t as usual) or what is wrong.'
    )


class _OpenView(ApiView):
    authentication_classes = ()
    permission_classes = ()
    pagination_class = None


class LivenessView(_OpenView):
    """This process answers. Asks nothing else."""

    # Over HTTP desproject/liveness.py mostly answers before Django; this is for the rest, and for the schema.

    serializer_class = LivenessSerializer

    @extend_schema(operation_id="health", responses={200: LivenessSerializer})
    def get(self, request: Request) -> Response:
        return Response(liveness.ANSWER)


class ReadinessView(_OpenView):
    """Whether everything that trading needs is there, each part by name."""

    serializer_class = ReadinessSerializer

    @extend_schema(operation_id="health_ready", responses={200: ReadinessSerializer, 503: ReadinessSerializer})
    def get(self, request: Request) -> Response:
        checks = health.checks()
        ready = all(state.partition(" ")[0] == "ok" for state in checks.values())
        return Response({"status": "ok" if ready else "unavailable", "checks": checks}, status=200 if ready else 503)
