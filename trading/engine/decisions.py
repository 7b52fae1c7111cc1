"""From a signal or a request to a committed order: rounding, sizing, risk, one transaction, and only then the send."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings

from accounts.tenancy import tenant_scope
from audit.record import entry
from connections.database import run as run_in_db
from connections.gateways import NothingHappened, OrderType, Side, SymbolRules, TimeInForce
from connections.models import ConnectionStatus
from desproject.lib.errors import DomainError
from desproject.lib.money import ZERO, plain, settle
from risk.engine import Denial, Intent, RiskState, evaluate
from trading.engine import booking, news, sending
from trading.engine.committer import BadRow, Killed, Scope
from trading.engine.desk import Desk
from trading.engine.state import Account, LiveOrder, TenantState, changed
from trading.engine.tenant import Tenant
from trading.models import (
    Decision,
    InstanceStatus,
    Order,
    OrderEvent,
    Reservation,
    Signal,
    StrategyInstance,
)
from trading.order_states import OPEN, OrderStatus
from trading.sizing import parse_sizing, quantity_for, round_order, sellable
from trading.strategies.contract import ENTER

log = structlog.get_logger(__name__)

# A market buy may fill above the quote that it was decided on: so much more is reserved.
_MARKET_MARGIN = Decimal("0.01")
_PAUSE_SECONDS = 0.1
# Kept back of what an entry may spend (RSK-1).
_RESERVE_RATE = Decimal(settings.CONFIG.balance_reserve_rate)


class NotReady(DomainError):
    """Something that a decision needs isn't there yet; a moment later it may be."""

    code = "NOT_READY"
    status = 503


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a strategy wants, before anything is checked. ``price`` is what it saw."""

    instance_id: UUID
    event_key: str
    action: int
    price: Decimal
    seen: dict[str, float]
    observed_ns: int


@dataclass(slots=True)
class _Plan:
    """An order that passed or failed risk, on its way into the database."""

    account: Account
    order: Order
    rules: SymbolRules
    reference_price: Decimal
    is_exit: bool
    signal: Signal | None = None
    # Flattening goes out under a kill switch: that is what the switch wants.
    flattens: bool = False


async def on_signal(desk: Desk, tenant: Tenant, candidate: Candidate) -> None:
    """A strategy acted. What can't lead anywhere (already in, nothing to exit) leaves no row."""
    instance = tenant.state.instances.get(candidate.instance_id)
    if instance is None or instance.status != InstanceStatus.RUNNING:
        return
    account = tenant.state.accounts.get(instance.connection_id)
    if account is None:
        return
    if tenant.state.busy_instance(instance.pk):
        if candidate.action != ENTER:
            _decide_later(desk, tenant, candidate)
        return
    if not account.is_known and _decide_later(desk, tenant, candidate):
        return
    signal = _signal(tenant, instance, candidate, desk.clock.now())
    try:
        if not account.is_known:
            raise NotReady("the account's state couldn't be read from the exchange in time")
        plan = await _plan_for_signal(desk, tenant, account, instance, signal)
    except DomainError as error:
        passes = isinstance(error, NotReady | NothingHappened)
        if not (passes and _decide_later(desk, tenant, candidate)):
            await _deny_signal(desk, tenant, signal, error.code.lower(), error.message)
        return
    if plan is not None:
        desk.figures["signals"] += 1
        await _place(desk, tenant, plan)


def _decide_later(desk: Desk, tenant: Tenant, candidate: Candidate) -> bool:
    """An exit comes only once, but the account may not be known yet (right after a take-over), the entry not be
    finished, the exchange silent: it waits, for a while. False when it has waited long enough."""
    age = desk.clock.now().timestamp() - candidate.observed_ns / 1e9
    if age >= settings.CONFIG.order_timeout_seconds:
        return False
    key = (candidate.instance_id, candidate.event_key)
    if key not in tenant.state.deferred:
        tenant.state.deferred.add(key)
        desk.spawn(_again(desk, tenant, candidate), f"signal-{candidate.instance_id}")
    return True


async def _again(desk: Desk, tenant: Tenant, candidate: Candidate) -> None:
    await asyncio.sleep(_PAUSE_SECONDS)
    tenant.state.deferred.discard((candidate.instance_id, candidate.event_key))
    tenant.post(partial(on_signal, desk, tenant, candidate))


