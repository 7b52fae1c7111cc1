"""Leverage and margin type over HTTP."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import CONFLICT, MISSING, REFUSED, TenantView
from connections import selectors
from connections.api import AT_EXCHANGE
from connections.gateways import MarginType
from desproject.lib.errors import InvalidInput
from trading.leverage import read_margin, set_margin

_TYPES = [kind.value for kind in MarginType]


class MarginSerializer(serializers.Serializer[Any]):
    """How positions of a contract are held: worth at most ``leverage`` times their margin."""

    symbol = serializers.CharField(max_length=32, help_text="For example `BTC/USDT:USDT`.")
    leverage = serializers.IntegerField()
    margin_type = serializers.ChoiceField(choices=_TYPES)


class MarginChangeSerializer(serializers.Serializer[Any]):
    """What is left out stays as it is."""

    symbol = serializers.CharField(max_length=32, help_text="For example `BTC/USDT:USDT`.")
    leverage = serializers.IntegerField(min_value=1, max_value=1000, required=False)
    margin_type = serializers.ChoiceField(choices=_TYPES, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not {"leverage", "margin_type"} & attrs.keys():
            raise serializers.ValidationError({"leverage": ["Give this, margin_type, or both."]})
        return attrs


class LeverageView(TenantView):
    """Leverage and margin type of a perpetual contract; other exchanges answer NOT_OFFERED."""

    serializer_class = MarginSerializer

    @extend_schema(
        operation_id="leverage", parameters=[OpenApiParameter("symbol", str, required=True)],
        responses={200: MarginSerializer, **REFUSED, **MISSING, **CONFLICT, **AT_EXCHANGE},
    )
    def get(self, request: Request, id: UUID) -> Response:
        """What is in force at the exchange."""
        row = selectors.connection(id)
        symbol = request.query_params.get("symbol", "")
        if not symbol:
            raise InvalidInput("symbol missing", fields={"symbol": ["This field is required."]})
        return self._answer(symbol, read_margin(connection=row, symbol=symbol))

    @extend_schema(
        operation_id="leverage_set", request=MarginChangeSerializer,
        responses={200: MarginSerializer, **REFUSED, **MISSING, **CONFLICT, **AT_EXCHANGE},
    )
    def put(self, request: Request, id: UUID) -> Response:
        """Sets it at the exchange, for positions that are open too."""
        row = selectors.connection(id)
        serializer = MarginChangeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        kind = MarginType(data["margin_type"]) if "margin_type" in data else None
        found = set_margin(
            user=self.tenant, connection=row, symbol=data["symbol"], leverage=data.get("leverage"), margin_type=kind
        )
        return self._answer(data["symbol"], found)

    def _answer(self, symbol: str, found: Any) -> Response:
        shown = {"symbol": symbol, "leverage": found.leverage, "margin_type": found.margin_type}
        return Response(self.get_serializer(shown).data)
