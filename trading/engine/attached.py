"""Stops and times attached to instances (STG-10): a position that reached one is sold by an exit signal of its own.

What they hang on is in rows: the entry's order, and the highest price in the instance's state; so a restart changes
nothing but the seconds without an engine. They hold while the instance runs, is paused or failed, and end when it is
stopped. An exit that came to nothing is tried again by the prices that follow.
"""

import time
from decimal import Decimal
from uuid import UUID

from accounts.tenancy import tenant_scope
from connections.database import run as run_in_db
from connections.gateways import Side
from desproject.lib.money import plain
from trading.engine import conditional, decisions
from trading.engine.desk import Desk
from trading.engine.state import changed
from trading.engine.tenant import Tenant
from trading.engine.triggers import Instrument
from trading.exits import Attached, Why, parse_exits
from trading.models import InstanceStatus, Order, StrategyInstance
from trading.sizing import sellable
from trading.strategies.contract import EXIT

# So long after an exit was tried the next price may try again.
_PAUSE_SECONDS = 2.0
_PEAK = "peak"
_ENTRY = "entry"


async def on_booked(desk: Desk, tenant: Tenant, order: Order) -> None:
    """Something of an order was booked: what its instance holds may have another entry now."""
    if order.instance_id is not None and order.side == Side.BUY:
        tenant.state.attached.pop(order.instance_id, None)
    await look(desk, tenant)


async def look(desk: Desk, tenant: Tenant) -> None:
    """Makes the attached exits those of what is held now, and ends what has been held for too long."""
    for instance in list(tenant.state.instances.values()):
        if not await _is_attached(desk, tenant, instance):
            tenant.state.attached.pop(instance.pk, None)
        elif tenant.state.attached[instance.pk].is_over(desk.clock.now()):
            await _exit(desk, tenant, instance, Why.MAX_HOLDING, None)
    conditional.watch(desk, tenant)


async def on_price(desk: Desk, tenant: Tenant, instrument: Instrument, price: Decimal) -> None:
    """Sells what this price ends, raises the highest price of what trails."""
    for key, attached in list(tenant.state.attached.items()):
        instance = tenant.state.instances.get(key)
        account = tenant.state.accounts.get(instance.connection_id) if instance is not None else None
        if instance is None or account is None or (account.connection.feed, instance.symbol) != instrument:
            continue
        if (why := attached.reached(price)) is not None:
            await _exit(desk, tenant, instance, why, price)
        elif attached.is_highest(price):
            await _raise(desk, tenant, instance, attached, price)


async def _is_attached(desk: Desk, tenant: Tenant, instance: StrategyInstance) -> bool:
    """Whether the instance holds something that its exits are known of."""
    account = tenant.state.accounts.get(instance.connection_id)
    holds = instance.held_quantity and instance.connection_b_id is None and instance.status != InstanceStatus.STOPPED
    if not instance.exits or not holds or account is None or not account.is_known:
        return False
    rules = account.rules.get(instance.symbol)
    price = desk.price(account.connection.feed, instance.symbol, Side.SELL)
    if rules is not None and price is not None and not sellable(rules, instance.held_quantity, price):
        return False  # dust
    known = tenant.state.attached.get(instance.pk)
    exits = parse_exits(instance.exits)
    if known is None or known.exits != exits:
        entry = await run_in_db(_last_entry, tenant.user_id, instance.pk, instance.connection_id)
        if entry is None:
            return False
        paid = Decimal(entry.average_price or entry.expected_price)
        kept = instance.state.get(_PEAK, "0") if instance.state.get(_ENTRY) == str(entry.pk) else "0"
        since = entry.acknowledged_at or entry.created_at
        tenant.state.attached[instance.pk] = Attached(entry.pk, exits, paid, since, max(paid, Decimal(kept)))
    return True


def _last_entry(user_id: UUID, instance_id: UUID, connection_id: UUID) -> Order | None:
    with tenant_scope(user_id):
        rows = Order.objects.filter(instance_id=instance_id, connection_id=connection_id, side=Side.BUY)
        found: Order | None = rows.filter(average_price__isnull=False).order_by("-created_at").first()
        return found


async def _raise(
    desk: Desk, tenant: Tenant, instance: StrategyInstance, attached: Attached, price: Decimal
) -> None:
    """Stores the highest price: what isn't stored stops nothing."""
    row = changed(instance, state={**instance.state, _ENTRY: str(attached.entry_id), _PEAK: plain(price)})
    writes = tenant.write_set()
    writes.update(row, "state")
    await desk.committer.commit(writes)
    tenant.state.instances[row.pk] = row
    tenant.state.attached[row.pk] = Attached(
        attached.entry_id, attached.exits, attached.price, attached.since, price
    )
    conditional.watch(desk, tenant)


async def _exit(
    desk: Desk, tenant: Tenant, instance: StrategyInstance, why: Why, price: Decimal | None
) -> None:
    """An exit signal, unless an order of the instance is under way already or nothing may be sent."""
    account = tenant.state.accounts[instance.connection_id]
    seen = price or desk.price(account.connection.feed, instance.symbol, Side.SELL)
    now = desk.clock.monotonic()
    waits = now < tenant.state.exit_after.get(instance.pk, now)
    if waits or seen is None or tenant.state.busy_instance(instance.pk):
        return
    if tenant.state.killed(account.connection.pk, instance.pk):
        return
    tenant.state.exit_after[instance.pk] = now + _PAUSE_SECONDS
    desk.figures["attached_exits"] += 1
    observed = time.time_ns()
    entry = tenant.state.attached[instance.pk].entry_id
    await decisions.on_signal(
        desk, tenant,
        decisions.Candidate(
            instance.pk, f"{why}:{entry.hex}:{observed // 1_000_000}", EXIT, seen, {str(why): float(seen)}, observed,
            protects=True,
        ),
    )  # fmt: skip
