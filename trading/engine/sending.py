"""From a committed attempt to the exchange and back: sent once, before its deadline, and asked for when in doubt."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from django.conf import settings

from accounts.tenancy import tenant_scope
from audit.record import entry
from connections.budget.urgency import Urgency, urgency_of, working_at
from connections.database import run as run_in_db
from connections.exchanges import venue
from connections.exchanges.network import ANSWER_SECONDS
from connections.gateways import (
    Gateway,
    GatewayError,
    KeyRefused,
    NothingHappened,
    OrderRejected,
    OrderReport,
    OrderRequest,
    OutcomeUnknown,
    SendDeadline,
    Side,
    SymbolRules,
    UnknownOrder,
)
from connections.models import ConnectionStatus
from desproject.lib.errors import DomainError
from desproject.lib.money import ZERO
from trading.engine import alarms, booking, failpoints, news, timings
from trading.engine.committer import Killed, Scope
from trading.engine.desk import Desk
from trading.engine.state import Account, LiveOrder, changed, read_metrics
from trading.engine.tenant import Tenant
from trading.models import Order, OrderAttempt
from trading.order_life import patience
from trading.order_requests import request_of
from trading.order_states import OrderStatus
from trading.positions import is_on_margin

log = structlog.get_logger(__name__)

_MAX_ATTEMPTS = 5
_FIRST_RETRY = 0.5
# What was triggered protects somebody: it is tried for minutes, as often as client order ids can be numbered.
_MAX_ATTEMPTS_TRIGGERED = 99
_LONGEST_RETRY = 5.0
# After the deadline, should even the gateway not give up in time: its slot is given to the next order.
_ANSWER_SECONDS = ANSWER_SECONDS + 1
# The exchange must deny an id this often, after the deadline, before we believe that it never arrived.
_DENIALS_NEEDED = 2
_ASK_PAUSES = (0.1, 0.3, 0.5, 1.0, 2.0)


def attempt(tenant: Tenant, order: Order, number: int, deadline_at: datetime) -> OrderAttempt:
    """The row of one try; its client order id derives from the order, so nothing but the database decides it."""
    return OrderAttempt(
        client_order_id=f"d{order.pk.hex}-{number}",
        user_id=tenant.user_id,
        order_id=order.pk,
        connection_id=order.connection_id,
        number=number,
        shard=tenant.shard,
        epoch=tenant.epoch,
        send_deadline=deadline_at,
    )


def _leaves(order: Order) -> bool:
    """Whether the order only lowers what is held: it goes before what enters."""
    return order.reduce_only or (order.side == Side.SELL and not is_on_margin(order.symbol))


def start_send(
    desk: Desk, tenant: Tenant, account: Account, live: LiveOrder, deadline: float, *, flattens: bool = False
) -> None:
    """Sends the newest attempt in a task; from this moment on the order counts as in flight."""
    desk.in_flight.add(live.order.pk)
    account.pace.count(desk.clock.monotonic())
    desk.spawn(_send(desk, tenant, account, live, deadline, flattens=flattens), f"send-{live.order.pk}")


async def _send(
    desk: Desk, tenant: Tenant, account: Account, live: LiveOrder, deadline: float, *, flattens: bool
) -> None:
    """Sends the newest attempt once and posts what came of it; never raises. Under a kill switch that was pressed
    after the commit nothing is sent any more, unless the order flattens."""
    assert live.attempt is not None  # noqa: S101  # an order is sent only with an attempt
    order_id, client_order_id = live.order.pk, live.attempt.client_order_id
    request = request_of(live.order, client_order_id)
    instance_id = live.order.instance_id

    def stopped() -> bool:
        return not flattens and bool(tenant.state.killed(account.connection.pk, instance_id))

    started = desk.clock.monotonic()
    try:
        urgency = Urgency.EXIT if flattens or _leaves(live.order) else Urgency.ENTRY
        with working_at(urgency):
            outcome = await _call(desk, tenant, account, request, deadline, stopped, live.decided_at)
    finally:
        desk.in_flight.discard(order_id)
    latency_ms = (desk.clock.monotonic() - started) * 1000
    live.answer_waits = True
    tenant.post(partial(_on_outcome, desk, tenant, order_id, client_order_id, outcome, latency_ms))


async def _call(
    desk: Desk,
    tenant: Tenant,
    account: Account,
    request: OrderRequest,
    deadline: float,
    stopped: Callable[[], bool],
    decided_at: datetime | None,
) -> OrderReport | GatewayError:
    async with desk.sends.slot(
        tenant.user_id, account.connection.pk, is_exit=urgency_of(Urgency.ENTRY) is Urgency.EXIT
    ):
        failpoints.reach("before_send")
        try:
            gateway = await desk.gateway(tenant, account)
        except GatewayError as error:
            return error
        except Exception as error:  # noqa: BLE001  # nothing was sent, whatever it was
            log.warning("gateway_unavailable", connection_id=str(account.connection.pk), error=str(error))
            return NothingHappened("the connection could not be opened")
        if stopped():
            return NothingHappened("a kill switch was pressed before the order was sent")
        timings.on_wire(desk.clock, decided_at)
        started = desk.clock.monotonic()
        try:
            # Past the deadline nothing is written: what takes longer is an answer that doesn't come.
            async with asyncio.timeout(max(deadline - desk.clock.monotonic(), 0) + _ANSWER_SECONDS):
                report = await gateway.place_order(request, SendDeadline(deadline))
        except GatewayError as error:
            return error
        except Exception as error:  # it may have been sent: the exchange must be asked
            log.exception("send_failed", client_order_id=request.client_order_id)
            return OutcomeUnknown(str(error))
        finally:
            timings.SEND.record(desk.clock.monotonic() - started)
        timings.acknowledged(desk.clock, decided_at)
        failpoints.reach("after_send")
        return report


async def _on_outcome(
    desk: Desk,
    tenant: Tenant,
    order_id: UUID,
    client_order_id: str,
    outcome: OrderReport | GatewayError,
    latency_ms: float,
) -> None:
    live = tenant.state.orders.get(order_id)
    account = tenant.state.accounts.get(live.order.connection_id) if live else None
    if live is None or account is None:
        return
    if isinstance(outcome, OrderReport):
        desk.figures["acknowledged"] += 1
        await book_report(desk, tenant, account, live, outcome, cause="answer", result=("accepted", latency_ms, ""))
        live.answer_waits = False
        return
    live.answer_waits = False
    desk.figures["send_errors"] += 1
    result = (_outcome_of(outcome), latency_ms, outcome.message)
    desk.figures[f"sends_{result[0]}"] += 1
    if isinstance(outcome, OrderRejected):
        await _move(
            desk,
            tenant,
            account,
            live,
            OrderStatus.REJECTED,
            "rejected",
            outcome.exchange_code,
            outcome.message,
            result,
        )
    elif isinstance(outcome, KeyRefused):
        await _move(
            desk, tenant, account, live, OrderStatus.REJECTED, "key_refused", outcome.code, outcome.message, result
        )
        await _mark_unhealthy(desk, tenant, account, outcome.message)
    elif isinstance(outcome, NothingHappened):
        await _retry_later(desk, tenant, account, live, outcome, result)
    else:
        await _move(desk, tenant, account, live, OrderStatus.UNKNOWN, "no_answer", "", "", result)
        ask_for(desk, tenant, account, live)


async def _mark_unhealthy(desk: Desk, tenant: Tenant, account: Account, reason: str) -> None:
    """The key doesn't work any more: no entries until its owner replaces it, or tests it with success."""
    if account.connection.status != ConnectionStatus.OK:
        return
    row = changed(account.connection, status=ConnectionStatus.UNHEALTHY, status_reason=reason[:200])
    writes = tenant.write_set()
    writes.update(row, "status", "status_reason")
    writes.create(
        entry(
            "connection.unhealthy",
            user_id=tenant.user_id,
            resource_type="connection",
            resource_id=row.pk,
            details={"reason": reason},
            at=desk.clock.now(),
        )
    )
    await desk.committer.commit(writes)
    account.connection = row


