"""From a signal or a requested order to a plan: rounded, sized, its trigger set, cut to what can be reduced."""

from dataclasses import replace
from decimal import Decimal
from functools import partial

from connections.gateways import Side, SymbolRules
from desproject.lib.errors import InvalidInput
from desproject.lib.money import ZERO, plain
from trading import order_life, trigger_prices
from trading.engine import plans
from trading.engine.desk import Desk
from trading.engine.plans import NotReady, Plan
from trading.engine.state import Account, TenantState, changed
from trading.engine.tenant import Tenant
from trading.engine.worth import worth_now
from trading.models import Order, Signal, StrategyInstance
from trading.order_states import OrderStatus
from trading.order_types import OrderKind, type_sent
from trading.positions import is_on_margin
from trading.sizing import parse_sizing, quantity_for, round_order, sellable


async def plan_for_signal(
    desk: Desk, tenant: Tenant, account: Account, instance: StrategyInstance, signal: Signal
) -> Plan | None:
    """None where the signal can't lead anywhere: an entry while in, an exit with nothing (or only dust) to sell."""
    enters = signal.action == "enter"
    rules = await desk.symbol_rules(tenant, account, instance.symbol)
    side = Side.BUY if enters else Side.SELL
    price = plans.price_of(desk, account, instance.symbol, side, is_exit=not enters)
    held = sellable(rules, instance.held_quantity, price)
    if enters == bool(held):
        return None
    worth = partial(worth_now, desk, account, rules.quote)
    quantity = quantity_for(parse_sizing(instance.sizing), price, rules, worth) if enters else held
    order = plans.market_order(tenant, account, instance.symbol, side, quantity, instance=instance, signal=signal)
    return await plans.with_leverage(
        desk, tenant, Plan(account, order, rules, price, is_exit=not enters, signal=signal)
    )


async def plan_for_order(desk: Desk, tenant: Tenant, account: Account, order: Order) -> Plan:
    rules = await desk.symbol_rules(tenant, account, order.symbol)
    side, kind = Side(order.side), type_sent(order.type)
    if plans.waits(order):
        order = _with_trigger(desk, account, order, rules)
    if order.reduce_only:
        order = within_position(tenant.state, account, order)
    is_exit = side == Side.SELL  # on spot every sale lowers what is held
    if is_on_margin(order.symbol):
        is_exit = order.quantity <= _closable(tenant.state, account, order)
    reference = order.price or _reference(desk, account, order, side, is_exit=is_exit)
    if is_exit and is_on_margin(order.symbol):
        rules = replace(rules, min_notional=ZERO)  # what closes may be as small as what is held
    quantity, price = round_order(rules, side, kind, order.quantity, order.price, reference_price=reference)
    rounded = changed(order, quantity=quantity, price=price)
    return await plans.with_leverage(desk, tenant, Plan(account, rounded, rules, price or reference, is_exit=is_exit))


def check_group(desk: Desk, tenant: Tenant, order: Order) -> None:
    """Raises NotReady, then InvalidInput, where the order that it is to wait with doesn't wait."""
    if not plans.waits(order) or order.oco_group is None or order.oco_group in tenant.state.waiting:
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
    now = plans.price_of(desk, account, order.symbol, Side(order.side))
    if order.type == OrderKind.TRAILING_STOP:
        return changed(order, stop_price=trigger_prices.trailing_price(order, now))
    order = changed(order, stop_price=trigger_prices.rounded(order, rules))
    if trigger_prices.is_reached(order, now):
        below = "below" if trigger_prices.fires_below(order) else "above"
        raise InvalidInput(
            "the market is there already", fields={"stop_price": [f"must be {below} the price, now {plain(now)}"]}
        )
    return order


def _reference(desk: Desk, account: Account, order: Order, side: Side, *, is_exit: bool) -> Decimal:
    """What an order without a limit is expected to fill at. What was triggered waits for no quote."""
    if plans.waits(order):
        return Decimal(order.stop_price)
    feed = account.connection.feed
    is_known = desk.is_fresh(feed, order.symbol) and not desk.is_distrusted(feed, order.symbol)
    if order.triggered_at is not None and (not is_known or desk.price(feed, order.symbol, side) is None):
        return Decimal(order.stop_price)
    return plans.price_of(desk, account, order.symbol, side, is_exit=is_exit)


def within_position(state: TenantState, account: Account, order: Order) -> Order:
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
