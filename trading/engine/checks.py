"""What stands between a plan and its commit: fresh balances, the connection's pace, and risk's verdict."""

from decimal import Decimal

from django.conf import settings

from connections.models import ConnectionStatus
from risk.engine import Allow, Denial, evaluate
from risk.rules import percent
from trading.engine import plans, reconciliation, risk_state
from trading.engine.desk import Desk
from trading.engine.plans import NotReady, Plan
from trading.engine.state import Account, TenantState
from trading.engine.tenant import Tenant


def keep_plan_fresh(desk: Desk, tenant: Tenant, plan: Plan) -> None:
    """Exits pass."""
    if not plan.is_exit:
        keep_fresh(desk, tenant, plan.account)


def keep_fresh(desk: Desk, tenant: Tenant, account: Account) -> None:
    """Raises NotReady where nothing has told for long what the account holds: it is asked for first."""
    age = desk.clock.monotonic() - max(account.heard_at, account.asked_at)
    if age > settings.CONFIG.balance_max_age_seconds:
        reconciliation.catch_up(desk, tenant, account)
        raise NotReady("the account's balances are being read from the exchange: they are too old")


def keep_pace(desk: Desk, state: TenantState, plan: Plan) -> None:
    """Raises NotReady where the connection has sent as many orders in the last second as it may; exits pass."""
    most = settings.CONFIG.rate_limit_orders
    limit = min(plans.limits(state, plan).max_orders_per_second or most, most)
    if not plan.is_exit and not plan.account.pace.has_room(desk.clock.monotonic(), limit):
        desk.figures["paced"] += 1
        raise NotReady(f"the connection sends {limit} orders a second at most")


def verdict(desk: Desk, state: TenantState, plan: Plan) -> Allow | Denial:
    if plan.account.connection.status != ConnectionStatus.OK and not plan.is_exit:
        return Denial("connection_unhealthy", plan.account.connection.status_reason or "its key doesn't work")
    if not plan.account.entries_open and not plan.is_exit:
        return Denial("catching_up", "the account's state is being read from the exchange, try again shortly")
    if not plan.is_exit and (why := desk.pool.watch.reason(plan.account.connection.feed)):
        return Denial("watch_only", f"the exchange is only watched at the moment: {why}")
    if not plan.is_exit and (gap := _price_gap(desk, plan)) is not None:
        return Denial("price_gap", f"the price has jumped by {percent(gap)}: its order book is being read anew")
    return evaluate(plans.intent(plan), risk_state.of_plan(desk, state, plan), plans.limits(state, plan), desk.rules)


def _price_gap(desk: Desk, plan: Plan) -> Decimal | None:
    instrument = (plan.account.connection.feed, plan.order.symbol)
    return desk.gaps.unconfirmed(instrument, int(desk.clock.now().timestamp() * 1e9))