def _outcome_of(error: GatewayError) -> str:
    if isinstance(error, OrderRejected | KeyRefused):
        return "rejected"
    return "not_sent" if isinstance(error, NothingHappened) else "unknown"


# (outcome, latency in milliseconds, error)
Result = tuple[str, float, str]
_RESULT_FIELDS = ("outcome", "latency_ms", "error")


def _with_result(row: OrderAttempt, result: Result) -> OrderAttempt:
    return changed(row, outcome=result[0], latency_ms=result[1], error=result[2][:300])


async def _move(
    desk: Desk,
    tenant: Tenant,
    account: Account,
    live: LiveOrder,
    status: OrderStatus,
    cause: str,
    code: str,
    reason: str,
    result: Result | None = None,
) -> None:
    """Moves an order that is still waiting for its first word; one that a report has already moved stays."""
    if OrderStatus(live.order.status) not in (OrderStatus.PENDING, OrderStatus.UNKNOWN) or live.order.status == status:
        return
    change = booking.with_status(
        tenant.state, account, live, status, cause=cause, now=desk.clock.now(), code=code, reason=reason
    )
    await _commit_booking(desk, tenant, change, result)


async def book_report(
    desk: Desk,
    tenant: Tenant,
    account: Account,
    live: LiveOrder,
    report: OrderReport,
    *,
    cause: str,
    result: Result | None = None,
) -> None:
    """Books a report of the exchange; fetches fills that it says exist but didn't tell."""
    await _read_metrics(tenant, account, report)
    rules = account.rules.get(live.order.symbol) or _assets_of(live.order.symbol)
    change = booking.book(tenant.state, account, live, report, rules, cause=cause, now=desk.clock.now())
    if not change.is_empty:
        failpoints.reach("before_booking")
        if live.order.status == OrderStatus.EXPIRED and change.order.status != OrderStatus.EXPIRED:
            # Given up as never sent, and there after all: somebody should look at the exchange's clock and at ours.
            desk.figures["adopted_expired"] += 1
            log.error("expired_order_adopted", order_id=str(live.order.pk), status=change.order.status)
        await _commit_booking(desk, tenant, change, result)
        failpoints.reach("after_booking")
    if live.order.reported_quantity > live.order.filled_quantity:
        _want_fills(desk, tenant, live.order.pk)


