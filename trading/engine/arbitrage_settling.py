"""What comes after a fire: as long as its orders are under way, what can't help any more is cancelled; once all have
ended, what one side has more than the other is hedged at once, until both are even (ARB-3).

Everything follows from rows: a fire, its orders and their fills. A process that takes over goes on from there, and a
hedge is only sent when every order before it has ended for sure, so nothing is hedged twice.
"""

import asyncio
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import partial
from uuid import UUID

import structlog

from accounts.tenancy import tenant_scope
from audit.models import AuditLog
from audit.record import entry
from connections.database import run as run_in_db
from connections.gateways import Side, SymbolRules
from desproject.lib.errors import DomainError
from desproject.lib.money import ZERO, exact, plain
from risk.engine import Denial
from risk.models import KillLevel
from trading.arbitrage.outcome import Filled, Outcome, outcome
from trading.engine import pair_orders, risk_state, wishes
from trading.engine.desk import Desk
from trading.engine.pairs import OpenFire, read_fire
from trading.engine.state import Account, LiveOrder, changed, load_order
from trading.engine.tenant import Tenant
from trading.models import ArbitrageFire, ArbitrageLeg, FireStatus, LegRole, Order, StrategyInstance
from trading.order_states import WORKING
from trading.sizing import sellable

log = structlog.get_logger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_REOPEN_PAUSE = 1.0
# What is ordered to make an exposure large enough is so much above the exchange's minimum.
_ABOVE_MINIMUM = Decimal("1.1")


def on_booked(desk: Desk, tenant: Tenant, order: Order) -> None:
    """Something of an order was booked: if it is an arbitrage's, its fire may go on."""
    instance = tenant.state.instances.get(order.instance_id) if order.instance_id else None
    if instance is None or instance.connection_b_id is None:
        return
    if (opened := tenant.state.pairs.of_order(order.pk)) is not None:
        _look(desk, tenant, opened.fire.instance_id)
    else:
        tenant.post(partial(_reopen, desk, tenant, order.pk))


def chase(desk: Desk, tenant: Tenant) -> None:
    """Looks after every fire that isn't settled: after a restart, a reload, a hedge that couldn't be sent."""
    for instance_id in list(tenant.state.pairs.fires):
        _look(desk, tenant, instance_id)


def _look(desk: Desk, tenant: Tenant, instance_id: UUID) -> None:
    tenant.post(partial(_go_on, desk, tenant, instance_id), key=("settle", instance_id))


async def _reopen(desk: Desk, tenant: Tenant, order_id: UUID) -> None:
    """An order of a settled fire has traded after all (given up as never sent, and there nevertheless)."""
    if tenant.state.pairs.of_order(order_id) is not None:
        return
    opened = await run_in_db(_read_fire, tenant.user_id, order_id)
    if opened is None:
        return
    if opened.fire.instance_id in tenant.state.pairs.fires:  # one at a time: this one's turn comes when that is even
        desk.spawn(_reopen_later(desk, tenant, order_id), f"reopen-{order_id}")
        return
    tenant.state.pairs.take(opened)
    await _go_on(desk, tenant, opened.fire.instance_id)


async def _reopen_later(desk: Desk, tenant: Tenant, order_id: UUID) -> None:
    await asyncio.sleep(_REOPEN_PAUSE)
    tenant.post(partial(_reopen, desk, tenant, order_id), key=("reopen", order_id))


def _read_fire(user_id: UUID, order_id: UUID) -> OpenFire | None:
    with tenant_scope(user_id):
        return read_fire(order_id)


async def _go_on(desk: Desk, tenant: Tenant, instance_id: UUID) -> None:
    opened = tenant.state.pairs.fires.get(instance_id)
    if opened is None:
        return
    lives = [await _live(tenant, leg) for leg in opened.legs]
    if not all(live.is_whole for live in lives):
        _cancel_what_helps_no_more(desk, tenant, lives)
        return
    found = outcome([_filled(leg, live) for leg, live in zip(opened.legs, lives, strict=True)])
    if not found.exposure:
        await _settle(desk, tenant, opened, lives, found)
        return
    await _record_exposure(desk, tenant, opened, lives, found)
    if desk.clock.monotonic() >= opened.hedge_after:
        await _hedge(desk, tenant, opened, lives, found.exposure)


async def _live(tenant: Tenant, leg: ArbitrageLeg) -> LiveOrder:
    known = tenant.state.orders.get(leg.order_id)
    if known is None:
        known = await run_in_db(_read_order, tenant.user_id, leg.order_id)
        tenant.state.remember(known)
    return known


def _read_order(user_id: UUID, order_id: UUID) -> LiveOrder:
    with tenant_scope(user_id):
        return load_order(Order.objects.get(pk=order_id))


