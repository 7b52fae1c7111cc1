"""An order that takes another one's place is decided when that one has ended for sure, and all of its fills are known:
both are never at the exchange, and together they never fill more than was asked for."""

from decimal import Decimal
from uuid import UUID

from accounts.tenancy import tenant_scope
from connections.database import run as run_in_db
from desproject.lib.errors import DomainError
from trading.engine.state import LiveOrder, changed, load_order
from trading.engine.tenant import Tenant
from trading.models import Order
from trading.order_states import OrderStatus


class StillThere(DomainError):
    """The order whose place it takes may still be filled."""

    code = "REPLACED_ORDER_OPEN"
    status = 503


class TooLate(DomainError):
    """That order ended by itself: there is no place to take."""

    code = "REPLACED_ORDER_ENDED"
    status = 409


async def in_its_place(tenant: Tenant, order: Order) -> Order:
    """The order with what the one before it has left to be filled. Raises StillThere, TooLate."""
    if order.replaces is None or order.triggered_at is not None:
        return order
    before = tenant.state.orders.get(order.replaces) or await run_in_db(_read, tenant.user_id, order.replaces)
    if before is None or not before.is_whole:
        raise StillThere("the order whose place it takes hasn't ended yet")
    if before.order.status != OrderStatus.CANCELLED:
        raise TooLate(f"the order whose place it was to take ended {before.order.status}")
    left: Decimal = order.quantity - before.order.filled_quantity
    if left <= 0:
        raise TooLate("the order whose place it was to take was filled that far already")
    return changed(order, quantity=left)


def _read(user_id: UUID, order_id: UUID) -> LiveOrder | None:
    with tenant_scope(user_id):
        row = Order.objects.filter(pk=order_id).first()
        return load_order(row) if row else None