async def _read_metrics(tenant: Tenant, account: Account, report: OrderReport) -> None:
    """A fill of an earlier day (told late, over midnight or after a restart) adds to that day's stored figures."""
    days = {fill.executed_at.date() for fill in report.fills} - account.metric_days
    if days:
        for row in await run_in_db(read_metrics, tenant.user_id, account.connection.pk, days):
            account.metrics[row.date, row.quote_asset] = row
        account.metric_days |= days


def _assets_of(symbol: str) -> SymbolRules:
    """All that booking needs: it must not wait for an exchange, nor for a symbol that isn't traded any more."""
    base, _, quote = symbol.partition(":")[0].partition("/")
    return SymbolRules(symbol, base, quote, ZERO, ZERO, ZERO, ZERO, ZERO)


async def _commit_booking(desk: Desk, tenant: Tenant, change: booking.Booking, result: Result | None) -> None:
    writes = tenant.write_set()
    change.write(writes)
    paused = alarms.add(desk, tenant.state, writes, change)
    attempt_row = change.live.attempt
    if result is not None and attempt_row is not None:
        attempt_row = _with_result(attempt_row, result)
        writes.update(attempt_row, *_RESULT_FIELDS)
    await desk.committer.commit(writes)
    change.live.attempt = attempt_row
    change.apply(tenant.state)
    desk.figures["fills"] += len(change.trades)
    news.tell_booking(desk, tenant.state, change)
    if paused is not None:
        news.tell_status(desk, paused)
    if desk.on_booked is not None:
        desk.on_booked(tenant, change.order)


def _want_fills(desk: Desk, tenant: Tenant, order_id: UUID) -> None:
    """Starts fetching an order's fills, unless somebody already does."""
    if order_id not in desk.fetching:
        desk.fetching.add(order_id)
        desk.spawn(_fetch_fills(desk, tenant, order_id), f"fills-{order_id}")


async def _fetch_fills(desk: Desk, tenant: Tenant, order_id: UUID) -> None:
    """Asks for an order's fills after a moment in which the stream may still tell them."""
    try:
        await asyncio.sleep(_FIRST_RETRY)
        live = tenant.state.orders.get(order_id)
        account = tenant.state.accounts.get(live.order.connection_id) if live else None
        if live is None or account is None or live.order.reported_quantity <= live.order.filled_quantity:
            return
        try:
            gateway = await desk.gateway(tenant, account)
            report = await whole_report(gateway, live.order, live.order.client_order_id)
        except DomainError as error:
            log.warning("fills_not_fetched", order_id=str(order_id), error=error.code)
            account.missed_events()  # the catch-up asks again
            return
    finally:
        desk.fetching.discard(order_id)
    tenant.post(partial(_on_report, desk, tenant, order_id, report, "catch_up"))