def _filled(leg: ArbitrageLeg, live: LiveOrder) -> Filled:
    base, _, quote = live.order.symbol.partition(":")[0].partition("/")
    fees = {asset: Decimal(amount) for asset, amount in live.order.fee.items()}
    with exact():
        return Filled(
            Side(live.order.side),
            leg.role == LegRole.HEDGE,
            live.order.filled_quantity,
            sum((quantity * price for quantity, price in live.fills.values()), ZERO),
            fees.get(quote, ZERO),
            fees.get(base, ZERO),
        )


def _cancel_what_helps_no_more(desk: Desk, tenant: Tenant, lives: list[LiveOrder]) -> None:
    """One side has ended short: what the other still waits for would only be hedged."""
    if any(live.is_whole and live.remaining for live in lives):
        for live in lives:
            if live.order.status in WORKING:
                wishes.start_cancel(desk, tenant, live, None)


# Even.


async def _settle(
    desk: Desk, tenant: Tenant, opened: OpenFire, lives: list[LiveOrder], found: Outcome
) -> None:
    now = desk.clock.now()
    answered = [live.order.acknowledged_at for live in lives[:2] if live.order.acknowledged_at is not None]
    latency = max(answered) - opened.fire.created_at if answered else None
    row = changed(
        opened.fire,
        status=FireStatus.SETTLED,
        bought_quantity=found.bought,
        sold_quantity=found.sold,
        profit=found.profit,
        exposure_cost=found.exposure_cost,
        latency_ms=None if latency is None else latency.total_seconds() * 1000,
        settled_at=now,
    )
    writes = tenant.write_set()
    writes.update(
        row, "status", "bought_quantity", "sold_quantity", "profit", "exposure_cost", "latency_ms", "settled_at"
    )
    writes.create(_event(desk, row, "arbitrage.settled", {
        "expected": plain(row.expected_profit), "profit": plain(found.profit), "quantity": plain(found.bought),
        "exposure_cost": plain(found.exposure_cost),
    }))  # fmt: skip
    await desk.committer.commit(writes)
    tenant.state.pairs.settle(row)
    desk.figures["arbitrage_settled"] += 1


# Uneven.


async def _record_exposure(
    desk: Desk, tenant: Tenant, opened: OpenFire, lives: list[LiveOrder], found: Outcome
) -> None:
    """Once, with the time from which one side stood alone; its owner is told."""
    if opened.fire.status == FireStatus.EXPOSED:
        return
    filled_at = [live.order.acknowledged_at for live in lives if live.order.filled_quantity]
    since = min((moment for moment in filled_at if moment is not None), default=desk.clock.now())
    row = changed(
        opened.fire, status=FireStatus.EXPOSED, exposed_quantity=found.exposure, exposed_at=since, settled_at=None
    )
    writes = tenant.write_set()
    writes.update(row, "status", "exposed_quantity", "exposed_at", "settled_at")
    details = {"quantity": plain(found.exposure), "bought": plain(found.bought), "sold": plain(found.sold)}
    writes.create(_event(desk, row, "arbitrage.exposed", details))
    await desk.committer.commit(writes)
    opened.fire = row
    desk.figures["arbitrage_exposures"] += 1
    log.warning("arbitrage_exposed", fire_id=str(row.pk), quantity=plain(found.exposure))


@dataclass(frozen=True, slots=True)
class _Hedge:
    account: Account
    rules: SymbolRules
    side: Side
    quantity: Decimal
    price: Decimal


async def _hedge(desk: Desk, tenant: Tenant, opened: OpenFire, lives: list[LiveOrder], exposure: Decimal) -> None:
    """Sends what evens the sides out; what can't be sent now is tried again, less and less often, for ever."""
    opened.hedge_after = desk.clock.monotonic() + min(_FIRST_PAUSE * 2**opened.tries, _LONGEST_PAUSE)
    opened.tries += 1
    try:
        sent = await _send_hedge(desk, tenant, opened, lives, exposure)
    except DomainError as error:
        sent = False
        log.warning("hedge_waits", fire_id=str(opened.fire.pk), code=error.code, reason=error.message)
    if not sent:
        pause = opened.hedge_after - desk.clock.monotonic()
        desk.spawn(_again(desk, tenant, opened.fire.instance_id, pause), f"hedge-{opened.fire.pk}")


async def _again(desk: Desk, tenant: Tenant, instance_id: UUID, pause: float) -> None:
    await asyncio.sleep(max(pause, 0.0))
    _look(desk, tenant, instance_id)


