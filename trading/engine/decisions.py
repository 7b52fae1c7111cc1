"""From a signal or a request to a committed order: rounding, sizing, risk, one transaction, and only then the send."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db.models import Model

from accounts.tenancy import tenant_scope
from audit.record import entry
from connections.database import run as run_in_db
from connections.gateways import NothingHappened, OrderType, Side, SymbolRules, TimeInForce
from connections.models import ConnectionStatus
from desproject.lib.errors import DomainError, InvalidInput
from desproject.lib.money import ZERO, plain, settle
from risk.engine import Allow, Denial, Intent, RiskState, evaluate
from risk.rules import percent
from trading import order_life, trigger_prices
from trading.engine import booking, news, reconciliation, replacing, sending, timings
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
from trading.order_types import TRIGGERED, OrderKind, type_sent
from trading.positions import is_on_margin
from trading.quotes import bitcoin_in, quote_of
from trading.sizing import parse_sizing, quantity_for, round_order, sellable
from trading.strategies.contract import ENTER

log = structlog.get_logger(__name__)

# A market buy may fill above the quote that it was decided on: so much more is reserved.
_MARKET_MARGIN = Decimal("0.01")
_PAUSE_SECONDS = 0.1
# What a decision may change of an order.
_DECIDED_FIELDS = (
    "status", "quantity", "price", "stop_price", "reduce_only", "expires_at", "expected_price", "client_order_id",
)  # fmt: skip
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
    # Of a contract; None where orders exchange one asset for another.
    leverage: int | None = None
    # Flattening goes out under a kill switch: that is what the switch wants.
    flattens: bool = False
    # Where it comes from when there is no signal.
    cause: str = "request"


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
        if plan is not None:
            _keep_fresh(desk, tenant, plan)
            _keep_pace(desk, tenant.state, plan)
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


def _decide_order_later(desk: Desk, tenant: Tenant, order_id: UUID) -> None:
    key = (order_id, "replaces")
    if key not in tenant.state.deferred:
        tenant.state.deferred.add(key)
        desk.spawn(_order_again(desk, tenant, order_id), f"order-{order_id}")


async def _order_again(desk: Desk, tenant: Tenant, order_id: UUID) -> None:
    await asyncio.sleep(_PAUSE_SECONDS)
    tenant.state.deferred.discard((order_id, "replaces"))
    tenant.post(partial(on_new_order, desk, tenant, order_id), key=order_id)


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
    if order.expires_at is not None and order.expires_at <= desk.clock.now():
        await _end_unsent(desk, tenant, account, order, OrderStatus.EXPIRED, "EXPIRED", "its time was over")
        return
    try:
        order = await replacing.in_its_place(tenant, order)
        plan = await _plan_for_order(desk, tenant, account, order)
        _check_group(desk, tenant, order)
        if not (account.is_known if plan.is_exit else account.entries_open):
            raise NotReady("the account's state is being read from the exchange")
        _keep_fresh(desk, tenant, plan)
        _keep_pace(desk, tenant.state, plan)
    except replacing.StillThere:
        _decide_order_later(desk, tenant, order_id)
    except (NotReady, NothingHappened) as error:
        # The row stays as it is: the sweep comes back to it. Only what is meant to fill at once grows too old.
        too_old = order.triggered_at is None and desk.clock.now() - order.created_at > order_life.patience(order)
        if too_old and order_life.never_rests(order):
            await _deny_order(desk, tenant, account, order, error.code, error.message)
    except DomainError as error:
        reasons = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in error.fields.items())
        await _deny_order(desk, tenant, account, order, error.code, reasons or error.message)
    else:
        await _place(desk, tenant, plan)


async def flatten(
    desk: Desk, tenant: Tenant, account: Account, symbol: str, held: Decimal, instance: StrategyInstance | None = None
) -> None:
    """Sells what is held of a symbol at market (buys back what is below 0), under a kill switch too. Dust stays."""
    rules = await desk.symbol_rules(tenant, account, symbol)
    if is_on_margin(symbol):
        rules = replace(rules, min_notional=ZERO)
    side = Side.SELL if held > 0 else Side.BUY
    price = _price(desk, account, symbol, side)
    quantity = sellable(rules, abs(held), price)
    if not quantity:
        return
    order = _order(tenant, account, symbol, side, quantity, instance=instance)
    plan = _Plan(account, order, rules, price, is_exit=True, flattens=True)
    await _place(desk, tenant, await _with_margin(desk, tenant, plan))


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
    enters = signal.action == "enter"
    rules = await desk.symbol_rules(tenant, account, instance.symbol)
    side = Side.BUY if enters else Side.SELL
    price = _price(desk, account, instance.symbol, side)
    held = sellable(rules, instance.held_quantity, price)
    if enters == bool(held):
        return None
    quantity = quantity_for(parse_sizing(instance.sizing), price, rules) if enters else held
    order = _order(tenant, account, instance.symbol, side, quantity, instance=instance, signal=signal)
    return await _with_margin(desk, tenant, _Plan(account, order, rules, price, is_exit=not enters, signal=signal))


async def _plan_for_order(desk: Desk, tenant: Tenant, account: Account, order: Order) -> _Plan:
    rules = await desk.symbol_rules(tenant, account, order.symbol)
    side, kind = Side(order.side), type_sent(order.type)
    if waits(order):
        order = _with_trigger(desk, account, order, rules)
    reference = order.price or _reference(desk, account, order, side)
    if order.reduce_only:
        order = _within_position(tenant.state, account, order)
    is_exit = side == Side.SELL  # on spot every sale lowers what is held
    if is_on_margin(order.symbol):
        is_exit = order.quantity <= _closable(tenant.state, account, order)
    if is_exit and is_on_margin(order.symbol):
        rules = replace(rules, min_notional=ZERO)  # what closes may be as small as what is held
    quantity, price = round_order(rules, side, kind, order.quantity, order.price, reference_price=reference)
    rounded = changed(order, quantity=quantity, price=price)
    return await _with_margin(desk, tenant, _Plan(account, rounded, rules, price or reference, is_exit=is_exit))


def waits(order: Order) -> bool:
    """Whether the order is to be held until the market has reached its trigger."""
    return order.type in TRIGGERED and order.triggered_at is None


def _check_group(desk: Desk, tenant: Tenant, order: Order) -> None:
    """Raises NotReady, then InvalidInput, where the order that it is to wait with doesn't wait."""
    if not waits(order) or order.oco_group is None or order.oco_group in tenant.state.waiting:
        return
    if desk.clock.now() - order.created_at < order_life.patience(order):
        raise NotReady("the order that it waits with isn't accepted yet")
    raise InvalidInput("too late", fields={"oco_with": ["that order doesn't wait (any more)"]})


