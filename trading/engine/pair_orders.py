"""Orders of an arbitrage: those of one fire go out together or not at all."""

from collections.abc import Sequence
from decimal import Decimal

from django.db.models import Model

from connections.gateways import OrderType, Side, SymbolRules, TimeInForce
from risk.engine import Denial
from trading.engine import checks, news, placing, plans, sending
from trading.engine.committer import BadRow, Killed, Scope
from trading.engine.desk import Desk
from trading.engine.plans import Plan
from trading.engine.state import Account, changed
from trading.engine.tenant import Tenant
from trading.models import StrategyInstance


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
) -> Plan:
    """An order of an arbitrage: at the market, or at once at ``limit`` or better. Hedges pass every entry rule."""
    order = plans.market_order(tenant, account, instance.symbol, side, quantity, instance=instance)
    if limit is not None:
        order = changed(order, type=OrderType.LIMIT, time_in_force=TimeInForce.IOC, price=limit)
    is_exit = is_hedge or side == Side.SELL
    return Plan(account, order, rules, limit or reference_price, is_exit=is_exit, flattens=flattens, cause="arbitrage")


async def place_legs(
    desk: Desk, tenant: Tenant, planned: Sequence[Plan], rows: Sequence[Model], *, tries_once: bool = True
) -> Denial | None:
    """Orders of one instance that go out together or not at all: risk for each, one transaction with ``rows``, then all
    are sent at the same time. The denial, where something stands against one of them; nothing is written then.

    With ``tries_once`` an order that the exchange didn't take isn't sent again: the other side wouldn't wait for it.
    Raises NotReady.
    """
    for plan in planned:
        checks.keep_plan_fresh(desk, tenant, plan)
        checks.keep_pace(desk, tenant.state, plan)
        if isinstance(denial := checks.verdict(desk, tenant.state, plan), Denial) and not plan.flattens:
            return denial
    deadline, deadline_at = desk.send_deadline(tenant.shard)
    for plan in planned:
        plan.order = changed(plan.order, expires_at=placing.expiry(desk, plan))
    lives = [placing.live_order(tenant, plan, deadline_at) for plan in planned]
    writes = tenant.write_set()
    if not any(plan.flattens for plan in planned):
        first, last = planned[0].order, planned[-1].order
        writes.intent = Scope(tenant.user_id, first.connection_id, first.instance_id, last.connection_id)
    writes.create(*rows)
    for plan, live in zip(planned, lives, strict=True):
        live.tries_once = tries_once
        writes.create(live.order, *live.rows(), *placing.traces(desk, plan, live))
    try:
        await desk.committer.commit(writes)
    except Killed as error:
        return Denial("kill_switch", str(error))
    except BadRow as error:
        return Denial("not_storable", str(error).splitlines()[0])
    for plan, live in zip(planned, lives, strict=True):
        tenant.state.remember(live)
        sending.start_send(desk, tenant, plan.account, live, deadline, flattens=plan.flattens)
        desk.figures["orders"] += 1
        news.tell_order(desk, live)
    return None
