"""Risk, one transaction, and only then the send."""

from datetime import datetime
from typing import Any

import structlog

from audit.record import entry
from connections.gateways import Side
from desproject.lib.money import plain, settle
from risk.engine import Denial
from trading import order_life
from trading.engine import checks, denying, news, plans, sending, timings
from trading.engine.committer import BadRow, Killed, Scope
from trading.engine.desk import Desk
from trading.engine.plans import Plan
from trading.engine.state import LiveOrder, changed
from trading.engine.tenant import Tenant
from trading.models import OrderEvent, Reservation
from trading.order_states import OrderStatus

log = structlog.get_logger(__name__)

# What a decision may change of an order.
_DECIDED_FIELDS = (
    "status", "quantity", "price", "stop_price", "reduce_only", "expires_at", "expected_price", "client_order_id",
)  # fmt: skip


async def place(desk: Desk, tenant: Tenant, plan: Plan) -> None:
    """Risk, one transaction, send. Nothing in memory changes before the commit."""
    verdict = checks.verdict(desk, tenant.state, plan)
    if isinstance(verdict, Denial) and not plan.flattens:
        await denying.deny(desk, tenant, plan, verdict)
        return
    is_held = plans.waits(plan.order)
    deadline, deadline_at = desk.send_deadline(tenant.shard)
    if not is_held:
        plan.order = changed(plan.order, expires_at=expiry(desk, plan))
    live = _held_order(tenant, plan) if is_held else live_order(tenant, plan, deadline_at)
    writes = tenant.write_set()
    if not plan.flattens:
        writes.intent = Scope(tenant.user_id, plan.account.connection.pk, plan.order.instance_id)
    if plan.signal is not None:
        writes.create(plan.signal)
    writes.save(live.order, *_DECIDED_FIELDS, was=OrderStatus.NEW)  # not if it was cancelled meanwhile
    if live.attempt is not None:
        writes.create(live.attempt)
    if live.reservation is not None:
        writes.save(live.reservation, "amount", "remaining")
    writes.create(*traces(desk, plan, live))
    try:
        await desk.committer.commit(writes)
    except Killed as error:
        await denying.deny(desk, tenant, plan, Denial("kill_switch", str(error)))
        return
    except BadRow as error:
        if plan.signal is not None:
            log.info("signal_already_decided", event_key=plan.signal.event_key)
        else:
            log.warning("order_not_storable", order_id=str(plan.order.pk), error=str(error).splitlines()[0])
            await denying.deny_not_storable(desk, tenant, plan)
        return
    timings.ordered(desk.clock, plan.signal)
    tenant.state.remember(live)
    if plan.signal is None and not plan.flattens:
        desk.figures["queue_dequeued"] += 1
    if not is_held:  # else the market is watched for its price from now on
        sending.start_send(desk, tenant, plan.account, live, deadline, flattens=plan.flattens)
    desk.figures["orders"] += 1
    if plan.signal is not None:
        news.tell_signal(desk, plan.signal)
    news.tell_order(desk, live)


def live_order(tenant: Tenant, plan: Plan, deadline_at: datetime) -> LiveOrder:
    attempt = sending.attempt(tenant, plan.order, 1, deadline_at)
    order = changed(
        plan.order,
        status=OrderStatus.PENDING,
        client_order_id=attempt.client_order_id,
        expected_price=settle(plan.reference_price),
    )
    decided_at = plan.signal.decided_at if plan.signal else None
    return LiveOrder(order, attempt, _reservation(tenant, plan), decided_at=decided_at)


def _held_order(tenant: Tenant, plan: Plan) -> LiveOrder:
    """What waits for its trigger. Of orders that cancel each other the first reserves for all: one of them is sent."""
    order = changed(plan.order, status=OrderStatus.WAITING)
    return LiveOrder(order, None, _reservation(tenant, plan) if order.oco_group is None else None)


def _reservation(tenant: Tenant, plan: Plan) -> Reservation:
    """What is set aside for the order; one that has waited has its own already."""
    amount = plans.to_reserve(plan)
    known = tenant.state.orders.get(plan.order.pk)
    if known is not None and known.reservation is not None:
        return changed(known.reservation, amount=amount, remaining=amount)
    return Reservation(
        order_id=plan.order.pk,
        user_id=tenant.user_id,
        connection_id=plan.order.connection_id,
        asset=plans.spent_asset(plan),
        amount=amount,
        remaining=amount,
    )


def expiry(desk: Desk, plan: Plan) -> datetime | None:
    quote = desk.price(plan.account.connection.feed, plan.order.symbol, Side(plan.order.side))
    return order_life.expiry(plan.order, desk.clock.now(), quote)


def traces(desk: Desk, plan: Plan, live: LiveOrder) -> list[Any]:
    """The recorded move and the audit row."""
    now = desk.clock.now()
    order = live.order
    details = {
        "symbol": order.symbol,
        "side": order.side,
        "type": order.type,
        "quantity": plain(order.quantity),
        "client_order_id": order.client_order_id,
        "instance": str(order.instance_id or ""),
    }
    return [
        OrderEvent(
            user_id=order.user_id,
            order_id=order.pk,
            from_status=OrderStatus.NEW,
            to_status=order.status,
            cause="signal" if plan.signal else plan.cause,
            at=now,
        ),
        entry(
            "order.held" if order.status == OrderStatus.WAITING else "order.placed",
            user_id=order.user_id,
            resource_type="order",
            resource_id=order.pk,
            details=details,
            at=now,
        ),
    ]