def _with_trigger(desk: Desk, account: Account, order: Order, rules: SymbolRules) -> Order:
    """The order with its trigger on the exchange's steps, a trailing one set by the price of now.

    Raises InvalidInput for one that the market has reached already: whoever sends it takes it for another price.
    """
    if desk.is_distrusted(account.connection.feed, order.symbol):
        raise NotReady(f"the price of {order.symbol} can't be relied on now")
    now = _price(desk, account, order.symbol, Side(order.side))
    if order.type == OrderKind.TRAILING_STOP:
        return changed(order, stop_price=trigger_prices.trailing_price(order, now))
    order = changed(order, stop_price=trigger_prices.rounded(order, rules))
    if trigger_prices.is_reached(order, now):
        below = "below" if trigger_prices.fires_below(order) else "above"
        raise InvalidInput(
            "the market is there already", fields={"stop_price": [f"must be {below} the price, now {plain(now)}"]}
        )
    return order


def _reference(desk: Desk, account: Account, order: Order, side: Side) -> Decimal:
    """What an order without a limit is expected to fill at. What was triggered waits for no quote."""
    if waits(order):
        return Decimal(order.stop_price)
    feed = account.connection.feed
    is_known = desk.price(feed, order.symbol, side) is not None and not desk.is_distrusted(feed, order.symbol)
    if order.triggered_at is not None and not is_known:
        return Decimal(order.stop_price)
    return _price(desk, account, order.symbol, side)


def _within_position(state: TenantState, account: Account, order: Order) -> Order:
    """A reduce-only order, cut to what there is to reduce when it was triggered. Raises InvalidInput where there is
    nothing, and for one that asks for more right away."""
    left = _closable(state, account, order)
    if left > 0 and order.triggered_at is not None:
        return changed(order, quantity=min(order.quantity, left))
    if order.quantity > left:
        most = f"at most {plain(left)}" if left > 0 else "nothing"
        raise InvalidInput("there is less to reduce", fields={"quantity": [f"{most} of the position can be closed"]})
    return order


def _closable(state: TenantState, account: Account, order: Order) -> Decimal:
    """How much of a position the order could close, with what others of its side that are sent would close of it."""
    position = account.positions.get(order.symbol)
    held = position.quantity if position is not None else ZERO
    left: Decimal = held if order.side == Side.SELL else -held
    for live in state.open_orders(account.connection.pk):
        is_other = live.order.pk != order.pk and live.order.status != OrderStatus.WAITING
        if is_other and live.order.symbol == order.symbol and live.order.side == order.side:
            left -= live.remaining
    return left


