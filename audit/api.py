"""The caller's own audit rows over HTTP."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import REFUSED, TenantView
from audit.models import AuditLog


class AuditLogSerializer(serializers.ModelSerializer[AuditLog]):
    details = serializers.DictField(read_only=True)

    class Meta:
        model = AuditLog
        fields = ("id", "event_type", "resource_type", "resource_id", "ip", "user_agent", "details", "created_at")


class AuditLogsView(TenantView):
    """What was done in the caller's name, newest first."""

    serializer_class = AuditLogSerializer
    queryset = AuditLog.objects.none()

    @extend_schema(operation_id="audit_logs", responses={200: AuditLogSerializer(many=True), **REFUSED})
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(AuditLog.objects.all())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)
