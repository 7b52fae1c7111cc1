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
        # Couldn't be decided in the round under way, in which each that waits is tried once.
        self._tried: set[UUID] = set()
        self._has_moved = False
        self._is_last = True

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

    @property
    def tried(self) -> AbstractSet[UUID]:
        """Those that couldn't be decided yet, and step back behind the ones that weren't tried."""
        return self._tried

    @property
    def goes_on(self) -> bool:
        """Whether another refill leads further: some weren't tried yet, or something was decided since the last."""
        return bool(self.left) and (self._has_moved or not self._is_last)

    def refill(self, order_ids: Sequence[UUID], rows: Mapping[UUID, Order], left: int) -> int:
        """Takes these orders in the order given, ``rows`` being those that weren't known. How many more overflow."""
        before = self.overflow
        have = self._rows | dict(rows)
        self._rows = {key: have[key] for key in order_ids if key in have}
        self.left, self._has_moved = left, False
        self._is_last = not left or not self._tried.isdisjoint(order_ids)
        if self._is_last:
            self._tried.clear()
        self.max_pending = max(self.max_pending, self.pending)
        return max(self.overflow - before, 0)

    def next(self) -> Order | None:
        """The one to be decided now; it leaves the queue, and waits as a row if it can't be decided yet."""
        if not self._rows:
            return None
        return self._rows.pop(next(iter(self._rows)))

    def was_tried(self, order_id: UUID, *, waits: bool) -> None:
        """``waits``: it couldn't be decided yet."""
        if waits:
            self._tried.add(order_id)
        else:
            self._has_moved = True

    def discard(self, order_id: UUID) -> None:
        """It has ended otherwise."""
        self._rows.pop(order_id, None)

    def clear(self) -> None:
        self._rows, self.left = {}, 0
        self._tried.clear()
