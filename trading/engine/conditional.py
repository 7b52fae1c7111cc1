"""Orders with a trigger: held here until the market has reached it, and sent once (ORD-7).

An order that waits is a committed row with its reservation. Its trigger is one recorded move, from ``waiting`` back to
``new``, in one transaction with the end of the orders that it replaces (one cancels other); from there it is decided
and sent like any other, also by an engine that takes over in between. Whatever was triggered never waits again.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

import structlog

from audit.record import entry
from desproject.lib.money import plain
from trading import trigger_prices
from trading.engine import booking, decisions, news
from trading.engine.desk import Desk
from trading.engine.state import Account, LiveOrder, changed
from trading.engine.tenant import Tenant
from trading.engine.triggers import Bounds, Instrument
from trading.models import Order, OrderEvent
from trading.order_states import UNSENT, OrderStatus, check_move

log = structlog.get_logger(__name__)


def watch(desk: Desk, tenant: Tenant) -> None:
    """Listens to the prices that the tenant's waiting orders and attached stops need."""
    wanted: dict[Instrument, list[Bounds]] = defaultdict(list)
    for live in tenant.state.waiting.values():
        account = tenant.state.accounts.get(live.order.connection_id)
        if account is not None:
            wanted[account.connection.feed, live.order.symbol].append(trigger_prices.bounds(live.order))
    for key, attached in tenant.state.attached.items():
        instance = tenant.state.instances.get(key)
        account = tenant.state.accounts.get(instance.connection_id) if instance is not None else None
        if instance is not None and account is not None:
            wanted[account.connection.feed, instance.symbol].append(attached.bounds())
    desk.triggers.watch(tenant, wanted)


async def decide(desk: Desk, tenant: Tenant, order_id: UUID, order: Order | None = None) -> None:
    """Decides on an order that is new; one with a trigger waits from then on."""
    await decisions.on_new_order(desk, tenant, order_id, order)
    watch(desk, tenant)


async def on_price(desk: Desk, tenant: Tenant, instrument: Instrument, price: Decimal) -> None:
    """Triggers what this price reaches; moves trailing stops."""
    for live in list(tenant.state.waiting.values()):
        account = tenant.state.accounts.get(live.order.connection_id)
        if account is None or (account.connection.feed, live.order.symbol) != instrument:
            continue
        if live.order.pk not in tenant.state.waiting:  # another one of its group was just triggered
            continue
        if trigger_prices.is_reached(live.order, price):
            await _trigger(desk, tenant, account, live, price)
        elif (moved := trigger_prices.moved(live.order, price)) is not None:
            await _move(desk, tenant, live, moved)
    watch(desk, tenant)


async def _trigger(desk: Desk, tenant: Tenant, account: Account, live: LiveOrder, price: Decimal) -> None:
    now = desk.clock.now()
    check_move(OrderStatus(live.order.status), OrderStatus.NEW)
    order = changed(live.order, status=OrderStatus.NEW, triggered_at=now)
    others = [
        _ending(tenant, account, other, OrderStatus.CANCELLED, "one_cancels_other", now)
        for other in group(tenant, live)
        if other is not live
    ]
    writes = tenant.write_set()
    writes.update(order, "status", "triggered_at")
    writes.create(
        OrderEvent(
            user_id=order.user_id, order_id=order.pk, from_status=live.order.status, to_status=order.status,
            cause="triggered", at=now,
        ),
        entry(
            "order.triggered", user_id=order.user_id, resource_type="order", resource_id=order.pk,
            details={"price": plain(price), "stop_price": plain(order.stop_price)}, at=now,
        ),
    )  # fmt: skip
    for other in others:
        other.write(writes)
    await desk.committer.commit(writes)
    live.order = order
    tenant.state.remember(live)
    for other in others:
        other.apply(tenant.state)
        news.tell_booking(desk, tenant.state, other)
    desk.figures["triggered"] += 1
    await decisions.on_new_order(desk, tenant, order.pk)


async def _move(desk: Desk, tenant: Tenant, live: LiveOrder, stop_price: Decimal) -> None:
    """Stores a trailing stop's trigger: what isn't stored triggers nothing."""
    order = changed(live.order, stop_price=stop_price)
    writes = tenant.write_set()
    writes.update(order, "stop_price")
    await desk.committer.commit(writes)
    live.order = order
    news.tell_order(desk, live)


def group(tenant: Tenant, live: LiveOrder) -> Sequence[LiveOrder]:
    """The order and those that wait with it, of which one cancels the others."""
    key = live.order.oco_group or live.order.pk
    waiting = tenant.state.waiting.values()
    return [live, *(other for other in waiting if other is not live and key in (other.order.pk, other.order.oco_group))]


async def end(desk: Desk, tenant: Tenant, order_id: UUID, status: OrderStatus, cause: str) -> None:
    """Ends an order that was never sent, and those that wait with it; one that has gone on is left alone."""
    live = tenant.state.orders.get(order_id)
    account = tenant.state.accounts.get(live.order.connection_id) if live else None
    if live is None or account is None or live.order.status not in UNSENT:
        return
    writes = tenant.write_set()
    now = desk.clock.now()
    changes = [_ending(tenant, account, each, status, cause, now) for each in group(tenant, live)]
    for change in changes:
        change.write(writes)
    await desk.committer.commit(writes)
    took_effect(desk, tenant, changes)


def took_effect(desk: Desk, tenant: Tenant, changes: Sequence[booking.Booking]) -> None:
    """After the commit of the end of waiting orders."""
    for change in changes:
        change.apply(tenant.state)
        tenant.queue.discard(change.order.pk)
        news.tell_booking(desk, tenant.state, change)
    watch(desk, tenant)


def post_end(desk: Desk, tenant: Tenant, live: LiveOrder, status: OrderStatus, cause: str) -> None:
    """Has the tenant end it; for those outside of its actor."""
    order_id = live.order.pk
    tenant.post(partial(end, desk, tenant, order_id, status, cause), key=("end", order_id), first=True)


def _ending(
    tenant: Tenant, account: Account, live: LiveOrder, status: OrderStatus, cause: str, now: datetime
) -> booking.Booking:
    return booking.with_status(tenant.state, account, live, status, cause=cause, now=now)