async def on_new_order(desk: Desk, tenant: Tenant, order_id: UUID) -> None:
    """An order row in ``new`` waits (from the API)."""
    order = await run_in_db(_read_new, tenant.user_id, order_id)
    if order is None:
        return
    account = tenant.state.accounts.get(order.connection_id)
    if account is None:
        if order.connection.is_deleted:  # just before the order came
            gone = Account(order.connection)
            await _deny_order(desk, tenant, gone, order, "CONNECTION_DELETED", "the connection was deleted")
        return  # else it is so new that the next look finds it
    try:
        plan = await _plan_for_order(desk, tenant, account, order)
        if not (account.is_known if plan.is_exit else account.entries_open):
            raise NotReady("the account's state is being read from the exchange")
    except (NotReady, NothingHappened) as error:
        # The row stays as it is: the sweep comes back to it. Only what is meant to fill at once grows too old.
        too_old = desk.clock.now() - order.created_at > timedelta(seconds=settings.CONFIG.order_timeout_seconds)
        if too_old and (order.type == OrderType.MARKET or order.time_in_force != TimeInForce.GTC):
            await _deny_order(desk, tenant, account, order, error.code, error.message)
    except DomainError as error:
        reasons = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in error.fields.items())
        await _deny_order(desk, tenant, account, order, error.code, reasons or error.message)
    else:
        await _place(desk, tenant, plan)


async def flatten(
    desk: Desk, tenant: Tenant, account: Account, symbol: str, held: Decimal, instance: StrategyInstance | None = None
) -> None:
    """Sells what is held of a symbol at market, under a kill switch too. Dust stays."""
    rules = await desk.symbol_rules(tenant, account, symbol)
    price = _price(desk, account, symbol, Side.SELL)
    quantity = sellable(rules, held, price)
    if not quantity:
        return
    order = _order(tenant, account, symbol, Side.SELL, quantity, instance=instance)
    await _place(desk, tenant, _Plan(account, order, rules, price, is_exit=True, flattens=True))


def _read_new(user_id: UUID, order_id: UUID) -> Order | None:
    with tenant_scope(user_id):
        rows = Order.objects.filter(pk=order_id, status=OrderStatus.NEW).select_related("connection")
        order: Order | None = rows.first()
        return order


def _signal(tenant: Tenant, instance: StrategyInstance, candidate: Candidate, now: datetime) -> Signal:
    return Signal(
        user_id=tenant.user_id,
        instance_id=instance.pk,
        event_key=candidate.event_key,
        action="enter" if candidate.action == ENTER else "exit",
        price=settle(candidate.price),
        seen=candidate.seen,
        decision=Decision.ORDERED,
        observed_at=datetime.fromtimestamp(candidate.observed_ns / 1e9, tz=UTC),
        decided_at=now,
    )


def _price(desk: Desk, account: Account, symbol: str, side: Side) -> Decimal:
    price = desk.price(account.connection.feed, symbol, side)
    if price is None:
        raise NotReady(f"no price of {symbol} is known yet")
    return price


async def _plan_for_signal(
    desk: Desk, tenant: Tenant, account: Account, instance: StrategyInstance, signal: Signal
) -> _Plan | None:
    """None where the signal can't lead anywhere: an entry while in, an exit with nothing (or only dust) to sell."""
    rules = await desk.symbol_rules(tenant, account, instance.symbol)
    enters = signal.action == "enter"
    side = Side.BUY if enters else Side.SELL
    price = _price(desk, account, instance.symbol, side)
    held = sellable(rules, instance.held_quantity, price)
    if enters == bool(held):
        return None
    quantity = quantity_for(parse_sizing(instance.sizing), price, rules) if enters else held
    order = _order(tenant, account, instance.symbol, side, quantity, instance=instance, signal=signal)
    return _Plan(account, order, rules, price, is_exit=not enters, signal=signal)


