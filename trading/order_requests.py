"""Orders as gateways send them."""

from connections.gateways import OrderRequest, Side
from trading.models import Order
from trading.order_types import time_in_force_sent, type_sent


def request_of(order: Order, client_order_id: str) -> OrderRequest:
    """The order, under the client order id of one attempt."""
    return OrderRequest(
        client_order_id=client_order_id,
        symbol=order.symbol,
        side=Side(order.side),
        type=type_sent(order.type),
        quantity=order.quantity,
        price=order.price,
        time_in_force=time_in_force_sent(order.time_in_force),
        reduce_only=order.reduce_only,
    )