async def _send_hedge(
    desk: Desk, tenant: Tenant, opened: OpenFire, lives: list[LiveOrder], exposure: Decimal
) -> bool:
    instance = tenant.state.instances.get(opened.fire.instance_id)
    if instance is None:  # deleted meanwhile: its owner has been told of the exposure
        return False
    hedge = await _choose(desk, tenant, opened.fire, lives, exposure)
    if hedge is None:
        return False
    flattens = _is_flattened(tenant, hedge.account, instance)
    plan = pair_orders.leg(
        tenant, hedge.account, instance, hedge.rules, hedge.side, hedge.quantity,
        reference_price=hedge.price, is_hedge=True, flattens=flattens,
    )  # fmt: skip
    leg = ArbitrageLeg(
        user_id=tenant.user_id, order_id=plan.order.pk, fire_id=opened.fire.pk, role=LegRole.HEDGE
    )
    denial = await pair_orders.place_legs(desk, tenant, [plan], [leg], tries_once=False)
    if isinstance(denial, Denial):
        log.warning("hedge_denied", fire_id=str(opened.fire.pk), rule=denial.rule, reason=denial.reason)
        return False
    opened.legs.append(leg)
    desk.figures["arbitrage_hedges"] += 1
    return True


async def _choose(
    desk: Desk, tenant: Tenant, fire: ArbitrageFire, lives: list[LiveOrder], exposure: Decimal
) -> _Hedge | None:
    """On the side that was filled, else on the other one; a side whose steps leave nothing over comes first.

    What is too little for any order is first made enough by a little more of the same; then all of it is hedged.
    """
    side, same = (Side.SELL, Side.BUY) if exposure > 0 else (Side.BUY, Side.SELL)
    known = [
        (account, await desk.symbol_rules(tenant, account, fire.symbol))
        for account in _sides(tenant, fire, exposure)
        if account.is_known
    ]
    known.sort(key=lambda pair: bool(pair[1].quantity_step and exposure % pair[1].quantity_step))
    for account, rules in known:
        price = _price(desk, account, fire.symbol, side, lives)
        most = min(abs(exposure), _affordable(tenant, account, rules, side, price))
        if quantity := sellable(rules, most, price):
            return _Hedge(account, rules, side, quantity, price)
    for account, rules in known[:1]:
        price = _price(desk, account, fire.symbol, same, lives)
        if abs(exposure) < (least := _least(rules, price)):
            return _Hedge(account, rules, same, least, price)
    return None


def _sides(tenant: Tenant, fire: ArbitrageFire, exposure: Decimal) -> list[Account]:
    """The one that was filled further, then the other; not those whose connection is gone."""
    both = (fire.buy_connection_id, fire.sell_connection_id)
    found = [tenant.state.accounts.get(key) for key in (both if exposure > 0 else reversed(both))]
    return [account for account in found if account is not None]


def _affordable(tenant: Tenant, account: Account, rules: SymbolRules, side: Side, price: Decimal) -> Decimal:
    asset = rules.base if side == Side.SELL else rules.quote
    left = risk_state.available(tenant.state, account, asset, is_exit=True)
    return left if side == Side.SELL else left / (price * Decimal("1.01"))


def _least(rules: SymbolRules, price: Decimal) -> Decimal:
    """A little more than the least that the exchange takes."""
    with exact():
        least = max(rules.min_quantity, rules.min_notional / price, rules.quantity_step) * _ABOVE_MINIMUM
        step = rules.quantity_step
        return (least / step).to_integral_value(rounding=ROUND_CEILING) * step if step else least


def _price(desk: Desk, account: Account, symbol: str, side: Side, lives: list[LiveOrder]) -> Decimal:
    """What the hedge is judged by: it must go out where no book is known, too."""
    known = desk.price(account.connection.feed, symbol, side)
    if known is not None:
        return known
    paid: list[Decimal] = [live.order.average_price for live in lives if live.order.average_price]
    return max(paid)  # there is an exposure, so something was filled


def _is_flattened(tenant: Tenant, account: Account, instance: StrategyInstance) -> bool:
    """Whether a kill switch that wants everything closed covers the hedge; others hold it back until they are
    lifted."""
    targets = (tenant.user_id, account.connection.pk, instance.pk)
    return any(
        switch.flatten and (switch.level == KillLevel.SYSTEM or switch.target_id in targets)
        for switch in tenant.state.switches
    )


def _event(desk: Desk, fire: ArbitrageFire, event: str, details: dict[str, str]) -> AuditLog:
    return entry(
        event,
        user_id=fire.user_id,
        resource_type="strategy_instance",
        resource_id=fire.instance_id,
        details={"fire": str(fire.pk), "symbol": fire.symbol, **details},
        at=desk.clock.now(),
    )


