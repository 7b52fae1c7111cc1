"""Orders that somebody placed at the exchange without DES: taken in as the exchange tells of them, so that they count
into exposure, hold their money back, can be seen and cancelled, and their fills are booked like every other.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import structlog

from accounts.tenancy import tenant_scope
from audit.models import AuditLog
from audit.record import entry
from connections.database import run as run_in_db
from connections.gateways import OrderReport, ReportStatus, Side
from desproject.lib.money import ZERO, plain, settle
from trading.engine import news
from trading.engine.desk import Desk
from trading.engine.state import Account, LiveOrder, find_order, load_order
from trading.engine.tenant import Tenant
from trading.models import CLIENT_ID_LENGTH, Order, OrderEvent, Reservation
from trading.order_states import OrderStatus
from trading.positions import is_on_margin

log = structlog.get_logger(__name__)

_OPEN = (ReportStatus.WORKING, ReportStatus.PARTIALLY_FILLED)


def matters(report: OrderReport) -> bool:
    """Whether an order that DES didn't place changes anything: one that ended without a fill doesn't."""
    return bool(report.exchange_order_id) and (report.status in _OPEN or report.filled_quantity > 0)


async def order_of(desk: Desk, tenant: Tenant, account: Account, report: OrderReport) -> LiveOrder | None:
    """The order that a report of this account is about, whoever placed it; None for one that doesn't matter.

    Called in the tenant's turn, so none is taken in twice. The report itself is still to be booked.
    """
    live = remembered(tenant, account.connection.pk, report)
    if live is None:
        live = await run_in_db(_find, tenant.user_id, account.connection.pk, report)
        if live is not None:
            tenant.state.remember(live)
    if live is not None:
        return live
    return await _adopt(desk, tenant, account, report) if matters(report) else None


def remembered(tenant: Tenant, connection_id: UUID, report: OrderReport) -> LiveOrder | None:
    """The same from memory alone."""
    own = tenant.state.client_ids.get(report.client_order_id)
    live = tenant.state.orders.get(own) if own else None
    # A user may have bound an account twice: to the other connection it is an order of elsewhere.
    if live is not None and live.order.connection_id == connection_id:
        return live
    return next((live for live in tenant.state.orders.values() if _is_it(live.order, connection_id, report)), None)


def strangers(user_id: UUID, connection_id: UUID, reports: Sequence[OrderReport]) -> list[OrderReport]:
    """The reports that are about no order in the database (in a database thread)."""
    return [report for report in reports if _find(user_id, connection_id, report) is None]


def _is_it(order: Order, connection_id: UUID, report: OrderReport) -> bool:
    return order.elsewhere and (order.connection_id, order.symbol, order.exchange_order_id) == (
        connection_id, report.symbol, report.exchange_order_id
    )  # fmt: skip


def _find(user_id: UUID, connection_id: UUID, report: OrderReport) -> LiveOrder | None:
    live = find_order(user_id, report.client_order_id) if report.client_order_id else None
    if live is not None and live.order.connection_id == connection_id:
        return live
    with tenant_scope(user_id):
        row = Order.objects.filter(
            connection_id=connection_id,
            symbol=report.symbol,
            exchange_order_id=report.exchange_order_id,
            elsewhere=True,
        ).first()
        return load_order(row) if row else None


async def _adopt(desk: Desk, tenant: Tenant, account: Account, report: OrderReport) -> LiveOrder:
    now = desk.clock.now()
    order = Order(
        user_id=tenant.user_id,
        connection_id=account.connection.pk,
        symbol=report.symbol,
        side=report.side,
        type=report.type,
        time_in_force=report.time_in_force,
        # Where an order is by its total, the exchange doesn't tell how much it is to buy.
        quantity=max(report.quantity, report.filled_quantity),
        price=report.price,
        status=OrderStatus.SUBMITTED,
        client_order_id=report.client_order_id[:CLIENT_ID_LENGTH],
        exchange_order_id=report.exchange_order_id,
        elsewhere=True,
        acknowledged_at=now,
    )
    live = LiveOrder(order, reservation=_reservation(account, order))
    writes = tenant.write_set()
    writes.create(order, *live.rows(), _event(order, now), _audit(order, now))
    await desk.committer.commit(writes)
    tenant.state.remember(live)
    desk.figures["orders_adopted"] += 1
    log.info("order_of_elsewhere_adopted", order_id=str(order.pk), symbol=order.symbol)
    news.tell_order(desk, live)
    return live


def _reservation(account: Account, order: Order) -> Reservation | None:
    """What the exchange holds back for it, as far as its price tells."""
    base, _, quote = order.symbol.partition(":")[0].partition("/")
    spends_base = order.side == Side.SELL and not is_on_margin(order.symbol)
    amount = order.quantity if spends_base else _worth(account, order)
    if not amount:
        return None
    return Reservation(
        order_id=order.pk,
        user_id=order.user_id,
        connection_id=order.connection_id,
        asset=base if spends_base else quote,
        amount=amount,
        remaining=amount,
    )


def _worth(account: Account, order: Order) -> Decimal:
    if order.price is None or _closes(account, order):
        return ZERO
    leverage = account.leverage.get(order.symbol, 1) if is_on_margin(order.symbol) else 1
    return settle(order.quantity * order.price / leverage)


def _closes(account: Account, order: Order) -> bool:
    """Whether it makes a position on margin smaller, which ties up nothing."""
    position = account.positions.get(order.symbol)
    if position is None or not is_on_margin(order.symbol):
        return False
    left = position.quantity if order.side == Side.SELL else -position.quantity
    return bool(left >= order.quantity)


def _event(order: Order, now: datetime) -> OrderEvent:
    return OrderEvent(
        user_id=order.user_id, order_id=order.pk, from_status=OrderStatus.NEW, to_status=OrderStatus.SUBMITTED,
        cause="elsewhere", at=now,
    )  # fmt: skip


def _audit(order: Order, now: datetime) -> AuditLog:
    details = {
        "symbol": order.symbol,
        "side": order.side,
        "type": order.type,
        "quantity": plain(order.quantity),
        "exchange_order_id": order.exchange_order_id,
        "cause": "elsewhere",
    }
    return entry(
        "order.submitted", user_id=order.user_id, resource_type="order", resource_id=order.pk, details=details, at=now
    )
