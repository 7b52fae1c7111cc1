"""What becomes of a signal or an order that isn't placed: its end is a row, with the reason."""

from uuid import UUID

import structlog

from accounts.tenancy import tenant_scope
from audit.record import entry
from connections.database import run as run_in_db
from risk.engine import Denial
from trading.engine import booking, news
from trading.engine.committer import BadRow
from trading.engine.desk import Desk
from trading.engine.plans import Plan
from trading.engine.state import Account, LiveOrder, changed
from trading.engine.tenant import Tenant
from trading.models import Decision, Order, Signal
from trading.order_states import OPEN, OrderStatus

log = structlog.get_logger(__name__)


async def deny(desk: Desk, tenant: Tenant, plan: Plan, denial: Denial) -> None:
    desk.figures["denials"] += 1
    if plan.signal is not None:
        await keep_denied(desk, tenant, plan.signal, denial.rule, denial.reason)
    else:
        await deny_order(desk, tenant, plan.account, plan.order, f"RISK_{denial.rule.upper()}", denial.reason)


async def deny_signal(desk: Desk, tenant: Tenant, signal: Signal, denial: Denial) -> None:
    """Keeps a signal that led to nothing, with the reason."""
    desk.figures["denials"] += 1
    await keep_denied(desk, tenant, signal, denial.rule, denial.reason)


async def keep_denied(desk: Desk, tenant: Tenant, signal: Signal, rule: str, reason: str) -> None:
    """The signal is kept with the reason; it never becomes an order."""
    denied = changed(signal, decision=Decision.DENIED, reason=f"{rule}: {reason}"[:300])
    writes = tenant.write_set()
    writes.create(denied)
    writes.create(
        entry(
            "order.denied",
            user_id=tenant.user_id,
            resource_type="strategy_instance",
            resource_id=signal.instance_id,
            details={"rule": rule, "reason": reason},
            at=desk.clock.now(),
        )
    )
    try:
        await desk.committer.commit(writes)
    except BadRow:
        return
    news.tell_signal(desk, denied)


async def deny_not_storable(desk: Desk, tenant: Tenant, plan: Plan) -> None:
    """Ends an order from the API that the database refuses; one that an earlier, unclear commit has placed after all
    is left to the sweep."""
    if await run_in_db(read_new, tenant.user_id, plan.order.pk) is not None:
        await deny_order(desk, tenant, plan.account, plan.order, "NOT_STORABLE", "the order can't be stored")


async def deny_order(desk: Desk, tenant: Tenant, account: Account, order: Order, code: str, reason: str) -> None:
    """The order from the API ends as rejected, by us."""
    if order._state.adding or OrderStatus(order.status) not in OPEN:
        log.warning("flatten_denied", code=code, reason=reason)
        return
    await end_unsent(desk, tenant, account, order, OrderStatus.REJECTED, code, reason)


async def end_unsent(
    desk: Desk, tenant: Tenant, account: Account, order: Order, status: OrderStatus, code: str, reason: str
) -> None:
    desk.figures["queue_dequeued"] += 1
    refused = booking.with_status(
        tenant.state,
        account,
        tenant.state.orders.get(order.pk) or LiveOrder(order),
        status,
        cause="denied" if status == OrderStatus.REJECTED else "timed_out",
        now=desk.clock.now(),
        code=code,
        reason=reason,
    )
    writes = tenant.write_set()
    refused.write(writes)
    await desk.committer.commit(writes)
    refused.apply(tenant.state)
    news.tell_booking(desk, tenant.state, refused)


def read_new(user_id: UUID, order_id: UUID) -> Order | None:
    with tenant_scope(user_id):
        rows = Order.objects.filter(pk=order_id, status=OrderStatus.NEW).select_related("connection")
        order: Order | None = rows.first()
        return order
