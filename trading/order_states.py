"""The life of an order, as one table (ORD-5)."""

from enum import StrEnum

from desproject.lib.errors import Conflict


class OrderStatus(StrEnum):
    """Where an order stands. ``waiting``: held until its trigger is reached, then ``new`` again and never back.
    ``unknown``: it may or may not have reached the exchange, and is being asked for."""

    NEW = "new"
    WAITING = "waiting"
    PENDING = "pending"
    SUBMITTED = "submitted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


_S = OrderStatus
TERMINAL = frozenset({_S.FILLED, _S.CANCELLED, _S.REJECTED, _S.EXPIRED})
OPEN = frozenset(_S) - TERMINAL
# Nothing of them has left for the exchange.
UNSENT = frozenset({_S.NEW, _S.WAITING})
# At the exchange, as far as we know.
WORKING = frozenset({_S.SUBMITTED, _S.PARTIALLY_FILLED})
# Committed to be sent, and nothing heard of them yet.
UNANSWERED = frozenset({_S.PENDING, _S.UNKNOWN})

MOVES: dict[OrderStatus, frozenset[OrderStatus]] = {
    # denied by risk: rejected; cancelled before it was ever sent; its time was over before it could be
    _S.NEW: frozenset({_S.PENDING, _S.WAITING, _S.REJECTED, _S.CANCELLED, _S.EXPIRED}),
    _S.WAITING: frozenset({_S.NEW, _S.REJECTED, _S.CANCELLED, _S.EXPIRED}),
    _S.PENDING: frozenset(
        {_S.SUBMITTED, _S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELLED, _S.REJECTED, _S.EXPIRED, _S.UNKNOWN}
    ),
    _S.UNKNOWN: frozenset(
        {_S.PENDING, _S.SUBMITTED, _S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELLED, _S.REJECTED, _S.EXPIRED}
    ),
    _S.SUBMITTED: frozenset({_S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELLED, _S.REJECTED, _S.EXPIRED}),
    _S.PARTIALLY_FILLED: frozenset({_S.FILLED, _S.CANCELLED, _S.EXPIRED}),
    _S.FILLED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.REJECTED: frozenset(),
    # Given up as never sent, yet the exchange turns out to know it: adopted, with an alert.
    _S.EXPIRED: frozenset({_S.SUBMITTED, _S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELLED}),
}


class IllegalMove(Conflict):
    """The order can't go from its status to the wanted one."""

    code = "ILLEGAL_ORDER_MOVE"


def check_move(current: OrderStatus, wanted: OrderStatus) -> None:
    """Raises IllegalMove unless the table allows it."""
    if wanted not in MOVES[current]:
        raise IllegalMove(f"an order can't go from {current} to {wanted}")
