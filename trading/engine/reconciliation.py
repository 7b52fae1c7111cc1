"""Comparing an account with its exchange (ORD-8): at the start, after every gap in its stream, and by the clock.

Orders, fills, balances and positions are asked for; what differs here is made as it is there, and reported to the
account's owner. An order is only ever ended by what the exchange says of it.

A comparison is urgent at the start and after a gap: no entries until it is done. Those by the clock are spread out, so
that they use a bounded part of what the exchange allows. They wait a moment between asking and comparing: what the
stream told meanwhile is no difference.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from django.conf import settings

from accounts.tenancy import tenant_scope
from audit.record import entry
from connections.budget.urgency import Urgency, working_at
from connections.database import run as run_in_db
from connections.gateways import (
    AccountPosition,
    AccountSnapshot,
    Fill,
    Gateway,
    NothingHappened,
    OrderReport,
    OutcomeUnknown,
    UnknownOrder,
)
from desproject.lib.errors import DomainError
from desproject.lib.money import ZERO
from trading.engine import adoption, balances, booking, corrections, news, sending
from trading.engine.desk import Desk
from trading.engine.findings import Cause, Findings, Kind
from trading.engine.state import Account, LiveOrder
from trading.engine.tenant import Tenant
from trading.models import Reconciliation, Trade
from trading.order_states import UNANSWERED, UNSENT, WORKING, OrderStatus
from trading.positions import is_on_margin

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0
_LONGEST_RETRY = 10.0
# A living stream beats its heart every second.
_SILENT_SECONDS = 4.0
# How often working orders are asked for without a stream, and what must be confirmed is looked at again.
_POLL_SECONDS = 3.0
# What the stream may take to tell what a comparison by the clock saw.
_GRACE_SECONDS = 1.0
# Comparisons by the clock in the time in which each busy account is to have one, by engine and feed; the address's
# budget bounds them over all engines.
_A_ROUND = 12
# An order that the exchange acknowledged must be denied by so many comparisons in a row before it is ended.
_DENIALS_NEEDED = 3
# Fills that explain a balance are asked for as far back as the balance was last told, but no further than this.
_FAR_BACK = timedelta(days=7)
_OVERLAP = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class _Told:
    """What an exchange told of an account. ``gaps`` is how many there had been when it was asked."""

    gaps: int
    snapshot: AccountSnapshot
    positions: Sequence[AccountPosition]
    denied: Collection[UUID] = ()


# When.


def catch_up(desk: Desk, tenant: Tenant, account: Account) -> None:
    """Compares the account now: events of its stream were missed, or none was heard yet."""
    cause = Cause.START if not account.is_known else Cause.ASKED if account.was_asked else Cause.GAP
    _start(desk, tenant, account, cause)


def start_due(desk: Desk, tenant: Tenant, account: Account) -> None:
    """Starts what is due by the clock: a poll of working orders while the stream is away, or a comparison."""
    now = desk.clock.monotonic()
    waits = any(
        live.order.connection_id == account.connection.pk
        and not live.is_whole
        and live.order.status not in UNANSWERED | UNSENT
        for live in tenant.state.unfinished.values()
    )
    is_silent = now - account.heard_at > _SILENT_SECONDS
    if _is_due(desk, account, now, busy=waits):
        _start(desk, tenant, account, Cause.TIMER)
    elif waits and is_silent and now - account.asked_at > _POLL_SECONDS:
        desk.figures["polls"] += 1
        _start(desk, tenant, account, Cause.POLL)


def _is_due(desk: Desk, account: Account, now: float, *, busy: bool) -> bool:
    config = settings.CONFIG
    pause = config.reconcile_seconds if busy else config.reconcile_quiet_seconds
    if account.denials or account.drifts:
        pause = min(pause, _POLL_SECONDS)
    last = desk.compared_at.get(account.connection.feed, float("-inf"))
    return now - account.compared_at > pause and now - last > config.reconcile_seconds / _A_ROUND


def _start(desk: Desk, tenant: Tenant, account: Account, cause: Cause) -> None:
    """Unless one is already under way."""
    key = account.connection.pk
    if key not in desk.catching_up:
        desk.catching_up.add(key)
        account.was_asked = account.was_asked and cause is not Cause.ASKED
        if cause is Cause.TIMER:
            desk.compared_at[account.connection.feed] = desk.clock.monotonic()
        desk.spawn(_compare(desk, tenant, key, cause), f"compare-{key}")


# Asking.


async def _compare(desk: Desk, tenant: Tenant, connection_id: UUID, cause: Cause) -> None:
    """Asks until the exchange has told everything, or another engine is to; one by the clock tries once."""
    pause = _RETRY_SECONDS
    try:
        while not tenant.closed and (account := tenant.state.accounts.get(connection_id)) is not None:
            findings = Findings(cause, desk.clock.now())
            try:
                with working_at(_urgency(findings)):
                    told = await _ask(desk, tenant, account, findings)
            except Exception as error:  # noqa: BLE001  # whatever it was, entries stay closed and it is tried again
                log.warning("comparison_failed", connection_id=str(connection_id), cause=cause, error=str(error))
                desk.figures["catch_up_failures"] += 1
                account.compared_at = desk.clock.monotonic()
                if cause is Cause.TIMER:
                    return
                await _pause(desk, tenant, max(pause, getattr(error, "retry_after", None) or 0))
                pause = min(pause * 2, _LONGEST_RETRY)
                continue
            desk.figures["catch_ups"] += 1
            tenant.post(partial(_on_told, desk, tenant, connection_id, told, findings))
            return
    finally:
        desk.catching_up.discard(connection_id)


def _urgency(findings: Findings) -> Urgency:
    """What is looked at by the clock takes a bounded share of what the exchange allows; entries wait for the others."""
    return Urgency.BACKGROUND if findings.cause is Cause.TIMER else Urgency.READ


async def _pause(desk: Desk, tenant: Tenant, seconds: float) -> None:
    """Ends early when the tenant is closed: its successor must be free to compare."""
    end = desk.clock.monotonic() + seconds
    while not tenant.closed and desk.clock.monotonic() < end:  # noqa: ASYNC110  # a failed comparison is rare
        await asyncio.sleep(min(seconds, 0.5))


async def _ask(desk: Desk, tenant: Tenant, account: Account, findings: Findings) -> _Told:
    """Orders first, then balances: what happens meanwhile comes by the stream and is newer."""
    gaps, gateway = account.gaps, await desk.gateway(tenant, account)
    opened = [] if findings.cause is Cause.POLL else list(await gateway.open_orders())
    reports, denied = await _ask_for_orders(desk, tenant, account, gateway, opened)
    unknown = [report for report in opened if adoption.remembered(tenant, account.connection.pk, report) is None]
    for report in await run_in_db(adoption.strangers, tenant.user_id, account.connection.pk, unknown):
        reports.append(await _with_fills(gateway, report))
    told = _Told(gaps, await gateway.account(), await gateway.positions(), denied)
    findings.orders_checked = len(opened) + len(denied) + len(reports)
    if findings.cause is Cause.TIMER:
        await asyncio.sleep(_GRACE_SECONDS)
    for report in reports:
        tenant.post(partial(_on_order_told, desk, tenant, account.connection.pk, report, findings))
    return told


async def _ask_for_orders(
    desk: Desk, tenant: Tenant, account: Account, gateway: Gateway, opened: Sequence[OrderReport]
) -> tuple[list[OrderReport], list[UUID]]:
    """The reports of orders that changed, and those that the exchange denies. An order of which the list of open ones
    tells nothing new isn't asked for; one that nothing was heard of yet is asked for by its own task."""
    there = {report.exchange_order_id: report for report in opened}
    reports, denied = [], []
    for live in list(tenant.state.unfinished.values()):
        order = live.order
        if order.connection_id != account.connection.pk or live.is_whole:
            continue
        if OrderStatus(order.status) in WORKING or not live.is_open:
            if _tells_nothing_new(live, there.get(order.exchange_order_id)):
                continue
            try:
                reports.append(await sending.whole_report(gateway, order, order.client_order_id))
            except UnknownOrder:
                denied.append(order.pk)
    return reports, denied


