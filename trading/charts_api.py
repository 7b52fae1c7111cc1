"""What the console's charts and bars show, over HTTP: candles, the equity line and risk headroom."""

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.views import MISSING, REFUSED, TenantView
from connections.exchanges import venue
from connections.gateways import Candle
from connections.selectors import connection
from desproject.lib.api import AmountField, ErrorAnswer
from desproject.lib.clock import to_millis
from desproject.lib.errors import InvalidInput
from desproject.lib.money import plain
from trading.bars import TIMEFRAMES
from trading.candles import candles
from trading.equity import line, point_shape
from trading.headroom import headroom

SYMBOL = r"^[\w.-]{1,20}/[\w.-]{1,20}\Z"
_MOST = 1000

_AT_EXCHANGE = {
    502: OpenApiResponse(ErrorAnswer, "The exchange answered with something unexpected."),
    503: OpenApiResponse(ErrorAnswer, "The exchange can't be asked now; `retry_after` says when to try again."),
}


@extend_schema_field({
    "type": "array", "minItems": 6, "maxItems": 6,
    "items": {"oneOf": [{"type": "integer", "format": "int64"}, {"type": "string", "format": "decimal"}]},
    "example": [1763740800000, "50000.1", "50010", "49990", "50005.5", "12.5"],
})
class CandleField(serializers.Field[Candle, Any, list[Any], Any]):
    """Opening time in epoch milliseconds, then open, high, low, close and volume as plain decimals."""

    def to_representation(self, value: Candle) -> list[Any]:
        return candle_shape(value)


def candle_shape(bar: Candle) -> list[Any]:
    """A candle as the API and the live socket show it."""
    amounts = (bar.open, bar.high, bar.low, bar.close, bar.volume)
    return [to_millis(bar.opened_at), *(plain(amount) for amount in amounts)]


class CandlesQuery(serializers.Serializer[Any]):
    connection = serializers.UUIDField(help_text="One of the caller's: its exchange's candles are shown.")
    symbol = serializers.RegexField(SYMBOL, help_text="For example `BTC/USDT`.")
    timeframe = serializers.ChoiceField(choices=list(TIMEFRAMES), default="1m")
    limit = serializers.IntegerField(min_value=1, max_value=_MOST, default=500, help_text="Periods looked back.")
    before = serializers.DateTimeField(
        required=False, default=None, help_text="Only candles opened before this moment, to page back."
    )


class CandlesSerializer(serializers.Serializer[Any]):
    candles = serializers.ListField(
        child=CandleField(), help_text="Oldest first; without `before` the last one may still grow."
    )


class CandlesView(TenantView):
    """The candles of a symbol on one of the caller's exchanges."""

    serializer_class = CandlesSerializer
    pagination_class = None

    @extend_schema(
        operation_id="candles", parameters=[CandlesQuery],
        responses={200: CandlesSerializer, **REFUSED, **MISSING, **_AT_EXCHANGE},
    )
    def get(self, request: Request) -> Response:
        query = CandlesQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        data = dict(query.validated_data)
        row = connection(data.pop("connection"))
        _require_offered(row.exchange, data["timeframe"])
        return Response(CandlesSerializer({"candles": candles(row.feed, **data)}).data)


def _require_offered(exchange: str, timeframe: str) -> None:
    offered = venue(exchange).timeframes
    if timeframe not in offered:
        raise InvalidInput(
            "no such timeframe", fields={"timeframe": [f"This exchange offers: {', '.join(offered)}."]}
        )


@extend_schema_field({
    "type": "array", "minItems": 2, "maxItems": 2,
    "items": {"oneOf": [{"type": "integer", "format": "int64"}, {"type": "string", "format": "decimal"}]},
    "example": [1763740800000, "1050.25"],
})
class PointField(serializers.Field[Any, Any, list[Any], Any]):
    """A minute in epoch milliseconds, and the worth as a plain decimal."""

    def to_representation(self, value: Any) -> list[Any]:
        return point_shape(value)


class EquityQuery(serializers.Serializer[Any]):
    connection = serializers.UUIDField(
        required=False, default=None, help_text="One of the caller's; without it all are added up."
    )
    since = serializers.DateTimeField(required=False, default=None, help_text="By default the last 24 hours.")
    asset = serializers.RegexField(
        r"^\w{1,16}\Z", required=False, default=None,
        help_text="The quote asset; by default the one with the most points.",
    )


class EquitySerializer(serializers.Serializer[Any]):
    asset = serializers.CharField(help_text="What the points are counted in; empty when there are none.")
    points = serializers.ListField(child=PointField(), help_text="Oldest first, 500 at most.")


class EquityView(TenantView):
    """What the caller's accounts were worth over time. A point a minute is kept for 30 days, then one an hour."""

    serializer_class = EquitySerializer
    pagination_class = None

    @extend_schema(
        operation_id="equity", parameters=[EquityQuery], responses={200: EquitySerializer, **REFUSED, **MISSING}
    )
    def get(self, request: Request) -> Response:
        query = EquityQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        data = query.validated_data
        if data["connection"] is not None:
            connection(data["connection"])
        found = line(data["connection"], data["since"], data["asset"])
        return Response(EquitySerializer(found).data)


class HeadroomSerializer(serializers.Serializer[Any]):
    """How much of one limit is used."""

    level = serializers.CharField(help_text="Whose limit: `global`, `user`, `connection` or `strategy`.")
    connection = serializers.UUIDField()
    strategy_instance = serializers.UUIDField(allow_null=True)
    symbol = serializers.CharField(allow_null=True, help_text="For rules that hold for each symbol.")
    rule = serializers.CharField(
        help_text="`exposure`, `daily_loss`, `drawdown`, `daily_trades`, `position_size` or `open_orders`."
    )
    limit = AmountField()
    used = AmountField()
    left = AmountField(help_text="Never below 0.")
    unit = serializers.CharField(help_text="A quote asset, `orders` or `trades`.")
    ratio = AmountField(help_text="used / limit: 1 and above means that the limit is reached.")


class HeadroomView(TenantView):
    """How much of each risk limit is used now, by connection."""

    serializer_class = HeadroomSerializer
    pagination_class = None

    @extend_schema(
        operation_id="risk_headroom", responses={200: HeadroomSerializer(many=True), 401: REFUSED[401]}
    )
    def get(self, request: Request) -> Response:
        return Response(headroom())
