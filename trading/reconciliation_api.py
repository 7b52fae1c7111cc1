"""Comparisons of an account with its exchange over HTTP: what they found, and asking for one."""

from typing import Any
from uuid import UUID

import django_filters
from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers, status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import CONFLICT, MISSING, REFUSED, TenantView
from connections import selectors
from trading.models import Reconciliation
from trading.selectors import reconciliations
from trading.services import request_reconciliation


class DifferenceSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(
        choices=["order_elsewhere", "order_status", "order_denied", "fill_missed", "balance", "position"]
    )
    subject = serializers.CharField(help_text="The order, trade, asset or symbol.")
    exchange = serializers.CharField(help_text="What was taken over; empty for nothing.")
    here = serializers.CharField(help_text="What was believed before; empty for nothing.")


class ReconciliationSerializer(serializers.ModelSerializer[Reconciliation]):
    connection = serializers.UUIDField(source="connection_id")
    cause = serializers.ChoiceField(choices=["start", "gap", "timer", "asked"])
    differences = DifferenceSerializer(many=True)

    class Meta:
        model = Reconciliation
        fields = ("id", "connection", "cause", "at", "orders_checked", "differences")


class ReconciliationFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter ships no types
    connection = django_filters.UUIDFilter(field_name="connection_id")


@extend_schema_view(
    get=extend_schema(
        operation_id="reconciliations", responses={200: ReconciliationSerializer(many=True), **REFUSED}
    )
)
class ReconciliationsView(TenantView, ListAPIView[Any]):
    """Comparisons that found a difference, which is repaired, or that somebody asked for; newest first."""

    serializer_class = ReconciliationSerializer
    filter_backends = (DjangoFilterBackend,)
    filterset_class = ReconciliationFilter
    queryset = Reconciliation.objects.none()

    def get_queryset(self) -> "QuerySet[Any]":
        return reconciliations()


class ReconcileView(TenantView):
    """Compares an account with its exchange now."""

    serializer_class = ReconciliationSerializer

    @extend_schema(
        operation_id="connection_reconcile", request=None, responses={202: None, **REFUSED, **MISSING, **CONFLICT}
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Is carried out by the engine; what it found then stands in the list of reconciliations."""
        request_reconciliation(user=self.tenant, connection=selectors.connection(id))
        return Response(status=status.HTTP_202_ACCEPTED)
