"""What the exchange tells of a tenant's account: by stream, checked for gaps, and by asking after every gap."""

import asyncio
from functools import partial
from uuid import UUID

import structlog

from connections.database import run as run_in_db
from connections.events import AnyUserEvent, BalancesTold, OrderTold, StreamTold
from connections.gateways import (
    AccountSnapshot,
    AssetBalance,
    Fill,
    Gateway,
    OrderReport,
    OrderType,
    ReportStatus,
    Side,
    TimeInForce,
    UnknownOrder,
)
from desproject.lib.clock import from_millis
from trading.engine import booking, news, sending
from trading.engine.desk import Desk
from trading.engine.state import Account, find_order
from trading.engine.tenant import Tenant
from trading.models import Balance
from trading.order_states import UNANSWERED, WORKING, OrderStatus

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0
_LONGEST_RETRY = 10.0
# A living stream beats its heart every second.
_SILENT_SECONDS = 4.0
# How often working orders are asked for: without a stream, and with one (what it never told would wait for ever).
_POLL_SECONDS = 3.0
_RECONCILE_SECONDS = 60.0


async def on_event(desk: Desk, tenant: Tenant, event: AnyUserEvent) -> None:
    """One event of one account's stream."""
    account = tenant.state.accounts.get(event.connection_id)
    if account is None:
        return
    _check_sequence(account, event)
    account.heard_at = desk.clock.monotonic()
    if isinstance(event, StreamTold):
        if not event.up:
            account.missed_events()
            account.heard_at = float("-inf")
    elif isinstance(event, OrderTold):
        await _on_order(desk, tenant, account, event)
    elif isinstance(event, BalancesTold):
        await _on_balances(desk, tenant, account, event)
    if not account.entries_open:
        start_catch_up(desk, tenant, account)


def _check_sequence(account: Account, event: AnyUserEvent) -> None:
    """A new epoch or a jump means that events were missed: no entries until the exchange was asked."""
    beat = isinstance(event, StreamTold)
    if event.epoch < account.stream_epoch:
        return
    known = account.stream_sequence if event.epoch == account.stream_epoch else None
    expected = known if beat else (None if known is None else known + 1)
    if event.sequence != expected and not (known is not None and event.sequence <= known):
        account.missed_events()
    if event.epoch > account.stream_epoch or event.sequence > account.stream_sequence:
        account.stream_epoch, account.stream_sequence = event.epoch, event.sequence


async def _on_order(desk: Desk, tenant: Tenant, account: Account, event: OrderTold) -> None:
    order_id = tenant.state.client_ids.get(event.client_order_id)
    live = tenant.state.orders.get(order_id) if order_id else None
    if live is None:
        live = await run_in_db(find_order, tenant.user_id, event.client_order_id)
        if live is None:
            log.info("foreign_order_seen", connection_id=str(account.connection.pk), symbol=event.symbol)
            return
        tenant.state.remember(live)
    await sending.book_report(desk, tenant, account, live, _report(event), cause="stream")


async def _on_balances(desk: Desk, tenant: Tenant, account: Account, event: BalancesTold) -> None:
    told = tuple(AssetBalance(asset, free, locked) for asset, free, locked in event.balances)
    await book_snapshot(desk, tenant, account, AccountSnapshot(told, from_millis(event.as_of_ms), complete=False))


async def book_snapshot(desk: Desk, tenant: Tenant, account: Account, snapshot: AccountSnapshot) -> None:
    """Takes over balances that the exchange told, where they are newer than ours."""
    rows = booking.book_balances(tenant.state, account, snapshot)
    moved = [row for asset, row in rows.items() if _is_news(account.balances.get(asset), row)]
    if moved:
        writes = tenant.write_set()
        for row in moved:
            writes.save(row, "total", "locked", "as_of")
        await desk.committer.commit(writes)
    account.balances.update(rows)
    for row in moved:
        news.tell_balance(desk, tenant.state, account, row)


def _is_news(known: Balance | None, row: Balance) -> bool:
    return known is None or (known.total, known.locked) != (row.total, row.locked)


