"""What the audit log of an installation must hold, read from its tables: a row for every move of every order."""

from collections import Counter
from uuid import UUID

from tests.system.installation import Installation

# Booked with the order's row, as moves are; the others of an order are requests of its owner.
_REQUESTS = ("order.requested", "order.cancel_requested")
_Moves = Counter[tuple[UUID, str]]


def moves(installation: Installation) -> _Moves:
    """How often each order came into each status, by its recorded moves."""
    found = installation.query("SELECT order_id, to_status FROM order_events")
    return Counter((_id(order), str(status)) for order, status in found)


def audited_moves(installation: Installation) -> _Moves:
    """The same, by the audit log."""
    found = installation.query("SELECT resource_id, event_type FROM audit_logs WHERE resource_type = 'order'")
    told = ((_id(order), str(event)) for order, event in found if event not in _REQUESTS)
    return Counter((order, _status(event)) for order, event in told)


def orders_sent(installation: Installation) -> set[UUID]:
    """Those that left the status ``new``: each has a move to prove it."""
    return {_id(order) for (order,) in installation.query("SELECT id FROM orders WHERE status <> 'new'")}


def _status(event: str) -> str:
    return "pending" if event == "order.placed" else event.removeprefix("order.")


def _id(text: object) -> UUID:
    return UUID(str(text))