async def _with_margin(desk: Desk, tenant: Tenant, plan: _Plan) -> _Plan:
    """The plan with what only contracts have: the leverage; and what passes here as an exit is one there too."""
    if is_on_margin(plan.order.symbol):
        plan.leverage = await desk.leverage(tenant, plan.account, plan.order.symbol)
        plan.order = changed(plan.order, reduce_only=plan.is_exit)
    return plan


def _keep_fresh(desk: Desk, tenant: Tenant, plan: _Plan) -> None:
    """Exits pass."""
    if not plan.is_exit:
        keep_fresh(desk, tenant, plan.account)


def keep_fresh(desk: Desk, tenant: Tenant, account: Account) -> None:
    """Raises NotReady where nothing has told for long what the account holds: it is asked for first."""
    age = desk.clock.monotonic() - max(account.heard_at, account.asked_at)
    if age > settings.CONFIG.balance_max_age_seconds:
        reconciliation.catch_up(desk, tenant, account)
        raise NotReady("the account's balances are being read from the exchange: they are too old")


def _keep_pace(desk: Desk, state: TenantState, plan: _Plan) -> None:
    """Raises NotReady where the connection has sent as many orders in the last second as it may; exits pass."""
    most = settings.CONFIG.rate_limit_orders
    limit = min(_limits(state, plan).max_orders_per_second or most, most)
    if not plan.is_exit and not plan.account.pace.has_room(desk.clock.monotonic(), limit):
        desk.figures["paced"] += 1
        raise NotReady(f"the connection sends {limit} orders a second at most")


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
    verdict = _verdict(desk, tenant.state, plan)
    if isinstance(verdict, Denial) and not plan.flattens:
        await _deny(desk, tenant, plan, verdict)
        return
    is_held = waits(plan.order)
    deadline, deadline_at = desk.send_deadline(tenant.shard)
    if not is_held:
        plan.order = changed(plan.order, expires_at=_expiry(desk, plan))
    live = _held_order(tenant, plan) if is_held else _live_order(tenant, plan, deadline_at)
    writes = tenant.write_set()
    if not plan.flattens:
        writes.intent = Scope(tenant.user_id, plan.account.connection.pk, plan.order.instance_id)
    if plan.signal is not None:
        writes.create(plan.signal)
    writes.save(live.order, *_DECIDED_FIELDS)
    if live.attempt is not None:
        writes.create(live.attempt)
    if live.reservation is not None:
        writes.save(live.reservation, "amount", "remaining")
    writes.create(*_traces(desk, plan, live))
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


def leg(
    tenant: Tenant,
    account: Account,
    instance: StrategyInstance,
    rules: SymbolRules,
    side: Side,
    quantity: Decimal,
    *,
    reference_price: Decimal,
    limit: Decimal | None = None,
    is_hedge: bool = False,
    flattens: bool = False,
) -> _Plan:
    """An order of an arbitrage: at the market, or at once at ``limit`` or better. Hedges pass every entry rule."""
    order = _order(tenant, account, instance.symbol, side, quantity, instance=instance)
    if limit is not None:
        order = changed(order, type=OrderType.LIMIT, time_in_force=TimeInForce.IOC, price=limit)
    is_exit = is_hedge or side == Side.SELL
    return _Plan(account, order, rules, limit or reference_price, is_exit=is_exit, flattens=flattens, cause="arbitrage")


async def place_legs(
    desk: Desk, tenant: Tenant, plans: Sequence[_Plan], rows: Sequence[Model], *, tries_once: bool = True
) -> Denial | None:
    """Orders of one instance that go out together or not at all: risk for each, one transaction with ``rows``, then all
    are sent at the same time. The denial, where something stands against one of them; nothing is written then.

    With ``tries_once`` an order that the exchange didn't take isn't sent again: the other side wouldn't wait for it.
    Raises NotReady.
    """
    for plan in plans:
        _keep_fresh(desk, tenant, plan)
        _keep_pace(desk, tenant.state, plan)
        if isinstance(denial := _verdict(desk, tenant.state, plan), Denial) and not plan.flattens:
            return denial
    deadline, deadline_at = desk.send_deadline(tenant.shard)
    for plan in plans:
        plan.order = changed(plan.order, expires_at=_expiry(desk, plan))
    lives = [_live_order(tenant, plan, deadline_at) for plan in plans]
    writes = tenant.write_set()
    if not any(plan.flattens for plan in plans):
        first, last = plans[0].order, plans[-1].order
        writes.intent = Scope(tenant.user_id, first.connection_id, first.instance_id, last.connection_id)
    writes.create(*rows)
    for plan, live in zip(plans, lives, strict=True):
        live.tries_once = tries_once
        writes.create(live.order, *live.rows(), *_traces(desk, plan, live))
    try:
        await desk.committer.commit(writes)
    except Killed as error:
        return Denial("kill_switch", str(error))
    except BadRow as error:
        return Denial("not_storable", str(error).splitlines()[0])
    for plan, live in zip(plans, lives, strict=True):
        tenant.state.remember(live)
        sending.start_send(desk, tenant, plan.account, live, deadline, flattens=plan.flattens)
        desk.figures["orders"] += 1
        news.tell_order(desk, live)
    return None


