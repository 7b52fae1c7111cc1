"""What others want of the engine: rows that the API writes and wakes us for, and a sweep that misses none."""

from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog
from django.db.models import Q

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from connections.database import run as run_in_db
from connections.gateways import ReportStatus, UnknownOrder
from connections.models import Connection, ConnectionStatus
from desproject.lib.errors import DomainError
from risk.models import KillLevel, KillSwitch, RiskPolicy
from trading import order_queue
from trading.engine import booking, conditional, failpoints, flattening, reconciliation, sending
from trading.engine.committer import WriteSet
from trading.engine.desk import Desk
from trading.engine.state import Account, LiveOrder, changed, load_order, read_settings, take_settings
from trading.engine.tenant import Tenant
from trading.models import Command, CommandKind, Order, StrategyInstance
from trading.order_states import UNANSWERED, UNSENT, WORKING, OrderStatus

log = structlog.get_logger(__name__)


async def look(desk: Desk, tenant: Tenant) -> None:
    """Reads everything that was asked for and acts on it: settings first, then kill switches, cancels, new orders."""
    take_settings(tenant.state, await run_in_db(read_settings, tenant.user_id))
    enforce(desk, tenant)
    wishes = await run_in_db(_read_wishes, tenant.user_id, set(tenant.queue.known), set(tenant.queue.tried))
    desk.figures["queue_overflowed"] += tenant.queue.refill(wishes.order_ids, wishes.orders, wishes.left)
    for command in wishes.commands:
        await _carry_out(desk, tenant, command)
    _decide_soon(desk, tenant)
    chase(desk, tenant)


def _decide_soon(desk: Desk, tenant: Tenant) -> None:
    if tenant.queue:
        tenant.post(partial(_decide_next, desk, tenant), key="orders")
    elif tenant.queue.goes_on:
        tenant.post(partial(look, desk, tenant), key="look")


async def _decide_next(desk: Desk, tenant: Tenant) -> None:
    """One order a message: a cancel, a kill switch, an exit that came meanwhile wait for one decision, not for all."""
    try:
        order = tenant.queue.next()
        if order is not None and _is_new(tenant, order.pk):
            await conditional.decide(desk, tenant, order.pk, order)
            tenant.queue.was_tried(order.pk, waits=_is_new(tenant, order.pk))
    finally:
        _decide_soon(desk, tenant)


def _is_new(tenant: Tenant, order_id: UUID) -> bool:
    """Whether the order is still to be decided, as far as memory knows."""
    live = tenant.state.orders.get(order_id)
    return live is None or live.order.status == OrderStatus.NEW


async def adopt(tenant: Tenant, order_ids: AbstractSet[UUID]) -> None:
    """Takes in orders that wait for an answer and that memory doesn't know: a commit whose outcome was not known may
    have become visible only after the reload."""
    for order_id in order_ids - tenant.state.orders.keys():
        live = await run_in_db(_read_order, tenant.user_id, order_id)
        if live is not None and OrderStatus(live.order.status) in UNANSWERED:
            log.warning("order_adopted", order_id=str(order_id))
            tenant.state.remember(live)


def enforce(desk: Desk, tenant: Tenant) -> None:
    """What the kill switches in force want, as often as it takes: working orders cancelled, holdings sold."""
    if tenant.state.switches or tenant.state.is_barred:
        _cancel_killed(desk, tenant)
    if any(switch.flatten for switch in tenant.state.switches):
        tenant.post(partial(flattening.flatten, desk, tenant), key="flatten")


def chase(desk: Desk, tenant: Tenant) -> None:
    """Whatever waits for an answer that nobody is fetching is fetched: after a restart, a reload, a lost report."""
    for live in list(tenant.state.unfinished.values()):
        account = tenant.state.accounts.get(live.order.connection_id)
        if account is not None and OrderStatus(live.order.status) in UNANSWERED:
            sending.ask_for(desk, tenant, account, live)
    for account in tenant.state.accounts.values():
        # A disabled key serves for nothing but ending what is open.
        if not account.entries_open and account.connection.status != ConnectionStatus.DISABLED:
            reconciliation.catch_up(desk, tenant, account)
        else:
            reconciliation.start_due(desk, tenant, account)