def _tells_nothing_new(live: LiveOrder, report: OrderReport | None) -> bool:
    return report is not None and live.is_open and report.filled_quantity == live.order.filled_quantity


async def _with_fills(gateway: Gateway, report: OrderReport) -> OrderReport:
    if not report.filled_quantity:
        return report
    return replace(report, fills=tuple(await gateway.fills(report.symbol, None, report.exchange_order_id)))


# Comparing, in the tenant's turn.


async def _on_order_told(
    desk: Desk, tenant: Tenant, connection_id: UUID, report: OrderReport, findings: Findings
) -> None:
    account = tenant.state.accounts.get(connection_id)
    if account is None:
        return
    before = adoption.remembered(tenant, connection_id, report)
    live = before or await adoption.order_of(desk, tenant, account, report)
    if live is None:
        return
    if before is None and live.order.elsewhere and not live.fills:
        findings.elsewhere(live)
    status, fills = live.order.status, set(live.fills)
    await sending.book_report(desk, tenant, account, live, report, cause="catch_up")
    findings.order(live, status, fills, report)


async def _on_told(desk: Desk, tenant: Tenant, connection_id: UUID, told: _Told, findings: Findings) -> None:
    account = tenant.state.accounts.get(connection_id)
    if account is None:
        return
    await _end_denied(desk, tenant, account, told.denied, findings)
    drifting, since = await _take_balances(desk, tenant, account, told.snapshot, findings)
    account.leverage = {found.symbol: found.leverage for found in told.positions}
    account.asked_at = desk.clock.monotonic()
    symbols = _symbols_of(tenant, account, drifting)
    if findings.cause is not Cause.POLL:
        account.compared_at = account.asked_at
        if unexplained := await _take_positions(desk, tenant, account, told.positions, findings):
            symbols |= unexplained
            # What was traded before the account was bound is none of its trades here.
            since = max(account.connection.created_at, told.snapshot.as_of - _FAR_BACK)
    if symbols:
        desk.spawn(_explain(desk, tenant, account, symbols, since, findings), f"explain-{connection_id}")
    else:
        await _report(desk, tenant, connection_id, findings)
    account.is_known = True
    if account.gaps == told.gaps:
        account.entries_open = True
    else:
        catch_up(desk, tenant, account)