async def _plan_for_order(desk: Desk, tenant: Tenant, account: Account, order: Order) -> _Plan:
    rules = await desk.symbol_rules(tenant, account, order.symbol)
    side, kind = Side(order.side), OrderType(order.type)
    reference = order.price if order.price is not None else _price(desk, account, order.symbol, side)
    quantity, price = round_order(rules, side, kind, order.quantity, order.price, reference_price=reference)
    rounded = changed(order, quantity=quantity, price=price)
    # On spot every sale lowers what is held.
    return _Plan(account, rounded, rules, price or reference, is_exit=side == Side.SELL)


def _order(
    tenant: Tenant,
    account: Account,
    symbol: str,
    side: Side,
    quantity: Decimal,
    instance: StrategyInstance | None = None,
    signal: Signal | None = None,
) -> Order:
    return Order(
        user_id=tenant.user_id,
        connection_id=account.connection.pk,
        instance_id=instance.pk if instance else None,
        signal_id=signal.pk if signal else None,
        symbol=symbol,
        side=side,
        type=OrderType.MARKET,
        time_in_force=TimeInForce.GTC,
        quantity=quantity,
        status=OrderStatus.NEW,
    )


async def _place(desk: Desk, tenant: Tenant, plan: _Plan) -> None:
    """Risk, one transaction, send. Nothing in memory changes before the commit."""
    verdict = evaluate(_intent(plan), _risk_state(desk, tenant.state, plan), _limits(tenant.state, plan), desk.rules)
    if plan.account.connection.status != ConnectionStatus.OK and not plan.is_exit:
        verdict = Denial("connection_unhealthy", plan.account.connection.status_reason or "its key doesn't work")
    elif not plan.account.entries_open and not plan.is_exit:
        verdict = Denial("catching_up", "the account's state is being read from the exchange, try again shortly")
    if isinstance(verdict, Denial) and not plan.flattens:
        await _deny(desk, tenant, plan, verdict)
        return
    deadline, deadline_at = desk.send_deadline(tenant.shard)
    live = _live_order(tenant, plan, deadline_at)
    writes = tenant.write_set()
    if not plan.flattens:
        writes.intent = Scope(tenant.user_id, plan.account.connection.pk, plan.order.instance_id)
    if plan.signal is not None:
        writes.create(plan.signal)
    writes.save(live.order, "status", "quantity", "price", "client_order_id")
    writes.create(*live.rows(), *_traces(desk, plan, live))
    try:
        await desk.committer.commit(writes)
    except Killed as error:
        await _deny(desk, tenant, plan, Denial("kill_switch", str(error)))
        return
    except BadRow as error:
        if plan.signal is not None:
            log.info("signal_already_decided", event_key=plan.signal.event_key)
        else:
            log.warning("order_not_storable", order_id=str(plan.order.pk), error=str(error).splitlines()[0])
            await _deny_not_storable(desk, tenant, plan)
        return
    tenant.state.remember(live)
    sending.start_send(desk, tenant, plan.account, live, deadline, flattens=plan.flattens)
    desk.figures["orders"] += 1
    if plan.signal is not None:
        news.tell_signal(desk, plan.signal)
    news.tell_order(desk, live)


def _intent(plan: _Plan) -> Intent:
    return Intent(
        plan.order.symbol,
        plan.rules.base,
        plan.rules.quote,
        Side(plan.order.side),
        OrderType(plan.order.type),
        plan.order.quantity,
        plan.reference_price,
        is_exit=plan.is_exit,
    )


def _limits(state: TenantState, plan: _Plan) -> Any:
    return state.limits(plan.account.connection.pk, plan.order.instance_id)


def _spent_asset(plan: _Plan) -> str:
    return plan.rules.quote if plan.order.side == Side.BUY else plan.rules.base


def _risk_state(desk: Desk, state: TenantState, plan: _Plan) -> RiskState:
    account, symbol, quote = plan.account, plan.order.symbol, plan.rules.quote
    key = account.connection.pk
    opened = [live for live in state.open_orders(key) if live.order.pk != plan.order.pk]
    buys = [live for live in opened if live.order.side == Side.BUY]
    position = account.positions.get(symbol)
    held = position.quantity if position else ZERO
    metrics = account.metrics.get((desk.clock.now().date(), quote))
    return RiskState(
        available=available(state, account, _spent_asset(plan), is_exit=plan.is_exit),
        position_quantity=held,
        position_worth=held * plan.reference_price,
        pending_buy_quantity=sum((live.remaining for live in buys if live.order.symbol == symbol), ZERO),
        exposure=_exposure(desk, account, quote)
        + sum(
            (live.reservation.remaining for live in buys if live.reservation and live.reservation.asset == quote), ZERO
        ),
        realized_today=metrics.realized_pnl if metrics else ZERO,
        open_orders=len(opened),
        kill_switch="" if plan.flattens else state.killed(key, plan.order.instance_id),
    )


