"""What orders users can ask for, and how each of them is sent to an exchange."""

from enum import StrEnum

from connections.gateways import OrderType, TimeInForce


class OrderKind(StrEnum):
    """An order's type. Those with a trigger are held by the engine, on every venue in the same way, and sent when the
    market has reached it."""

    MARKET = "market"
    LIMIT = "limit"
    POST_ONLY = "post_only"
    STOP_LOSS = "stop_loss"
    STOP_LOSS_LIMIT = "stop_loss_limit"
    TAKE_PROFIT = "take_profit"
    TAKE_PROFIT_LIMIT = "take_profit_limit"
    TRAILING_STOP = "trailing_stop"


_SENT = {
    OrderKind.MARKET: OrderType.MARKET,
    OrderKind.LIMIT: OrderType.LIMIT,
    OrderKind.POST_ONLY: OrderType.POST_ONLY,
    OrderKind.STOP_LOSS: OrderType.MARKET,
    OrderKind.STOP_LOSS_LIMIT: OrderType.LIMIT,
    OrderKind.TAKE_PROFIT: OrderType.MARKET,
    OrderKind.TAKE_PROFIT_LIMIT: OrderType.LIMIT,
    OrderKind.TRAILING_STOP: OrderType.MARKET,
}
TRIGGERED = frozenset(OrderKind) - {OrderKind.MARKET, OrderKind.LIMIT, OrderKind.POST_ONLY}


def type_sent(kind: str) -> OrderType:
    """What the exchange gets of it, once it is triggered."""
    return _SENT[OrderKind(kind)]


class Lifetime(StrEnum):
    """An order's time in force. The engine itself ends what exchanges know no time for: ``gtd`` at the order's
    ``expires_at``, ``day`` at the next midnight UTC."""

    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    GTD = "gtd"
    DAY = "day"


# What isn't filled at once ends at once.
NEVER_RESTS = frozenset({Lifetime.IOC, Lifetime.FOK})


def time_in_force_sent(lifetime: str) -> TimeInForce:
    """What the exchange is told."""
    return TimeInForce.GTC if lifetime in (Lifetime.GTD, Lifetime.DAY) else TimeInForce(lifetime)