async def _end_denied(
    desk: Desk, tenant: Tenant, account: Account, denied: Collection[UUID], findings: Findings
) -> None:
    """Orders that the exchange took, and doesn't know any more: the key is another account's now, or it forgot them.
    One comparison may have met a copy of its database that is behind."""
    account.denials = {order_id: account.denials.get(order_id, 0) + 1 for order_id in denied}
    for order_id, times in list(account.denials.items()):
        live = tenant.state.orders.get(order_id)
        if live is None or live.is_whole or OrderStatus(live.order.status) in UNANSWERED:
            del account.denials[order_id]
        elif times >= _DENIALS_NEEDED:
            log.error("working_order_unknown_to_exchange", order_id=str(order_id))
            desk.figures["orders_denied"] += 1
            status = live.order.status
            change = booking.denied(tenant.state, account, live, now=desk.clock.now())
            writes = tenant.write_set()
            change.write(writes)
            await desk.committer.commit(writes)
            change.apply(tenant.state)
            news.tell_booking(desk, tenant.state, change)
            findings.denied(order_id, status)
            del account.denials[order_id]


async def _take_balances(
    desk: Desk, tenant: Tenant, account: Account, snapshot: AccountSnapshot, findings: Findings
) -> tuple[set[str], datetime]:
    """The exchange's balances become ours. Returns the assets that moved without anything that we know of, and since
    when. Of those that orders under way may have moved a later comparison asks: their fills needn't be all of it."""
    before = dict(account.balances)
    moved = await balances.book_snapshot(desk, tenant, account, snapshot)
    busy = {asset for live in _under_way(desk, tenant) for asset in _assets(live.order.symbol)}
    for row in moved:
        known = before.get(row.asset)
        here = known.total if known is not None else ZERO
        if not before or row.total == here:
            continue
        if row.asset not in busy:
            findings.balance(row, here)
        account.unexplained.setdefault(row.asset, known.as_of if known is not None else snapshot.as_of)
    drifting = account.unexplained.keys() - busy
    since = min((account.unexplained.pop(asset) for asset in drifting), default=snapshot.as_of)
    return drifting, max(since - _OVERLAP, snapshot.as_of - _FAR_BACK)


def _under_way(desk: Desk, tenant: Tenant) -> list[LiveOrder]:
    """Orders of which the exchange knows more than we do. One that merely rests, or waits for its trigger, may do so
    for weeks and excuses nothing."""
    return [
        live
        for live in tenant.state.unfinished.values()
        if live.order.pk in desk.in_flight or live.order.status in UNANSWERED or not (live.is_open or live.is_whole)
    ]


def _assets(symbol: str) -> tuple[str, ...]:
    return tuple(symbol.partition(":")[0].split("/"))


