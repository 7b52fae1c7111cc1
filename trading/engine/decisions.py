"""From a signal or a request to a decision: what can't be decided yet waits, the rest is placed or denied."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

from django.conf import settings

from connections.database import run as run_in_db
from connections.gateways import NothingHappened, Side, UnexpectedShape
from desproject.lib.errors import DomainError
from desproject.lib.money import ZERO, settle
from trading import order_life
from trading.engine import checks, cool_down, denying, placing, planning, plans, replacing
from trading.engine.desk import Desk
from trading.engine.plans import NotReady, Plan
from trading.engine.state import Account
from trading.engine.tenant import Tenant
from trading.models import Decision, InstanceStatus, Order, Signal, StrategyInstance
from trading.order_states import OrderStatus
from trading.positions import is_on_margin
from trading.sizing import sellable
from trading.strategies.contract import ENTER

# What a moment later may be otherwise: nothing was sent, and one answer that can't be read (an error page) says nothing
# of the next. A stop that was triggered must not end by it.
_WAITS = (NotReady, NothingHappened, UnexpectedShape)
# How long what can't be decided yet waits for its next try.
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a strategy wants, before anything is checked. ``price`` is what it saw."""

    instance_id: UUID
    event_key: str
    action: int
    price: Decimal
    seen: dict[str, float]
    observed_ns: int
    # Of a stop attached to the instance: it sells what a paused or failed instance holds, too.
    protects: bool = False


async def on_signal(desk: Desk, tenant: Tenant, candidate: Candidate) -> None:
    """A strategy acted. What can't lead anywhere (already in, nothing to exit) leaves no row."""
    instance = tenant.state.instances.get(candidate.instance_id)
    if instance is None or instance.status == InstanceStatus.STOPPED:
        return
    if instance.status != InstanceStatus.RUNNING and not candidate.protects:
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
        plan = await planning.plan_for_signal(desk, tenant, account, instance, signal)
        if plan is not None and not plan.is_exit:
            await cool_down.require_over(instance, desk.clock)
        if plan is not None:
            checks.keep_plan_fresh(desk, tenant, plan)
            checks.keep_pace(desk, tenant.state, plan)
    except DomainError as error:
        passes = isinstance(error, _WAITS)
        if not (passes and _decide_later(desk, tenant, candidate)):
            await denying.keep_denied(desk, tenant, signal, error.code.lower(), error.message)
        return
    if plan is not None:
        desk.figures["signals"] += 1
        await placing.place(desk, tenant, plan)


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


async def on_new_order(desk: Desk, tenant: Tenant, order_id: UUID, order: Order | None = None) -> None:
    """An order row in ``new`` waits (from the API); it is read unless given."""
    order = order or await run_in_db(denying.read_new, tenant.user_id, order_id)
    if order is None:
        return
    account = tenant.state.accounts.get(order.connection_id)
    if account is None:
        if order.connection.is_deleted:  # just before the order came
            gone = Account(order.connection)
            await denying.deny_order(desk, tenant, gone, order, "CONNECTION_DELETED", "the connection was deleted")
        return  # else it is so new that the next look finds it
    if order.expires_at is not None and order.expires_at <= desk.clock.now():
        await denying.end_unsent(desk, tenant, account, order, OrderStatus.EXPIRED, "EXPIRED", "its time was over")
        return
    try:
        if not account.is_known:  # an exchange that is away isn't asked for each order: that would hold up all others
            raise NotReady("the account's state is being read from the exchange")
        order = await replacing.in_its_place(tenant, order)
        plan = await planning.plan_for_order(desk, tenant, account, order)
        planning.check_group(desk, tenant, order)
        if not (plan.is_exit or account.entries_open):
            raise NotReady("the account's state is being read from the exchange")
        checks.keep_plan_fresh(desk, tenant, plan)
        checks.keep_pace(desk, tenant.state, plan)
    except replacing.StillThere:
        _decide_order_later(desk, tenant, order_id)
    except _WAITS as error:
        # The row stays as it is: the sweep comes back to it. Only what is meant to fill at once grows too old.
        too_old = order.triggered_at is None and desk.clock.now() - order.created_at > order_life.patience(order)
        if too_old and order_life.never_rests(order):
            await denying.deny_order(desk, tenant, account, order, error.code, error.message)
    except DomainError as error:
        reasons = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in error.fields.items())
        await denying.deny_order(desk, tenant, account, order, error.code, reasons or error.message)
    else:
        await placing.place(desk, tenant, plan)


async def flatten(
    desk: Desk, tenant: Tenant, account: Account, symbol: str, held: Decimal, instance: StrategyInstance | None = None
) -> None:
    """Sells what is held of a symbol at market (buys back what is below 0), under a kill switch too. Dust stays."""
    rules = await desk.symbol_rules(tenant, account, symbol)
    if is_on_margin(symbol):
        rules = replace(rules, min_notional=ZERO)
    side = Side.SELL if held > 0 else Side.BUY
    price = plans.price_of(desk, account, symbol, side, is_exit=True)
    quantity = sellable(rules, abs(held), price)
    if not quantity:
        return
    order = plans.market_order(tenant, account, symbol, side, quantity, instance=instance)
    plan = Plan(account, order, rules, price, is_exit=True, flattens=True)
    await placing.place(desk, tenant, await plans.with_leverage(desk, tenant, plan))


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
