"""The leak drill over HTTP."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import CONFLICT, MISSING, REFUSED, TenantView
from connections import selectors
from connections.api import AT_EXCHANGE, ConnectionChangesSerializer, ConnectionSerializer
from connections.gateways import Credentials
from trading.leak_drill import answer_leak
from trading.serializers import TradeSerializer


class NewKeySerializer(ConnectionChangesSerializer):
    """The key that takes the leaked one's place; it may come later, by changing the connection."""

    name = None  # type: ignore[assignment]  # DRF's way to take a field out


class LeakSerializer(serializers.Serializer[Any]):
    connection = ConnectionSerializer()
    kill_switch = serializers.UUIDField(source="kill_switch.pk")
    open_orders = serializers.IntegerField()
    trades = TradeSerializer(many=True)


class LeakedKeyView(TenantView):
    """A key leaked."""

    serializer_class = LeakSerializer

    @extend_schema(
        operation_id="connection_leaked", request=NewKeySerializer,
        responses={200: LeakSerializer, **REFUSED, **MISSING, **CONFLICT, **AT_EXCHANGE},
    )
    def post(self, request: Request, id: UUID) -> Response:
        """Disables the key, ends its stream, stops the connection and cancels its open orders, then takes the new key
        if there is one. Answers the connection's newest trades for review; its kill switch stays on until lifted."""
        row = selectors.connection(id)
        serializer = NewKeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        new_key = Credentials(data["api_key"], data["api_secret"]) if "api_key" in data else None
        leak = answer_leak(user=self.tenant, connection=row, new_key=new_key)
        return Response(self.get_serializer(leak).data)