def theirs(order: Order) -> str:
    """The exchange's id of an order that DES didn't place: only by that it can be named."""
    return str(order.exchange_order_id) if order.elsewhere else ""


async def whole_report(gateway: Gateway, order: Order, client_order_id: str) -> OrderReport:
    """The order's state at the exchange with all its fills."""
    report = await gateway.order(order.symbol, client_order_id, theirs(order))
    if report.filled_quantity:
        fills = await gateway.fills(order.symbol, None, report.exchange_order_id)
        report = replace(report, fills=tuple(fills))
    return report


async def _on_report(desk: Desk, tenant: Tenant, order_id: UUID, report: OrderReport, cause: str) -> None:
    live = tenant.state.orders.get(order_id)
    account = tenant.state.accounts.get(live.order.connection_id) if live else None
    if live is not None and account is not None:
        await book_report(desk, tenant, account, live, report, cause=cause)


def post_report(desk: Desk, tenant: Tenant, order_id: UUID, report: OrderReport) -> None:
    """Hands a report that was asked for to the tenant."""
    tenant.post(partial(_on_report, desk, tenant, order_id, report, "catch_up"))


async def _retry_later(
    desk: Desk, tenant: Tenant, account: Account, live: LiveOrder, error: NothingHappened, result: Result
) -> None:
    """The exchange did nothing: a new attempt later, under a new id, while the order is young enough and wanted."""
    if live.order.status != OrderStatus.PENDING:
        return
    number = live.attempt.number if live.attempt else 0
    pause = max(error.retry_after or 0, min(_FIRST_RETRY * number, _LONGEST_RETRY))
    if killed := tenant.state.killed(account.connection.pk, live.order.instance_id):
        await _end_killed(desk, tenant, account, live, killed, result)
    elif live.unwanted.is_set():
        await _end_unwanted(desk, tenant, account, live, result)
    elif live.tries_once or _gives_up(live.order, number, desk.clock.now() + timedelta(seconds=pause)):
        await _move(desk, tenant, account, live, OrderStatus.REJECTED, "not_sent", error.code, error.message, result)
    else:
        desk.in_flight.add(live.order.pk)
        desk.spawn(_attempt_after(desk, tenant, live, pause, result), f"retry-{live.order.pk}")


def _gives_up(order: Order, attempts: int, next_at: datetime) -> bool:
    if order.triggered_at is not None:
        return attempts >= _MAX_ATTEMPTS_TRIGGERED
    return attempts >= _MAX_ATTEMPTS or next_at > order.created_at + patience(order)


async def _end_killed(desk: Desk, tenant: Tenant, account: Account, live: LiveOrder, why: str, result: Result) -> None:
    await _move(desk, tenant, account, live, OrderStatus.REJECTED, "killed", "RISK_KILL_SWITCH", why, result)


async def _end_unwanted(desk: Desk, tenant: Tenant, account: Account, live: LiveOrder, result: Result) -> None:
    await _move(desk, tenant, account, live, OrderStatus.CANCELLED, "cancel", "", "", result)


async def _attempt_after(desk: Desk, tenant: Tenant, live: LiveOrder, pause: float, result: Result) -> None:
    """A cancel ends the pause: nothing is at the exchange now."""
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(live.unwanted.wait(), pause)
    finally:
        desk.in_flight.discard(live.order.pk)
    tenant.post(partial(_next_attempt, desk, tenant, live.order.pk, result))


async def _next_attempt(desk: Desk, tenant: Tenant, order_id: UUID, result: Result) -> None:
    """Commits a new attempt, under the same checks as the first, with what came of the one before."""
    live = tenant.state.orders.get(order_id)
    account = tenant.state.accounts.get(live.order.connection_id) if live else None
    if live is None or account is None or live.attempt is None or live.order.status != OrderStatus.PENDING:
        return
    if live.unwanted.is_set():
        await _end_unwanted(desk, tenant, account, live, result)
        return
    deadline, deadline_at = desk.send_deadline(tenant.shard)
    again = attempt(tenant, live.order, live.attempt.number + 1, deadline_at)
    order = changed(live.order, client_order_id=again.client_order_id)
    writes = tenant.write_set()
    writes.intent = Scope(tenant.user_id, account.connection.pk, order.instance_id)
    writes.update(_with_result(live.attempt, result), *_RESULT_FIELDS)
    writes.create(again)
    writes.update(order, "client_order_id")
    try:
        await desk.committer.commit(writes)
    except Killed as error:
        await _end_killed(desk, tenant, account, live, str(error), result)
        return
    live.order, live.attempt = order, again
    tenant.state.remember(live)
    start_send(desk, tenant, account, live, deadline)


