"""What is wrong with an order before anybody looks at the market: every fault by the field that it is in."""

from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal

from connections.exchanges import venue
from connections.gateways import OrderType, Side
from desproject.lib.errors import InvalidInput
from trading.models import Order
from trading.order_life import never_rests
from trading.order_types import NEVER_RESTS, TRIGGERED, Lifetime, OrderKind, type_sent

_LONGEST_TIMEOUT = 24 * 3600
_LONGEST_LIFE = timedelta(days=366)
_LEAST_TRAIL, _MOST_TRAIL = Decimal("0.0001"), Decimal("0.5")
# What is sent at the market never rests there; held for a trigger, it can be given up in time.
_TIMES = {False: {Lifetime.GTC, *NEVER_RESTS}, True: {Lifetime.GTC, Lifetime.GTD, Lifetime.DAY}}


def check(order: Order, now: datetime) -> None:
    """Raises InvalidInput with all faults."""
    faults: dict[str, list[str]] = defaultdict(list)
    if order.quantity <= 0:
        faults["quantity"].append("must be more than 0")
    _check_price(order, faults)
    _check_trigger(order, faults)
    _check_life(order, now, faults)
    if order.reduce_only and not _can_reduce_only(order):
        faults["reduce_only"].append("this exchange has no such orders")
    if faults:
        raise InvalidInput("the order can't be accepted", fields=dict(faults))


def _check_price(order: Order, faults: dict[str, list[str]]) -> None:
    if type_sent(order.type) == OrderType.MARKET:
        if order.price is not None:
            faults["price"].append(f"a {order.type} order takes no price")
    elif order.price is None or order.price <= 0:
        faults["price"].append(f"a {order.type} order needs a price above 0")
    if order.type == OrderKind.POST_ONLY and order.time_in_force in NEVER_RESTS:
        faults["time_in_force"].append("a post_only order rests: gtc, gtd or day")


def _can_reduce_only(order: Order) -> bool:
    """What waits here is cut to the position when it is triggered; else the exchange has to know of it. On spot only
    a sale can lower what is held."""
    if venue(order.connection.exchange).capabilities.reduce_only:
        return True
    return order.type in TRIGGERED and order.side == Side.SELL


def _check_trigger(order: Order, faults: dict[str, list[str]]) -> None:
    takes_stop = order.type in TRIGGERED - {OrderKind.TRAILING_STOP}
    if takes_stop and (order.stop_price is None or order.stop_price <= 0):
        faults["stop_price"].append(f"a {order.type} order needs a stop price above 0")
    elif not takes_stop and order.stop_price is not None:
        faults["stop_price"].append(f"a {order.type} order takes no stop price")
    if order.type == OrderKind.TRAILING_STOP:
        if order.trail_rate is None or not _LEAST_TRAIL <= order.trail_rate <= _MOST_TRAIL:
            faults["trail_rate"].append(f"a trailing_stop order needs a rate from {_LEAST_TRAIL} to {_MOST_TRAIL}")
    elif order.trail_rate is not None:
        faults["trail_rate"].append(f"a {order.type} order takes no trail rate")
    if type_sent(order.type) == OrderType.MARKET and order.time_in_force not in _TIMES[order.type in TRIGGERED]:
        allowed = ", ".join(sorted(_TIMES[order.type in TRIGGERED]))
        faults["time_in_force"].append(f"a {order.type} order takes {allowed}")


def _check_life(order: Order, now: datetime, faults: dict[str, list[str]]) -> None:
    if (order.expires_at is not None) != (order.time_in_force == Lifetime.GTD):
        faults["expires_at"].append("goes with time in force gtd, and only with it")
    elif order.expires_at is not None and not now < order.expires_at <= now + _LONGEST_LIFE:
        faults["expires_at"].append("must be in the future, at most a year ahead")
    if order.timeout_seconds is None:
        return
    if order.time_in_force in (Lifetime.GTD, Lifetime.DAY):
        faults["timeout_seconds"].append("this order has a time of its own")
    elif not 0 <= order.timeout_seconds <= _LONGEST_TIMEOUT:
        faults["timeout_seconds"].append(f"must be from 0 to {_LONGEST_TIMEOUT}")
    elif order.timeout_seconds == 0 and never_rests(order):
        faults["timeout_seconds"].append("must be at least 1: the order is meant to fill at once")