async def deny_signal(desk: Desk, tenant: Tenant, signal: Signal, denial: Denial) -> None:
    """Keeps a signal that led to nothing, with the reason."""
    desk.figures["denials"] += 1
    await _deny_signal(desk, tenant, signal, denial.rule, denial.reason)


def _verdict(desk: Desk, state: TenantState, plan: _Plan) -> Allow | Denial:
    if plan.account.connection.status != ConnectionStatus.OK and not plan.is_exit:
        return Denial("connection_unhealthy", plan.account.connection.status_reason or "its key doesn't work")
    if not plan.account.entries_open and not plan.is_exit:
        return Denial("catching_up", "the account's state is being read from the exchange, try again shortly")
    if not plan.is_exit and (why := desk.pool.watch.reason(plan.account.connection.feed)):
        return Denial("watch_only", f"the exchange is only watched at the moment: {why}")
    if not plan.is_exit and (gap := _price_gap(desk, plan)) is not None:
        return Denial("price_gap", f"the price has jumped by {percent(gap)}: its order book is being read anew")
    return evaluate(_intent(plan), _risk_state(desk, state, plan), _limits(state, plan), desk.rules)


def _price_gap(desk: Desk, plan: _Plan) -> Decimal | None:
    instrument = (plan.account.connection.feed, plan.order.symbol)
    return desk.gaps.unconfirmed(instrument, int(desk.clock.now().timestamp() * 1e9))


def _intent(plan: _Plan) -> Intent:
    return Intent(
        plan.order.symbol,
        plan.rules.base,
        plan.rules.quote,
        Side(plan.order.side),
        type_sent(plan.order.type),
        plan.order.quantity,
        plan.reference_price,
        is_exit=plan.is_exit,
        margin=_to_reserve(plan) if plan.leverage is not None else None,
        leverage=plan.leverage,
    )


def _limits(state: TenantState, plan: _Plan) -> Any:
    return state.limits(plan.account.connection.pk, plan.order.instance_id)


def _spent_asset(plan: _Plan) -> str:
    spends_quote = plan.order.side == Side.BUY or plan.leverage is not None
    return plan.rules.quote if spends_quote else plan.rules.base


def _to_reserve(plan: _Plan) -> Decimal:
    """What the order can spend at most, or tie up as margin; closing a position ties up nothing."""
    if plan.leverage is None and plan.order.side == Side.SELL:
        return Decimal(plan.order.quantity)
    if plan.leverage is not None and plan.is_exit:
        return ZERO
    above = _MARKET_MARGIN if type_sent(plan.order.type) == OrderType.MARKET else ZERO
    return settle(plan.order.quantity * plan.reference_price * (1 + above) / (plan.leverage or 1))


def _risk_state(desk: Desk, state: TenantState, plan: _Plan) -> RiskState:
    account, symbol, quote = plan.account, plan.order.symbol, plan.rules.quote
    key = account.connection.pk
    opened = [live for live in state.open_orders(key) if live.order.pk != plan.order.pk]
    adding = [live for live in opened if _adds(live)]
    position = account.positions.get(symbol)
    held = abs(position.quantity) if position else ZERO
    today = desk.clock.now().date()
    metrics = account.metrics.get((today, quote))
    return RiskState(
        available=available(
            state, account, _spent_asset(plan), is_exit=plan.is_exit, tied_up=_tied_up(desk, account, quote),
            besides=plan.order.oco_group or plan.order.pk,
        ),
        position_quantity=held,
        position_worth=held * plan.reference_price,
        pending_buy_quantity=sum((live.remaining for live in adding if live.order.symbol == symbol), ZERO),
        exposure=_exposure(desk, account, quote)
        + sum((_pending_worth(desk, account, live) for live in adding if quote_of(live.order.symbol) == quote), ZERO),
        realized_today=metrics.realized_pnl if metrics else ZERO,
        drawdown_today=metrics.peak_pnl - metrics.realized_pnl if metrics else ZERO,
        trades_today=sum(row.trade_count for (day, _), row in account.metrics.items() if day == today),
        open_orders=len(opened),
        kill_switch="" if plan.flattens else state.killed(key, plan.order.instance_id),
        depth=desk.depth(account.connection.feed, symbol, Side(plan.order.side)),
        bitcoin_price=desk.price(account.connection.feed, bitcoin_in(symbol), Side(plan.order.side)),
    )