def ask_for(desk: Desk, tenant: Tenant, account: Account, live: LiveOrder) -> None:
    """Starts asking the exchange what became of an order, unless somebody already does."""
    if live.order.pk not in desk.in_flight and not live.answer_waits:
        desk.in_flight.add(live.order.pk)
        desk.spawn(_ask(desk, tenant, account, live.order.pk), f"ask-{live.order.pk}")


async def _ask(desk: Desk, tenant: Tenant, account: Account, order_id: UUID) -> None:
    """Asks by every attempt's client id until the exchange knows one, or has denied all of them after the deadline."""
    denials, round_number, newest = 0, 0, ""
    try:
        while _is_unsure(tenant, order_id) and denials < _DENIALS_NEEDED:
            await asyncio.sleep(_ASK_PAUSES[min(round_number, len(_ASK_PAUSES) - 1)])
            round_number += 1
            attempts = await run_in_db(_attempts, tenant.user_id, order_id)
            newest, may_still_arrive = attempts[0].client_order_id, _is_before_end(desk, attempts)
            try:
                report = await _find(desk, tenant, account, order_id, attempts)
            except DomainError as error:
                log.info("ask_failed", order_id=str(order_id), error=error.code)
                continue
            if report is not None:
                tenant.post(partial(_on_report, desk, tenant, order_id, report, "asked"))
                return
            denials = 0 if may_still_arrive else denials + 1
    finally:
        desk.in_flight.discard(order_id)
    if denials >= _DENIALS_NEEDED:
        tenant.post(partial(_on_never_arrived, desk, tenant, order_id, newest))


def _is_unsure(tenant: Tenant, order_id: UUID) -> bool:
    live = tenant.state.orders.get(order_id)
    return not tenant.closed and live is not None and live.order.status in (OrderStatus.PENDING, OrderStatus.UNKNOWN)


def _attempts(user_id: UUID, order_id: UUID) -> list[OrderAttempt]:
    with tenant_scope(user_id):
        return list(OrderAttempt.objects.filter(order_id=order_id).order_by("-number"))


def _is_before_end(desk: Desk, attempts: Sequence[OrderAttempt]) -> bool:
    """Whether a request that was sent in time may still be on its way."""
    latest = max(row.send_deadline for row in attempts)
    return desk.clock.now() <= latest + timedelta(seconds=settings.CONFIG.clock_skew_seconds)


async def _find(
    desk: Desk, tenant: Tenant, account: Account, order_id: UUID, attempts: Sequence[OrderAttempt]
) -> OrderReport | None:
    gateway = await desk.gateway(tenant, account)
    for row in attempts:
        live = tenant.state.orders.get(order_id)
        if live is None:
            return None
        try:
            return await whole_report(gateway, live.order, row.client_order_id)
        except UnknownOrder:
            continue
    return None


def _may_follow(account: Account, live: LiveOrder) -> bool:
    """Whether another attempt may follow one that never arrived: of an order that was triggered, because it protects
    somebody, and where the exchange itself refuses what arrives past its deadline."""
    expires = venue(account.connection.exchange).capabilities.request_expiry
    is_left = live.attempt is not None and live.attempt.number < _MAX_ATTEMPTS_TRIGGERED
    return live.order.triggered_at is not None and expires and is_left


async def _on_never_arrived(desk: Desk, tenant: Tenant, order_id: UUID, newest: str) -> None:
    """Ends the order, unless an attempt came after the newest one that was asked for."""
    live = tenant.state.orders.get(order_id)
    account = tenant.state.accounts.get(live.order.connection_id) if live else None
    if live is None or account is None or live.attempt is None:
        return
    if order_id in desk.in_flight or live.attempt.client_order_id != newest:
        return
    if _may_follow(account, live):
        await _move(desk, tenant, account, live, OrderStatus.PENDING, "never_arrived", "", "")
        await _next_attempt(desk, tenant, order_id, ("not_sent", 0.0, "the exchange doesn't know the order"))
    else:
        desk.figures["expired_unsent"] += 1
        await _move(
            desk,
            tenant,
            account,
            live,
            OrderStatus.EXPIRED,
            "never_arrived",
            "NOT_SENT",
            "the exchange doesn't know the order",
        )
