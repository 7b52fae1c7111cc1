"""An order on its way through risk into the database, and what follows from it alone."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from connections.gateways import OrderType, Side, SymbolRules, TimeInForce
from desproject.lib.errors import DomainError
from desproject.lib.money import ZERO, settle
from risk.engine import Intent
from trading.engine.desk import Desk
from trading.engine.state import Account, TenantState, changed
from trading.engine.tenant import Tenant
from trading.models import Order, Signal, StrategyInstance
from trading.order_states import OrderStatus
from trading.order_types import TRIGGERED, type_sent
from trading.positions import is_on_margin

# A market buy may fill above the quote that it was decided on: so much more is reserved.
_MARKET_MARGIN = Decimal("0.01")


class NotReady(DomainError):
    """Something that a decision needs isn't there yet; a moment later it may be."""

    code = "NOT_READY"
    status = 503


@dataclass(slots=True)
class Plan:
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


def waits(order: Order) -> bool:
    """Whether the order is to be held until the market has reached its trigger."""
    return order.type in TRIGGERED and order.triggered_at is None


def price_of(desk: Desk, account: Account, symbol: str, side: Side, *, is_exit: bool = False) -> Decimal:
    """What an order at the market is expected to fill at. Raises NotReady while no price is known, and for one that is
    older than ``quote_max_age_seconds``: nobody may have wanted to hear of the symbol since. An exit goes out at the
    market of its moment whatever was told last."""
    feed = account.connection.feed
    price = desk.price(feed, symbol, side)
    if price is None:
        raise NotReady(f"no price of {symbol} is known yet")
    if not is_exit and not desk.is_fresh(feed, symbol):
        raise NotReady(f"the newest price of {symbol} is too old")
    return price


def market_order(
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
        paper=account.connection.is_paper,
        time_in_force=TimeInForce.GTC,
        quantity=quantity,
        status=OrderStatus.NEW,
    )


async def with_leverage(desk: Desk, tenant: Tenant, plan: Plan) -> Plan:
    """The plan with what only contracts have: the leverage; and what passes here as an exit is one there too."""
    if is_on_margin(plan.order.symbol):
        plan.leverage = await desk.leverage(tenant, plan.account, plan.order.symbol)
        plan.order = changed(plan.order, reduce_only=plan.is_exit)
    return plan


def intent(plan: Plan) -> Intent:
    return Intent(
        plan.order.symbol,
        plan.rules.base,
        plan.rules.quote,
        Side(plan.order.side),
        type_sent(plan.order.type),
        plan.order.quantity,
        plan.reference_price,
        is_exit=plan.is_exit,
        margin=to_reserve(plan) if plan.leverage is not None else None,
        leverage=plan.leverage,
    )


def limits(state: TenantState, plan: Plan) -> Any:
    return state.limits(plan.account.connection.pk, plan.order.instance_id)


def spent_asset(plan: Plan) -> str:
    spends_quote = plan.order.side == Side.BUY or plan.leverage is not None
    return plan.rules.quote if spends_quote else plan.rules.base


def to_reserve(plan: Plan) -> Decimal:
    """What the order can spend at most, or tie up as margin; closing a position ties up nothing."""
    if plan.leverage is None and plan.order.side == Side.SELL:
        return Decimal(plan.order.quantity)
    if plan.leverage is not None and plan.is_exit:
        return ZERO
    above = _MARKET_MARGIN if type_sent(plan.order.type) == OrderType.MARKET else ZERO
    return settle(plan.order.quantity * plan.reference_price * (1 + above) / (plan.leverage or 1))
