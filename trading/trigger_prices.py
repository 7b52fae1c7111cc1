"""At which prices orders with a trigger are sent: pure functions of an order's row and a price (ORD-7).

An order's ``stop_price`` is its trigger. A trailing stop's follows the market, never back: ``trail_rate`` below the
highest price since it was accepted (above the lowest, for a buy), and is stored as it moves.
"""

from decimal import Decimal

from connections.gateways import Side, SymbolRules
from desproject.lib.money import exact, floor_to, settle
from trading.models import Order
from trading.order_types import OrderKind

# A trailing stop moves in steps of this share of its distance: each step is a commit.
_STEP = Decimal("0.01")
_PROFIT = frozenset({OrderKind.TAKE_PROFIT, OrderKind.TAKE_PROFIT_LIMIT})


def fires_below(order: Order) -> bool:
    """Whether it is sent when the price falls to its trigger; else when it rises to it."""
    return (order.side == Side.SELL) != (order.type in _PROFIT)


def is_reached(order: Order, price: Decimal) -> bool:
    """Whether this price triggers the order."""
    stop: Decimal = order.stop_price
    return price <= stop if fires_below(order) else price >= stop


def trailing_price(order: Order, price: Decimal) -> Decimal:
    """Where a trailing stop's trigger is when ``price`` is the best that the market has seen."""
    with exact():
        factor = 1 - order.trail_rate if fires_below(order) else 1 + order.trail_rate
        return settle(price * factor)


def moved(order: Order, price: Decimal) -> Decimal | None:
    """The trailing stop's new trigger, where this price moves it by a step; None else."""
    if order.type != OrderKind.TRAILING_STOP:
        return None
    trigger = trailing_price(order, price)
    better = trigger - order.stop_price if fires_below(order) else order.stop_price - trigger
    return trigger if better >= price * order.trail_rate * _STEP else None


def bounds(order: Order) -> tuple[Decimal | None, Decimal | None]:
    """(floor, ceiling): nothing is to be done while the price is between them."""
    stop: Decimal = order.stop_price
    if order.type != OrderKind.TRAILING_STOP:
        return (stop, None) if fires_below(order) else (None, stop)
    rate, step = order.trail_rate, order.trail_rate * _STEP
    with exact():
        if fires_below(order):
            return stop, settle(stop / (1 - rate - step))
        return settle(stop / (1 + rate + step)), stop


def rounded(order: Order, rules: SymbolRules) -> Decimal:
    """The trigger on the exchange's steps: at the same trades as the one that was asked for."""
    stop: Decimal = order.stop_price
    step = rules.price_step_at(stop)
    fits = floor_to(stop, step)
    return fits if fits == stop or fires_below(order) else fits + step
