"""How long an order may live (ORD-6): what is meant to fill at once times out, the rest lives until its own time.

The moment is kept in the order's row, so an engine that takes over ends it at the same one.
"""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

from django.conf import settings

from connections.gateways import OrderType, Side
from trading.models import Order
from trading.order_types import NEVER_RESTS, Lifetime, OrderKind, type_sent


def patience(order: Order) -> timedelta:
    """How long an order that is meant to fill at once is waited for."""
    return timedelta(seconds=order.timeout_seconds or settings.CONFIG.order_timeout_seconds)


def never_rests(order: Order) -> bool:
    """Whether the order is to fill at once or not at all, wherever the market is."""
    return type_sent(order.type) == OrderType.MARKET or order.time_in_force in NEVER_RESTS


def expiry(order: Order, now: datetime, quote: Decimal | None) -> datetime | None:
    """When an order that is sent now is to be ended; None where nothing but the exchange ends it.

    ``quote`` is the price at which it could fill now, as far as one is known: a limit order that crosses it is meant to
    fill at once too, unless it was given a time of its own (``timeout_seconds`` of 0 is none).
    """
    if order.expires_at is not None:
        return order.expires_at
    if order.timeout_seconds == 0:
        return None
    if order.timeout_seconds is not None or never_rests(order) or _crosses(order, quote):
        return now + patience(order)
    return None


def _crosses(order: Order, quote: Decimal | None) -> bool:
    if order.type == OrderKind.POST_ONLY or order.price is None or quote is None:
        return False
    return bool(order.price >= quote if order.side == Side.BUY else order.price <= quote)


def end_of(lifetime: Lifetime, wanted: datetime | None, now: datetime) -> datetime | None:
    """The moment that an order's time in force says by itself."""
    if lifetime != Lifetime.DAY:
        return wanted
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time.min, tzinfo=UTC)
