"""How many orders may wait to be decided (ORD-2). The queue is the table itself: what is accepted is durable at once.

Each tenant has a queue of its own, so nobody waits behind another one's orders. An engine has the first
``order_queue_batch`` of them in memory, what leaves the market at the head, and ``order_queue_overflow`` that follow
them; the rest waits in the database, up to ``order_queue_size``, and past that an order is refused before it is
accepted. What can't be decided yet (its exchange is away, its price isn't known) stays in the queue. Where not all fit
into memory it steps back: it is tried again when all the others had their turn.
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from desproject.lib.errors import DomainError
from desproject.lib.metrics.registry import METRICS
from trading.models import Order
from trading.order_states import OrderStatus


class QueueFull(DomainError):
    """Too many of the user's orders wait; none was accepted. Wait ``retry_after`` seconds."""

    code = "QUEUE_FULL"
    status = 429


def _waiting() -> "QuerySet[Order]":
    return Order.objects.filter(status=OrderStatus.NEW)  # type: ignore[no-any-return]


def take_place() -> None:
    """Counts one order in, for the tenant whose scope is open. Raises QueueFull."""
    size = settings.CONFIG.order_queue_size
    if _waiting()[:size].count() >= size:
        METRICS.count("orders.queue_refused")
        raise QueueFull(f"{size} of your orders wait to be decided already", retry_after=1)
    METRICS.count("orders.enqueued")


def next_batch(tried: AbstractSet[UUID] = frozenset()) -> tuple[list[UUID], int]:
    """What an engine decides next, exits and sales first, then the oldest; and how many more there are. Where not all
    fit, those that were ``tried`` come last."""
    most = settings.CONFIG.order_queue_batch + settings.CONFIG.order_queue_overflow
    rows = _waiting().order_by("-reduce_only", "-side", "created_at").values_list("pk", flat=True)
    found: list[UUID] = list(rows[: most + len(tried)])
    batch = sorted(found, key=tried.__contains__)[:most] if len(found) > most else found
    left = _waiting().count() - len(batch) if len(batch) == most else 0
    return batch, max(left, 0)


def read(order_ids: Collection[UUID]) -> Mapping[UUID, Order]:
    """Those of the orders that still wait, with their connections."""
    rows = _waiting().filter(pk__in=order_ids).select_related("connection") if order_ids else ()
    return {row.pk: row for row in rows}