def _symbols_of(tenant: Tenant, account: Account, assets: Collection[str]) -> set[str]:
    """The symbols that we know to be traded on the account and in which one of the assets changes hands."""
    known = account.positions.keys() | account.rules.keys()
    known |= {live.order.symbol for live in tenant.state.orders.values()
              if live.order.connection_id == account.connection.pk}  # fmt: skip
    known |= {row.symbol for row in tenant.state.instances.values() if row.connection_id == account.connection.pk}
    return {symbol for symbol in known if not set(_assets(symbol)).isdisjoint(assets)}


async def _take_positions(
    desk: Desk, tenant: Tenant, account: Account, told: Sequence[AccountPosition], findings: Findings
) -> set[str]:
    """Positions on margin that differ twice in the same way, with no order under way, become the exchange's. Returns
    those that differ for the first time, for fills to explain them."""
    theirs = {position.symbol: position for position in told}
    ours = {symbol for symbol, row in account.positions.items() if is_on_margin(symbol) and row.quantity}
    busy = {live.order.symbol for live in _under_way(desk, tenant)}
    drifts, unexplained = {}, set()
    for symbol in (theirs.keys() | ours) - busy:
        target = theirs[symbol].quantity if symbol in theirs else ZERO
        row = account.positions.get(symbol)
        held = row.quantity if row is not None else ZERO
        if target == held:
            continue
        if account.drifts.get(symbol) == (target, held):
            entry_price = theirs[symbol].entry_price if symbol in theirs else ZERO
            await corrections.correct(desk, tenant, account, symbol, target, entry_price)
            findings.add(Kind.POSITION, symbol, target, held)
        else:
            drifts[symbol] = (target, held)
            unexplained.add(symbol)
    account.drifts = drifts
    return unexplained


# Fills that nobody told.


async def _explain(
    desk: Desk, tenant: Tenant, account: Account, symbols: Collection[str], since: datetime, findings: Findings
) -> None:
    """Asks for the fills of these symbols and hands over every order of which one isn't booked; then reports. What
    couldn't be had is asked for again by a later comparison."""
    connection_id = account.connection.pk
    for symbol in sorted(symbols):
        try:
            with working_at(_urgency(findings)):
                await _explain_symbol(desk, tenant, account, symbol, since, findings)
        except DomainError as error:
            log.warning("fills_not_explained", connection_id=str(connection_id), symbol=symbol, error=error.code)
            if isinstance(error, NothingHappened | OutcomeUnknown):
                account.unexplained = dict.fromkeys(_assets(symbol), since) | account.unexplained
    tenant.post(partial(_report, desk, tenant, connection_id, findings))


async def _explain_symbol(
    desk: Desk, tenant: Tenant, account: Account, symbol: str, since: datetime, findings: Findings
) -> None:
    gateway = await desk.gateway(tenant, account)
    fills = await gateway.fills(symbol, since)
    missed = await run_in_db(_not_booked, tenant.user_id, account.connection.pk, fills)
    for order_id in dict.fromkeys(fill.exchange_order_id for fill in missed):
        report = await _with_fills(gateway, await gateway.order(symbol, "", order_id))
        tenant.post(partial(_on_order_told, desk, tenant, account.connection.pk, report, findings))


def _not_booked(user_id: UUID, connection_id: UUID, fills: Sequence[Fill]) -> list[Fill]:
    if not fills:
        return []
    with tenant_scope(user_id):
        rows = Trade.objects.filter(
            connection_id=connection_id,
            symbol=fills[0].symbol,
            executed_at__gte=min(fill.executed_at for fill in fills),
        )
        booked = set(rows.values_list("exchange_trade_id", flat=True))
    return [fill for fill in fills if fill.exchange_trade_id not in booked]


async def _report(desk: Desk, tenant: Tenant, connection_id: UUID, findings: Findings) -> None:
    """Keeps what was found, for the account's owner."""
    if not findings.is_worth_a_row:
        return
    row = Reconciliation(
        user_id=tenant.user_id,
        connection_id=connection_id,
        cause=findings.cause,
        at=findings.at,
        orders_checked=findings.orders_checked,
        differences=findings.as_json(),
    )
    kinds = sorted({str(difference.kind) for difference in findings.differences})
    writes = tenant.write_set()
    writes.create(row)
    writes.create(
        entry(
            "reconciliation.done",
            user_id=tenant.user_id,
            resource_type="connection",
            resource_id=connection_id,
            details={"cause": findings.cause, "differences": len(findings.differences), "kinds": kinds},
            at=desk.clock.now(),
        )
    )
    await desk.committer.commit(writes)
    desk.figures["differences"] += len(findings.differences)