@dataclass(frozen=True, slots=True)
class News:
    """What a sweep found. ``owners`` have a connection, ``barred`` of them are deactivated or deleted."""

    users: set[UUID]
    everybody: bool
    owners: set[UUID]
    barred: set[UUID]
    unanswered: dict[UUID, set[UUID]]

    def is_about(self, user_id: UUID) -> bool:
        return self.everybody or user_id in self.users


def read_news(since: datetime) -> News:
    """Users with waiting orders or commands, or with something changed since then: whatever became of the wake-up for
    it (in a database thread)."""
    pressed_or_lifted = Q(created_at__gte=since) | Q(lifted_at__gte=since)
    with everyone():
        rows = (
            Order.objects.filter(status=OrderStatus.NEW),
            Command.objects.filter(done_at__isnull=True),
            KillSwitch.objects.filter(pressed_or_lifted),
            StrategyInstance.objects.filter(updated_at__gte=since),
            RiskPolicy.objects.filter(updated_at__gte=since),
            Connection.objects.filter(updated_at__gte=since),
        )
        users = {user_id for found in rows for user_id in found.values_list("user_id", flat=True).distinct()}
        everybody = KillSwitch.objects.filter(pressed_or_lifted, level=KillLevel.SYSTEM).exists()
        owners = set(Connection.objects.filter(is_deleted=False).values_list("user_id", flat=True).distinct())
        unanswered: dict[UUID, set[UUID]] = defaultdict(set)
        for user_id, order_id in Order.objects.filter(status__in=UNANSWERED).values_list("user_id", "pk"):
            unanswered[user_id].add(order_id)
    barred = User.objects.filter(Q(is_active=False) | Q(is_deleted=True)).values_list("pk", flat=True)
    return News(users, everybody, owners, owners.intersection(barred), dict(unanswered))


@dataclass(frozen=True, slots=True)
class _Wishes:
    """``orders`` are the rows of those that weren't known; ``left`` more wait."""

    order_ids: list[UUID]
    orders: Mapping[UUID, Order]
    left: int
    commands: list[Command]


def _read_wishes(user_id: UUID, known: AbstractSet[UUID], tried: AbstractSet[UUID]) -> _Wishes:
    with tenant_scope(user_id):
        order_ids, left = order_queue.next_batch(tried)
        orders = order_queue.read([each for each in order_ids if each not in known])
        return _Wishes(order_ids, orders, left, list(Command.objects.filter(done_at__isnull=True).order_by("id")))


def _cancel_killed(desk: Desk, tenant: Tenant) -> None:
    """Cancels every working order under a kill switch; one that is only now being sent comes with the next look."""
    for live in tenant.state.open_orders():
        order = live.order
        if not tenant.state.killed(order.connection_id, order.instance_id):
            continue
        if order.status in WORKING:
            start_cancel(desk, tenant, live, None)
        elif order.status == OrderStatus.WAITING:
            conditional.post_end(desk, tenant, live, OrderStatus.CANCELLED, "killed")


def start_cancel(desk: Desk, tenant: Tenant, live: LiveOrder, command: Command | None) -> None:
    """Cancels at the exchange in a task, unless one is busy with the order already. One without an answer waits: a
    cancel that can't do anything yet must not keep the exchange from being asked. It only ends the attempts: an order
    that didn't arrive isn't sent again."""
    if live.order.status in UNANSWERED:
        live.unwanted.set()
    if live.order.status in WORKING and live.order.pk not in desk.in_flight:
        desk.in_flight.add(live.order.pk)
        desk.spawn(_cancel_and_tell(desk, tenant, live, command), f"cancel-{live.order.pk}")


