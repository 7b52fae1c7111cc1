"""A tenant's orders that wait to be decided, as far as an engine has them in memory (ORD-2); the others wait in the
database. No I/O."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from uuid import UUID

from trading.models import Order


class WaitingOrders:
    """The queue holds ``size`` orders, what comes first at its head; those past it overflow, in memory or not."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: dict[UUID, Order] = {}
        # How many more the database holds.
        self.left = 0
        self.max_pending = 0
        # Something was decided since the last refill: another one leads further.
        self.has_moved = False

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def pending(self) -> int:
        """All that wait."""
        return len(self._rows) + self.left

    @property
    def overflow(self) -> int:
        """How many of them found the queue full."""
        return max(self.pending - self._size, 0)

    @property
    def known(self) -> AbstractSet[UUID]:
        """The orders that needn't be read again: nobody but their engine changes them."""
        return self._rows.keys()

    def refill(self, order_ids: Sequence[UUID], rows: Mapping[UUID, Order], left: int) -> int:
        """Takes these orders in the order given, ``rows`` being those that weren't known. How many more overflow."""
        before = self.overflow
        have = self._rows | dict(rows)
        self._rows = {key: have[key] for key in order_ids if key in have}
        self.left, self.has_moved = left, False
        self.max_pending = max(self.max_pending, self.pending)
        return max(self.overflow - before, 0)

    def next(self) -> Order | None:
        """The one to be decided now; it leaves the queue, and waits as a row if it can't be decided yet."""
        if not self._rows:
            return None
        return self._rows.pop(next(iter(self._rows)))

    def discard(self, order_id: UUID) -> None:
        """It has ended otherwise."""
        self._rows.pop(order_id, None)

    def clear(self) -> None:
        self._rows, self.left = {}, 0
