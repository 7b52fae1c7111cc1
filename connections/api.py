"""Exchange accounts over HTTP. Keys go in and never come out."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import CONFLICT, MISSING, REFUSED, TenantViewSet
from connections import paper, selectors, services
from connections.gateways import Credentials
from connections.models import Connection, ConnectionStatus, Mode
from desproject.lib.api import AmountField, ErrorAnswer

AT_EXCHANGE = {
    502: OpenApiResponse(ErrorAnswer, "The exchange answered with something unexpected."),
    503: OpenApiResponse(ErrorAnswer, "The exchange can't be reached; nothing was stored."),
}


class ConnectionSerializer(serializers.ModelSerializer[Connection]):
    mode = serializers.ChoiceField(choices=Mode.choices)
    status = serializers.ChoiceField(choices=ConnectionStatus.choices)
    permissions = serializers.DictField()
    key_age_days = serializers.IntegerField(read_only=True)
    key_is_old = serializers.BooleanField(source="is_key_old", read_only=True)
    key_hint = serializers.CharField(read_only=True, help_text="What would make the key safer; empty when nothing.")
    paper_of = serializers.UUIDField(
        source="paper_of_id", read_only=True, allow_null=True,
        help_text="Of a paper account: the connection whose exchange it trades at on paper.",
    )

    class Meta:
        model = Connection
        fields = (
            "id", "name", "exchange", "mode", "api_key_masked", "key_version", "status", "status_reason",
            "permissions", "last_checked_at", "key_age_days", "key_is_old", "key_hint", "paper_of", "created_at",
        )


class KeySerializer(serializers.Serializer[Any]):
    """A key and its secret: only together."""

    api_key = serializers.CharField(max_length=200, write_only=True)
    api_secret = serializers.CharField(max_length=500, write_only=True)

    def validate_api_key(self, value: str) -> str:
        # It travels in an HTTP header.
        if not (value.isascii() and value.isprintable()):
            raise serializers.ValidationError("An API key is printable ASCII.")
        return value


class NewConnectionSerializer(KeySerializer):
    name = serializers.CharField(max_length=80)
    exchange = serializers.CharField(max_length=32)
    mode = serializers.ChoiceField(choices=Mode.choices)


class PaperAccountSerializer(serializers.Serializer[Any]):
    balances = serializers.DictField(
        child=AmountField(positive=True), required=False,
        help_text="What the account begins with, by asset; without it the installation's PAPER_BALANCES.",
    )


class ConnectionChangesSerializer(KeySerializer):
    name = serializers.CharField(max_length=80, required=False)
    api_key = serializers.CharField(max_length=200, write_only=True, required=False)
    api_secret = serializers.CharField(max_length=500, write_only=True, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("api_key" in attrs) != ("api_secret" in attrs):
            missing = "api_secret" if "api_key" in attrs else "api_key"
            raise serializers.ValidationError({missing: ["A key and its secret are only changed together."]})
        return attrs


@extend_schema_view(
    list=extend_schema(operation_id="connections", responses={200: ConnectionSerializer(many=True), **REFUSED}),
    retrieve=extend_schema(
        operation_id="connection", responses={200: ConnectionSerializer, 401: REFUSED[401], **MISSING}
    ),
)
class ConnectionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Exchange accounts. Creating one, or changing its key, first tests the key at the exchange."""

    serializer_class = ConnectionSerializer
    queryset = Connection.objects.none()

    def get_queryset(self) -> "QuerySet[Connection]":
        return selectors.connections()

    @extend_schema(
        operation_id="connection_create",
        request=NewConnectionSerializer,
        responses={201: ConnectionSerializer, **REFUSED, **CONFLICT, **AT_EXCHANGE},
    )
    def create(self, request: Request) -> Response:
        serializer = NewConnectionSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        row = services.create_connection(
            user=self.tenant, name=data["name"], exchange=data["exchange"], mode=data["mode"],
            credentials=Credentials(data["api_key"], data["api_secret"]),
        )
        return Response(self.get_serializer(row).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="connection_change",
        request=ConnectionChangesSerializer,
        responses={200: ConnectionSerializer, **REFUSED, **MISSING, **CONFLICT, **AT_EXCHANGE},
    )
    def partial_update(self, request: Request, id: object) -> Response:
        row = self.get_object()
        serializer = ConnectionChangesSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        credentials = Credentials(data["api_key"], data["api_secret"]) if "api_key" in data else None
        row = services.change_connection(
            user=self.tenant, connection=row, name=data.get("name"), credentials=credentials
        )
        return Response(self.get_serializer(row).data)

    @extend_schema(operation_id="connection_delete", responses={204: None, 401: REFUSED[401], **MISSING, **CONFLICT})
    def destroy(self, request: Request, id: object) -> Response:
        services.delete_connection(user=self.tenant, connection=self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="connection_test", request=None,
        responses={200: ConnectionSerializer, **REFUSED, **MISSING, **CONFLICT, **AT_EXCHANGE},
    )
    @action(detail=True, methods=["post"])
    def test(self, request: Request, id: object) -> Response:
        """Asks the exchange again what the key may do; what it says is kept in `status` and `permissions`."""
        row = services.test_connection(user=self.tenant, connection=self.get_object())
        return Response(self.get_serializer(row).data)

    @extend_schema(
        operation_id="connection_paper_account", request=PaperAccountSerializer,
        responses={201: ConnectionSerializer, **REFUSED, **MISSING, **CONFLICT},
    )
    @action(detail=True, methods=["post"], url_path="paper-account", serializer_class=ConnectionSerializer)
    def paper_account(self, request: Request, id: object) -> Response:
        """Opens the connection's paper account, for orders that never leave DES. One that was deleted begins anew."""
        serializer = PaperAccountSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        row = paper.open_account(
            user=self.tenant, connection=self.get_object(), balances=serializer.validated_data.get("balances")
        )
        return Response(self.get_serializer(row).data, status=status.HTTP_201_CREATED)
