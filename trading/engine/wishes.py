"""What others want of the engine: rows that the API writes and wakes us for, and a sweep that misses none."""

from datetime import datetime
from functools import partial
from uuid import UUID

import structlog
from django.db.models import Q

from accounts.tenancy import everyone, tenant_scope
from connections.database import run as run_in_db
from connections.gateways import GatewayError, UnknownOrder
from connections.models import Connection
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.errors import DomainError
from risk.models import KillSwitch, RiskPolicy
from trading.engine import booking, decisions, news, sending, user_events
from trading.engine.desk import Desk
from trading.engine.state import Account, LiveOrder, TenantState, load_order, load_wishes
from trading.engine.tenant import Tenant
from trading.models import Command, CommandKind, Order, StrategyInstance
from trading.order_states import WORKING, OrderStatus

log = structlog.get_logger(__name__)


async def look(desk: Desk, tenant: Tenant) -> None:
    """Reads everything that was asked for and acts on it: settings first, then kill switches, cancels, new orders."""
    before = {switch.pk for switch in tenant.state.switches}
    await run_in_db(load_wishes, tenant.state)
    _cancel_killed(desk, tenant)
    if any(switch.flatten and switch.pk not in before for switch in tenant.state.switches):
        await _flatten(desk, tenant)
    new_orders, commands = await run_in_db(_read_wishes, tenant.user_id)
    for command in commands:
        await _carry_out(desk, tenant, command)
    for order_id in new_orders:
        tenant.post(partial(decisions.on_new_order, desk, tenant, order_id))
    chase(desk, tenant)


def chase(desk: Desk, tenant: Tenant) -> None:
    """Whatever waits for an answer that nobody is fetching is fetched: after a restart, a reload, a lost report."""
    for live in list(tenant.state.orders.values()):
        account = tenant.state.accounts.get(live.order.connection_id)
        if account is not None and live.order.status in (OrderStatus.PENDING, OrderStatus.UNKNOWN):
            sending.ask_for(desk, tenant, account, live)
    for account in tenant.state.accounts.values():
        if not account.entries_open:
            user_events.start_catch_up(desk, tenant, account)
        else:
            user_events.poll_if_silent(desk, tenant, account)


def users_with_wishes(since: datetime) -> set[UUID]:
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
        return {user_id for found in rows for user_id in found.values_list("user_id", flat=True).distinct()}


def _read_wishes(user_id: UUID) -> tuple[list[UUID], list[Command]]:
    with tenant_scope(user_id):
        orders = Order.objects.filter(status=OrderStatus.NEW).order_by("created_at").values_list("pk", flat=True)
        return list(orders), list(Command.objects.filter(done_at__isnull=True).order_by("id"))


def _cancel_killed(desk: Desk, tenant: Tenant) -> None:
    """Cancels every working order under a kill switch; one that is only now being sent comes with the next look."""
    for live in tenant.state.open_orders():
        order = live.order
        if order.status in WORKING and tenant.state.killed(order.connection_id, order.instance_id):
            _start_cancel(desk, tenant, live, None)


def _start_cancel(desk: Desk, tenant: Tenant, live: LiveOrder, command: Command | None) -> None:
    if live.order.pk not in desk.in_flight:
        desk.in_flight.add(live.order.pk)
        desk.spawn(_cancel_and_tell(desk, tenant, live, command), f"cancel-{live.order.pk}")


async def _flatten(desk: Desk, tenant: Tenant) -> None:
    for account in tenant.state.accounts.values():
        if tenant.state.killed(account.connection.pk, None):
            await _flatten_account(desk, tenant, account)


async def _flatten_account(desk: Desk, tenant: Tenant, account: Account) -> None:
    for symbol, position in list(account.positions.items()):
        if not position.quantity:
            continue
        try:
            await decisions.flatten(desk, tenant, account, symbol, position.quantity)
        except DomainError as error:
            log.warning("not_flattened", symbol=symbol, code=error.code, fields=error.fields)


async def _carry_out(desk: Desk, tenant: Tenant, command: Command) -> None:
    if command.kind == CommandKind.CANCEL:
        live = await _live(tenant, command.order_id)
        if live is None:
            await _done(command, "no such order")
        else:
            _start_cancel(desk, tenant, live, command)
    elif command.connection_id is not None:
        account = tenant.state.accounts.get(command.connection_id)
        if account is not None:
            account.entries_open = False
        await _done(command, "started" if account else "no such connection")


async def _live(tenant: Tenant, order_id: UUID | None) -> LiveOrder | None:
    if order_id is None:
        return None
    live = tenant.state.orders.get(order_id)
    if live is None:
        live = await run_in_db(_read_order, tenant.state, order_id)
    return live


def _read_order(state: TenantState, order_id: UUID) -> LiveOrder | None:
    with tenant_scope(state.user_id):
        row = Order.objects.filter(pk=order_id).first()
        return load_order(row) if row else None


async def _cancel_and_tell(desk: Desk, tenant: Tenant, live: LiveOrder, command: Command | None) -> None:
    try:
        result = await _cancel(desk, tenant, live)
    finally:
        desk.in_flight.discard(live.order.pk)
    if command is not None and result:
        await _done(command, result)


async def _cancel(desk: Desk, tenant: Tenant, live: LiveOrder) -> str:
    """Cancels at the exchange; returns what came of it, or nothing when it must be tried again."""
    status = OrderStatus(live.order.status)
    account = tenant.state.accounts.get(live.order.connection_id)
    if account is None:
        return "no such connection"
    if status == OrderStatus.NEW:
        tenant.post(partial(_cancel_unsent, desk, tenant, account, live))
        return "cancelled before sending"
    if status not in WORKING:
        return "" if live.is_open else f"already {status}"
    gateway = await desk.gateway(tenant, account)
    try:
        report = await gateway.cancel_order(live.order.symbol, live.order.client_order_id)
    except UnknownOrder:
        report = await sending.whole_report(gateway, live.order, live.order.client_order_id)
    except GatewayError as error:
        log.info("cancel_waits", order_id=str(live.order.pk), error=error.code)
        return ""
    sending.post_report(desk, tenant, live.order.pk, report)
    return "cancelled" if report.status == "cancelled" else f"already {report.status}"


async def _cancel_unsent(desk: Desk, tenant: Tenant, account: Account, live: LiveOrder) -> None:
    fresh = await run_in_db(_read_order, tenant.state, live.order.pk)
    if fresh is None or fresh.order.status != OrderStatus.NEW:
        return
    change = booking.with_status(
        tenant.state, account, fresh, OrderStatus.CANCELLED, cause="cancel", now=desk.clock.now()
    )
    writes = tenant.write_set()
    change.write(writes)
    await desk.committer.commit(writes)
    change.apply(tenant.state)
    news.tell_booking(desk, tenant.state, change)


async def _done(command: Command, result: str) -> None:
    await run_in_db(_write_done, command, result)


def _write_done(command: Command, result: str) -> None:
    with tenant_scope(command.user_id):
        Command.objects.filter(pk=command.pk, done_at__isnull=True).update(
            done_at=SYSTEM_CLOCK.now(), result=result[:300]
        )
