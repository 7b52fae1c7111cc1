"""The risk register over HTTP: everybody sees their own events; administrators see all, enter and amend them."""

from datetime import UTC
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from accounts.roles import Reach, Thing, reach, require
from accounts.tenancy import everyone
from accounts.views import FORBIDDEN, MISSING, REFUSED, TenantView
from desproject.lib.api import NewestFirst
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.errors import InvalidInput, NotFound
from risk import register
from risk.models import RiskEvent, RiskType, Severity
from risk.report import Period, report

_MOST = 100


class TimelineEntrySerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField(default_timezone=UTC)
    what = serializers.CharField(max_length=500)


class ActionSerializer(serializers.Serializer[Any]):
    what = serializers.CharField(max_length=500)
    owner = serializers.CharField(max_length=120, allow_blank=True, default="")
    due = serializers.DateField(allow_null=True, default=None)
    done = serializers.BooleanField(default=False)


class RiskEventChangesSerializer(serializers.Serializer[Any]):
    """What an administrator may set; what is left out stays as it is."""

    type = serializers.ChoiceField(choices=RiskType.choices, required=False)
    severity = serializers.ChoiceField(choices=Severity.choices, required=False)
    description = serializers.CharField(max_length=1000, required=False)
    impact = serializers.CharField(max_length=4000, allow_blank=True, required=False)
    occurred_at = serializers.DateTimeField(default_timezone=UTC, required=False)
    resolved_at = serializers.DateTimeField(default_timezone=UTC, allow_null=True, required=False)
    timeline = serializers.ListField(child=TimelineEntrySerializer(), max_length=_MOST, required=False)
    lessons = serializers.CharField(max_length=4000, allow_blank=True, required=False)
    owner = serializers.CharField(max_length=120, allow_blank=True, required=False)
    action_items = serializers.ListField(child=ActionSerializer(), max_length=_MOST, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        known: RiskEvent | None = self.instance
        begun = known.occurred_at if known is not None else attrs.get("occurred_at")
        if known is not None and "occurred_at" in attrs and attrs["occurred_at"].year != known.year:
            raise serializers.ValidationError({"occurred_at": [f"Must stay in {known.year}, which numbers the event."]})
        ended = attrs.get("resolved_at")
        if ended is not None and ended < attrs.get("occurred_at", begun):
            raise serializers.ValidationError({"resolved_at": ["Must not be before the event occurred."]})
        # Plain values: they are stored as JSON.
        for name, each in (("timeline", TimelineEntrySerializer), ("action_items", ActionSerializer)):
            if name in attrs:
                attrs[name] = [dict(each(row).data) for row in attrs[name]]
        return attrs


class NewRiskEventSerializer(RiskEventChangesSerializer):
    user = serializers.UUIDField(required=False, help_text="Whom it concerns; the installation when left out.")
    type = serializers.ChoiceField(choices=RiskType.choices)
    severity = serializers.ChoiceField(choices=Severity.choices)
    description = serializers.CharField(max_length=1000)
    occurred_at = serializers.DateTimeField(default_timezone=UTC)


class RiskEventSerializer(serializers.ModelSerializer[RiskEvent]):
    reference = serializers.CharField(help_text="For example `RE-2026-007`.")
    type = serializers.ChoiceField(choices=RiskType.choices)
    severity = serializers.ChoiceField(choices=Severity.choices)
    timeline = serializers.ListField(child=TimelineEntrySerializer())
    action_items = serializers.ListField(child=ActionSerializer())

    class Meta:
        model = RiskEvent
        fields = (
            "id", "reference", "user", "type", "severity", "description", "impact", "occurred_at", "resolved_at",
            "timeline", "lessons", "owner", "action_items", "created_at", "updated_at",
        )
        read_only_fields = fields


class ReportQuerySerializer(serializers.Serializer[dict[str, Any]]):
    period = serializers.ChoiceField(choices=[each.value for each in Period], default=Period.WEEKLY.value)
    count = serializers.IntegerField(min_value=1, max_value=_MOST, default=12, help_text="How many periods.")


class CountSerializer(serializers.Serializer[Any]):
    """Risk events that began in one period; the running one comes first."""

    start = serializers.DateField(help_text="The period's first day, UTC; weeks begin on Monday.")
    events = serializers.IntegerField()
    open = serializers.IntegerField(help_text="Of those, how many aren't resolved.")
    by_type = serializers.DictField(child=serializers.IntegerField())
    by_severity = serializers.DictField(child=serializers.IntegerField())


class _RegisterView(TenantView):
    """Reads with the caller's reach: administrators see everybody's."""

    queryset = RiskEvent.objects.none()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if reach(self.tenant, Thing.OPERATION) == Reach.ALL:
            self._scope.enter_context(everyone())


class _ByTime(NewestFirst):
    ordering = ("-occurred_at", "-pk")


class RiskEventsView(_RegisterView):
    """What went wrong: entered by the system, and by administrators."""

    serializer_class = RiskEventSerializer
    pagination_class = _ByTime

    @extend_schema(operation_id="risk_events", responses={200: RiskEventSerializer(many=True), **REFUSED})
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(RiskEvent.objects.all())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="risk_event_enter", request=NewRiskEventSerializer,
        responses={201: RiskEventSerializer, **REFUSED, **FORBIDDEN},
    )
    def post(self, request: Request) -> Response:
        """Enters an event under the next number of its year; for administrators."""
        require(self.tenant, Thing.OPERATION)
        serializer = NewRiskEventSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = dict(serializer.validated_data)
        user_id = values.pop("user", None)
        if user_id is not None and not User.objects.filter(pk=user_id).exists():
            raise InvalidInput("no such user", fields={"user": ["There is no such user."]})
        event = register.write_down(administrator=self.tenant, user_id=user_id, values=values)
        return Response(RiskEventSerializer(event).data, status=status.HTTP_201_CREATED)


class RiskEventView(_RegisterView):
    """One event."""

    serializer_class = RiskEventSerializer
    pagination_class = None

    @extend_schema(operation_id="risk_event", responses={200: RiskEventSerializer, 401: REFUSED[401], **MISSING})
    def get(self, request: Request, id: UUID) -> Response:
        return Response(RiskEventSerializer(_found(id)).data)

    @extend_schema(
        operation_id="risk_event_amend", request=RiskEventChangesSerializer,
        responses={200: RiskEventSerializer, **REFUSED, **FORBIDDEN, **MISSING},
    )
    def patch(self, request: Request, id: UUID) -> Response:
        """Tells what became of it; for administrators."""
        require(self.tenant, Thing.OPERATION)
        event = _found(id)
        serializer = RiskEventChangesSerializer(event, data=request.data)
        serializer.is_valid(raise_exception=True)
        changed = register.amend(administrator=self.tenant, event=event, changes=dict(serializer.validated_data))
        return Response(RiskEventSerializer(changed).data)


class RiskReportView(_RegisterView):
    """How many events there were, by week, month or quarter."""

    serializer_class = CountSerializer
    pagination_class = None

    @extend_schema(
        operation_id="risk_report", parameters=[ReportQuerySerializer],
        responses={200: CountSerializer(many=True), **REFUSED},
    )
    def get(self, request: Request) -> Response:
        query = ReportQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        counts = report(Period(asked["period"]), asked["count"], SYSTEM_CLOCK.now())
        return Response(CountSerializer(counts, many=True).data)


def _found(id: UUID) -> RiskEvent:
    event: RiskEvent | None = RiskEvent.objects.filter(pk=id).first()
    if event is None:
        raise NotFound("not found")
    return event