def _adds(live: LiveOrder) -> bool:
    """Whether an open order can add to what is held."""
    return not live.order.reduce_only if is_on_margin(live.order.symbol) else live.order.side == Side.BUY


def _pending_worth(desk: Desk, account: Account, live: LiveOrder) -> Decimal:
    """What an open order would add: on margin much more than what is reserved for it."""
    reserved = live.reservation.remaining if live.reservation else ZERO
    if not is_on_margin(live.order.symbol):
        return reserved
    price = live.order.price or desk.price(account.connection.feed, live.order.symbol, Side(live.order.side))
    return live.remaining * price if price else reserved


def _tied_up(desk: Desk, account: Account, asset: str) -> Decimal:
    """What positions on margin keep of an asset: their margin at the average price, and their losses on paper."""
    tied = ZERO
    for symbol, position in account.positions.items():
        if is_on_margin(symbol) and quote_of(symbol) == asset and position.quantity:
            mark = desk.price(account.connection.feed, symbol, Side.SELL) or position.average_price
            worth = abs(position.quantity) * position.average_price
            lost = position.quantity * (position.average_price - mark)
            tied += settle(worth / account.leverage.get(symbol, 1)) + max(lost, ZERO)
    return tied


def available(
    state: TenantState,
    account: Account,
    asset: str,
    *,
    is_exit: bool,
    tied_up: Decimal = ZERO,
    besides: UUID | None = None,
) -> Decimal:
    """What may still be spent: total less reservations (but that of the order ``besides``) and what positions tie up,
    less what orders placed elsewhere lock, less the reserve that entries keep back."""
    balance = account.balances.get(asset)
    if balance is None:
        return ZERO
    reserved = state.reserved(account.connection.pk, asset, besides) + tied_up
    foreign = max(balance.locked - reserved, ZERO)
    reserve = ZERO if is_exit else balance.total * _RESERVE_RATE
    left: Decimal = balance.total - reserved - foreign - reserve
    return max(left, ZERO)


def _exposure(desk: Desk, account: Account, quote: str) -> Decimal:
    """Worth of the connection's positions, long or short, that are quoted in this asset, at the bid where one is
    known."""
    total = ZERO
    for symbol, position in account.positions.items():
        if position.quantity and quote_of(symbol) == quote:
            mark = desk.price(account.connection.feed, symbol, Side.SELL) or position.average_price
            total += abs(position.quantity) * mark
    return total


def _expiry(desk: Desk, plan: _Plan) -> datetime | None:
    quote = desk.price(plan.account.connection.feed, plan.order.symbol, Side(plan.order.side))
    return order_life.expiry(plan.order, desk.clock.now(), quote)


def _live_order(tenant: Tenant, plan: _Plan, deadline_at: datetime) -> LiveOrder:
    attempt = sending.attempt(tenant, plan.order, 1, deadline_at)
    order = changed(
        plan.order,
        status=OrderStatus.PENDING,
        client_order_id=attempt.client_order_id,
        expected_price=settle(plan.reference_price),
    )
    decided_at = plan.signal.decided_at if plan.signal else None
    return LiveOrder(order, attempt, _reservation(tenant, plan), decided_at=decided_at)


def _held_order(tenant: Tenant, plan: _Plan) -> LiveOrder:
    """What waits for its trigger. Of orders that cancel each other the first reserves for all: one of them is sent."""
    order = changed(plan.order, status=OrderStatus.WAITING)
    return LiveOrder(order, None, _reservation(tenant, plan) if order.oco_group is None else None)


def _reservation(tenant: Tenant, plan: _Plan) -> Reservation:
    """What is set aside for the order; one that has waited has its own already."""
    amount = _to_reserve(plan)
    known = tenant.state.orders.get(plan.order.pk)
    if known is not None and known.reservation is not None:
        return changed(known.reservation, amount=amount, remaining=amount)
    return Reservation(
        order_id=plan.order.pk,
        user_id=tenant.user_id,
        connection_id=plan.order.connection_id,
        asset=_spent_asset(plan),
        amount=amount,
        remaining=amount,
    )


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
    await _end_unsent(desk, tenant, account, order, OrderStatus.REJECTED, code, reason)


async def _end_unsent(
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