def _report(event: OrderTold) -> OrderReport:
    side = Side(event.side)
    fills: tuple[Fill, ...] = ()
    if (fill := event.fill) is not None:
        fills = (
            Fill(
                fill.exchange_trade_id,
                event.exchange_order_id,
                event.symbol,
                side,
                fill.quantity,
                fill.price,
                fill.fee,
                fill.fee_asset,
                fill.liquidity,
                from_millis(fill.executed_ms),
            ),
        )
    return OrderReport(
        event.client_order_id,
        event.exchange_order_id,
        event.symbol,
        side,
        OrderType(event.type),
        TimeInForce(event.time_in_force),
        ReportStatus(event.status),
        event.quantity,
        event.price,
        event.filled_quantity,
        from_millis(event.reported_ms),
        fills,
        event.reject_reason,
    )


def poll_if_silent(desk: Desk, tenant: Tenant, account: Account) -> None:
    """Working orders are asked for by REST: often while the account's stream is away, now and then beside it."""
    now = desk.clock.monotonic()
    pause = _POLL_SECONDS if now - account.heard_at > _SILENT_SECONDS else _RECONCILE_SECONDS
    waits = any(
        live.order.connection_id == account.connection.pk and not live.is_whole and live.order.status not in UNANSWERED
        for live in tenant.state.orders.values()
    )
    if waits and now - account.asked_at > pause:
        desk.figures["polls"] += 1
        start_catch_up(desk, tenant, account)


def start_catch_up(desk: Desk, tenant: Tenant, account: Account) -> None:
    """Asks the exchange what was missed on the account, unless that is already under way."""
    key = account.connection.pk
    if key not in desk.catching_up:
        desk.catching_up.add(key)
        desk.spawn(_catch_up(desk, tenant, key), f"catch-up-{key}")


async def _catch_up(desk: Desk, tenant: Tenant, connection_id: UUID) -> None:
    """Orders first, then balances: what happens meanwhile comes by the stream and is newer."""
    pause = _RETRY_SECONDS
    try:
        while not tenant.closed and (account := tenant.state.accounts.get(connection_id)) is not None:
            gaps = account.gaps
            try:
                gateway = await desk.gateway(tenant, account)
                await _ask_for_orders(desk, tenant, account, gateway)
                snapshot = await gateway.account()
            except Exception as error:  # noqa: BLE001  # whatever it was, entries stay closed and it is tried again
                log.warning("catch_up_failed", connection_id=str(connection_id), error=str(error))
                desk.figures["catch_up_failures"] += 1
                await _pause(desk, tenant, pause)
                pause = min(pause * 2, _LONGEST_RETRY)
                continue
            desk.figures["catch_ups"] += 1
            tenant.post(partial(_on_caught_up, desk, tenant, connection_id, snapshot, gaps))
            return
    finally:
        desk.catching_up.discard(connection_id)


async def _pause(desk: Desk, tenant: Tenant, seconds: float) -> None:
    """Ends early when the tenant is closed: its successor must be free to catch up."""
    end = desk.clock.monotonic() + seconds
    while not tenant.closed and desk.clock.monotonic() < end:  # noqa: ASYNC110  # a failed catch-up is rare
        await asyncio.sleep(min(seconds, 0.5))


async def _ask_for_orders(desk: Desk, tenant: Tenant, account: Account, gateway: Gateway) -> None:
    """Every order of ours that was working, or has fills to come, is asked for."""
    for live in list(tenant.state.orders.values()):
        order = live.order
        if order.connection_id != account.connection.pk or live.is_whole:
            continue
        if OrderStatus(order.status) in WORKING or not live.is_open:
            try:
                report = await sending.whole_report(gateway, order, order.client_order_id)
            except UnknownOrder:
                log.error("working_order_unknown_to_exchange", order_id=str(order.pk))
                continue
            sending.post_report(desk, tenant, order.pk, report)
        elif order.status != OrderStatus.NEW:
            sending.ask_for(desk, tenant, account, live)


async def _on_caught_up(desk: Desk, tenant: Tenant, connection_id: UUID, snapshot: AccountSnapshot, gaps: int) -> None:
    account = tenant.state.accounts.get(connection_id)
    if account is None:
        return
    await book_snapshot(desk, tenant, account, snapshot)
    account.is_known = True
    account.asked_at = desk.clock.monotonic()
    if account.gaps == gaps:
        account.entries_open = True
    else:
        start_catch_up(desk, tenant, account)
