"""Audit rows over HTTP: the caller's own; for managers those of their team, for administrators anybody's."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import users
from accounts.models import User
from accounts.tenancy import tenant_scope
from accounts.views import MISSING, REFUSED, TenantView
from audit.export import MEDIA_TYPE, line, rows
from audit.models import AuditLog

_EXPORTED = 5000


class AuditLogSerializer(serializers.ModelSerializer[AuditLog]):
    details = serializers.DictField(read_only=True)

    class Meta:
        model = AuditLog
        fields = (
            "id", "user", "event_type", "resource_type", "resource_id", "ip", "user_agent", "details", "created_at",
        )


class AuditQuerySerializer(serializers.Serializer[dict[str, Any]]):
    user = serializers.UUIDField(required=False, help_text="Only this user's rows.")
    team = serializers.BooleanField(required=False, default=False, help_text="Also those of the caller's team.")


class AuditExportQuerySerializer(AuditQuerySerializer):
    after = serializers.IntegerField(
        required=False, default=0, min_value=0, max_value=2**63 - 1, help_text="Only rows with a higher id."
    )


class AuditLogsView(TenantView):
    """What was done in the caller's name, or in that of somebody whose log they may read, newest first."""

    serializer_class = AuditLogSerializer
    queryset = AuditLog.objects.none()

    @extend_schema(
        operation_id="audit_logs", parameters=[AuditQuerySerializer],
        responses={200: AuditLogSerializer(many=True), **REFUSED, **MISSING},
    )
    def get(self, request: Request) -> Response:
        query = AuditQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        whose = _whose(self.tenant, query.validated_data)
        with tenant_scope(*whose):
            page = self.paginate_queryset(AuditLog.objects.filter(user__in=whose))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class AuditExportView(TenantView):
    """The same rows as JSON Lines, oldest first, at most 5,000 at a time: what comes after the last line's ``id`` is
    asked for with ``after``, until nothing comes. Each line has the code by which the installation knows its rows."""

    serializer_class = None
    pagination_class = None

    @extend_schema(
        operation_id="audit_export", parameters=[AuditExportQuerySerializer],
        responses={(200, MEDIA_TYPE): OpenApiTypes.STR, **REFUSED, **MISSING},
    )
    def get(self, request: Request) -> HttpResponse:
        query = AuditExportQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        whose = _whose(self.tenant, query.validated_data)
        with tenant_scope(*whose):
            found = rows(whose, query.validated_data["after"])[:_EXPORTED]
            return HttpResponse("".join(f"{line(row)}\n" for row in found), content_type=MEDIA_TYPE)


def _whose(caller: User, wanted: dict[str, Any]) -> list[UUID]:
    """Raises NotFound for somebody whose log the caller may not read."""
    if wanted["team"] and "user" not in wanted:
        return users.team_of(caller)
    return users.audited_users(caller, wanted.get("user"))