async def _carry_out(desk: Desk, tenant: Tenant, command: Command) -> None:
    if command.kind == CommandKind.CANCEL and command.order_id is not None:
        await _carry_out_cancel(desk, tenant, command, command.order_id)
    elif command.connection_id is not None:
        account = tenant.state.accounts.get(command.connection_id)
        if account is not None:
            account.missed_events()
            account.was_asked = True
        await _done(desk, tenant, command, "started" if account else "no such connection")


async def _carry_out_cancel(desk: Desk, tenant: Tenant, command: Command, order_id: UUID) -> None:
    live = tenant.state.orders.get(order_id)
    if live is None:
        live = await run_in_db(_read_order, tenant.user_id, order_id)
    if live is None:
        await _done(desk, tenant, command, "no such order")
    elif live.order.status in UNSENT:
        await _cancel_unsent(desk, tenant, live, command)
    elif not live.is_open:
        await _done(desk, tenant, command, f"already {live.order.status}")
    elif live.order.connection_id not in tenant.state.accounts:
        await _done(desk, tenant, command, "no such connection")
    else:
        start_cancel(desk, tenant, live, command)


def _read_order(user_id: UUID, order_id: UUID) -> LiveOrder | None:
    with tenant_scope(user_id):
        row = Order.objects.filter(pk=order_id).select_related("connection").first()
        return load_order(row) if row else None


async def _cancel_and_tell(desk: Desk, tenant: Tenant, live: LiveOrder, command: Command | None) -> None:
    try:
        result = await _cancel(desk, tenant, live)
    except DomainError as error:
        log.info("cancel_waits", order_id=str(live.order.pk), error=error.code)
        return
    finally:
        desk.in_flight.discard(live.order.pk)
    if command is not None and result:
        tenant.post(partial(_done, desk, tenant, command, result))


async def _cancel(desk: Desk, tenant: Tenant, live: LiveOrder) -> str:
    """Cancels at the exchange; returns what came of it, or nothing when it must be tried again."""
    account = tenant.state.accounts.get(live.order.connection_id)
    if account is None or OrderStatus(live.order.status) not in WORKING:
        return ""
    gateway = await desk.gateway(tenant, account)
    if not desk.keeper.still_valid(str(tenant.shard), tenant.epoch):
        return ""
    failpoints.reach("before_cancel")
    try:
        report = await gateway.cancel_order(live.order.symbol, live.order.client_order_id, sending.theirs(live.order))
    except UnknownOrder:
        report = await sending.whole_report(gateway, live.order, live.order.client_order_id)
    failpoints.reach("after_cancel")
    sending.post_report(desk, tenant, live.order.pk, report)
    return "cancelled" if report.status == ReportStatus.CANCELLED else f"already {report.status}"


async def _cancel_unsent(desk: Desk, tenant: Tenant, live: LiveOrder, command: Command) -> None:
    """Ends an order that still waits for its decision or its trigger, and those that it would have cancelled, in one
    transaction with the command."""
    account = tenant.state.accounts.get(live.order.connection_id) or Account(live.order.connection)
    changes = [
        booking.with_status(tenant.state, account, each, OrderStatus.CANCELLED, cause="cancel", now=desk.clock.now())
        for each in conditional.group(tenant, live)
    ]
    writes = tenant.write_set()
    for change in changes:
        change.write(writes)
    _write_done(desk, writes, command, "cancelled before sending")
    await desk.committer.commit(writes)
    conditional.took_effect(desk, tenant, changes)


async def _done(desk: Desk, tenant: Tenant, command: Command, result: str) -> None:
    writes = tenant.write_set()
    _write_done(desk, writes, command, result)
    await desk.committer.commit(writes)


def _write_done(desk: Desk, writes: WriteSet, command: Command, result: str) -> None:
    writes.update(changed(command, done_at=desk.clock.now(), result=result[:300]), "done_at", "result")
