"""Placing and cancelling orders."""

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse

from accounts.models import User
from connections.gateways import Side
from connections.selectors import connection, connections
from trading import selectors, services
from trading.console.answers import done, tenant_page
from trading.console.forms import Choice, Field, Form, Section, amount, optional
from trading.order_types import Lifetime, OrderKind
from trading.serializers import NewOrderSerializer, idempotency_key, request_hash

_TYPES = {
    OrderKind.MARKET: "Market", OrderKind.LIMIT: "Limit", OrderKind.POST_ONLY: "Limit, post only",
    OrderKind.STOP_LOSS: "Stop loss", OrderKind.STOP_LOSS_LIMIT: "Stop loss, limit",
    OrderKind.TAKE_PROFIT: "Take profit", OrderKind.TAKE_PROFIT_LIMIT: "Take profit, limit",
    OrderKind.TRAILING_STOP: "Trailing stop",
}  # fmt: skip
_TIMES = {
    Lifetime.GTC: "Until cancelled", Lifetime.DAY: "Until midnight UTC", Lifetime.IOC: "What fills at once (IOC)",
    Lifetime.FOK: "All at once or nothing (FOK)",
}  # fmt: skip
_SYMBOL = {"maxlength": "32", "autocapitalize": "characters", "autocomplete": "off", "spellcheck": "false"}
# The ticket's key: a form that is sent twice is one order.
_KEY = "idempotency_key"


def _ticket(symbol: str = "BTC/USDT", chosen: str = "") -> Form:
    accounts = [Choice(str(row.pk), row.name) for row in connections()]
    return Form("new-order", "/console/orders/new", "New order", "Place order", [Section([
        Field(_KEY, "", "hidden", uuid.uuid4().hex),
        Field("connection", "Connection", "select", chosen, choices=accounts),
        Field("symbol", "Symbol", value=symbol, attributes=_SYMBOL),
        Field("side", "Side", "select", "buy", choices=[Choice(side.value, side.value.title()) for side in Side]),
        Field("type", "Type", "select", "limit", choices=[Choice(each.value, _TYPES[each]) for each in OrderKind]),
        amount("quantity", "Quantity", help="In the base asset.", read=optional),
        amount("price", "Price", help="Of limit orders.", required=False, read=optional),
        amount("stop_price", "Stop price", help="Of stop loss and take profit.", required=False, read=optional),
        amount(
            "trail_rate", "Trailing distance", help="Of trailing stops, as a share: 0.01.", required=False,
            read=optional,
        ),
        Field(
            "time_in_force", "Good for", "select", "gtc",
            choices=[Choice(each.value, label) for each, label in _TIMES.items()],
        ),
        Field("reduce_only", "Only reduce what is held", "checkbox", required=False),
    ])])  # fmt: skip


@tenant_page("GET", "POST")
def new_order(request: HttpRequest, user: User) -> HttpResponse:
    """The order ticket; ``?connection=`` and ``?symbol=`` choose what it starts with."""

    def place(values: dict[str, Any]) -> HttpResponse:
        key = values.pop(_KEY, None)
        serializer = NewOrderSerializer(data=values)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        order = services.place_order(
            user=user, **{**data, "connection": connection(data["connection"])},
            idempotency_key=idempotency_key(key), request_hash=request_hash(data),
        )
        text = f"Order accepted: {order.side} {order.symbol}."
        return _ticket(order.symbol, str(order.connection_id)).again(request, text)

    return _ticket(request.GET.get("symbol") or "BTC/USDT", request.GET.get("connection", "")).answer(request, place)


@tenant_page("POST")
def cancel_order(request: HttpRequest, user: User, order_id: uuid.UUID) -> HttpResponse:
    """Asks the engine to cancel an order."""
    order = selectors.order(order_id)
    services.cancel_order(user=user, order=order)
    return done(request, f"The {order.side} order for {order.symbol} is being cancelled.")