def available(state: TenantState, account: Account, asset: str, *, is_exit: bool) -> Decimal:
    """What may still be spent: total less reservations, less what orders placed elsewhere lock, less the reserve that
    entries keep back."""
    balance = account.balances.get(asset)
    if balance is None:
        return ZERO
    reserved = state.reserved(account.connection.pk, asset)
    foreign = max(balance.locked - reserved, ZERO)
    reserve = ZERO if is_exit else balance.total * _RESERVE_RATE
    left: Decimal = balance.total - reserved - foreign - reserve
    return max(left, ZERO)


def _exposure(desk: Desk, account: Account, quote: str) -> Decimal:
    """Worth of the connection's positions that are quoted in this asset, at the bid where one is known."""
    total = ZERO
    for symbol, position in account.positions.items():
        if position.quantity and symbol.endswith(f"/{quote}"):
            mark = desk.price(account.connection.feed, symbol, Side.SELL) or position.average_price
            total += position.quantity * mark
    return total


def _live_order(tenant: Tenant, plan: _Plan, deadline_at: datetime) -> LiveOrder:
    attempt = sending.attempt(tenant, plan.order, 1, deadline_at)
    order = changed(plan.order, status=OrderStatus.PENDING, client_order_id=attempt.client_order_id)
    amount = order.quantity
    if order.side == Side.BUY:
        margin = _MARKET_MARGIN if order.type == OrderType.MARKET else ZERO
        amount = settle(order.quantity * plan.reference_price * (1 + margin))
    reservation = Reservation(
        order_id=order.pk,
        user_id=tenant.user_id,
        connection_id=order.connection_id,
        asset=_spent_asset(plan),
        amount=amount,
        remaining=amount,
    )
    return LiveOrder(order, attempt, reservation)


def _traces(desk: Desk, plan: _Plan, live: LiveOrder) -> list[Any]:
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
            to_status=OrderStatus.PENDING,
            cause="signal" if plan.signal else "request",
            at=now,
        ),
        entry(
            "order.placed", user_id=order.user_id, resource_type="order", resource_id=order.pk, details=details, at=now
        ),
    ]


async def _deny(desk: Desk, tenant: Tenant, plan: _Plan, denial: Denial) -> None:
    desk.figures["denials"] += 1
    if plan.signal is not None:
        await _deny_signal(desk, tenant, plan.signal, denial.rule, denial.reason)
    else:
        await _deny_order(desk, tenant, plan.account, plan.order, f"RISK_{denial.rule.upper()}", denial.reason)


async def _deny_signal(desk: Desk, tenant: Tenant, signal: Signal, rule: str, reason: str) -> None:
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


async def _deny_not_storable(desk: Desk, tenant: Tenant, plan: _Plan) -> None:
    """Ends an order from the API that the database refuses; one that an earlier, unclear commit has placed after all
    is left to the sweep."""
    if await run_in_db(_read_new, tenant.user_id, plan.order.pk) is not None:
        await _deny_order(desk, tenant, plan.account, plan.order, "NOT_STORABLE", "the order can't be stored")


async def _deny_order(desk: Desk, tenant: Tenant, account: Account, order: Order, code: str, reason: str) -> None:
    """The order from the API ends as rejected, by us."""
    if order._state.adding or OrderStatus(order.status) not in OPEN:
        log.warning("flatten_denied", code=code, reason=reason)
        return
    refused = booking.with_status(
        tenant.state,
        account,
        LiveOrder(order),
        OrderStatus.REJECTED,
        cause="denied",
        now=desk.clock.now(),
        code=code,
        reason=reason,
    )
    writes = tenant.write_set()
    refused.write(writes)
    await desk.committer.commit(writes)
    refused.apply(tenant.state)
    news.tell_booking(desk, tenant.state, refused)
