"""A local order book: a snapshot kept up to date by numbered deltas, trusted only while every number fits (STR-3).

Procedure: deltas are buffered until a snapshot is there; those that end at or before the snapshot are dropped; the
first applied must follow it without a hole, and each later one the one before. A hole, a crossed or unsorted book or a
spread outside 0 to 10 % makes the book invalid at once; it then buffers again and wants a snapshot.

A venue whose numbers have holes says in each delta which one it follows; the rest is the same.

(Binance's text also refuses a snapshot that ends exactly one before the first delta. Nothing is missing then, so it
is taken here: in a quiet market there is no other.)
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise
from math import inf

from connections.exchanges.contract import DepthDelta, DepthSnapshot, Levels, ToldLevels

MAX_SPREAD = Decimal("0.10")
# Spreads below this are so far from MAX_SPREAD that floats can tell.
_CLEARLY_FINE = 0.09
_BUFFERED = 2000


class _Side:
    """One side's levels, best last.

    They are found and sorted by their prices as floats, negated for asks, so that the best is the greatest on both
    sides: a Decimal costs ten times as much to hash. No two prices of an exchange are so near each other that their
    floats are the same. What is told are the exchange's own digits.
    """

    def __init__(self, sign: float) -> None:
        self._sign = sign
        self._keys: list[float] = []
        self._levels: dict[float, tuple[Decimal | str, Decimal | str]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def load(self, levels: Levels) -> bool:
        """Takes over a snapshot's levels; False when they are not sorted best first or can't be levels."""
        keys = [float(price) * self._sign for price, _ in levels]
        if any(later >= earlier for earlier, later in pairwise(keys)):
            return False
        if not all(size > 0 and price > 0 for price, size in levels):
            return False
        self._levels = dict(zip(keys, levels, strict=True))
        self._keys = keys[::-1]
        return True

    def change(self, levels: ToldLevels) -> None:
        """Raises ValueError for a level that can't be one; those before it have been changed then."""
        keys, known, sign = self._keys, self._levels, self._sign
        for level in levels:
            price, size = float(level[0]), float(level[1])
            if not (0 < price < inf and 0 <= size < inf):
                raise ValueError(level)
            key = price * sign
            if size:
                if key not in known:
                    insort(keys, key)
                known[key] = level
            elif known.pop(key, None) is not None:
                del keys[bisect_left(keys, key)]

    def top(self, count: int) -> Levels:
        found = (self._levels[key] for key in self._keys[: -count - 1 : -1])
        return tuple((Decimal(price), Decimal(size)) for price, size in found)

    @property
    def best(self) -> Decimal:
        return Decimal(self._levels[self._keys[-1]][0])

    @property
    def nearest(self) -> float:
        """About the best price."""
        return self._keys[-1] * self._sign


class OrderBook:
    """One symbol's book. ``reason`` says why it isn't valid. ``invalidations`` counts the times it stopped being so,
    ``gaps`` the holes found, ``repeats`` the deltas that brought nothing new."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.valid = False
        self.reason = "no snapshot yet"
        self.last_id = 0
        self.gaps = 0
        self.repeats = 0
        self.invalidations = 0
        self._bids, self._asks = _Side(1.0), _Side(-1.0)
        # Deltas kept for the next snapshot; while the book is valid, those since a refresh was begun.
        self._buffer: deque[DepthDelta] = deque(maxlen=_BUFFERED)
        self._refreshing = False

    @property
    def needs_snapshot(self) -> bool:
        """Whether ``on_snapshot`` should be called soon."""
        return not self.valid or self._refreshing

    @property
    def is_buffering(self) -> bool:
        """Whether a delta waits for a snapshot: one fetched from now on can't be too old for it."""
        return bool(self._buffer)

    def begin_refresh(self) -> None:
        """Wants a new snapshot without distrusting the book meanwhile."""
        self._refreshing = True

    def invalidate(self, reason: str) -> None:
        """Distrusts the book from now on; what is known of it is forgotten."""
        if self.valid:
            self.invalidations += 1
        self.valid, self.reason, self._refreshing = False, reason, False
        self._bids, self._asks = _Side(1.0), _Side(-1.0)
        self._buffer.clear()

    def on_delta(self, delta: DepthDelta) -> None:
        """The next delta from the stream. Old ones change nothing."""
        if self.needs_snapshot:
            self._buffer.append(delta)
        if self.valid:
            self._apply(delta)

    def on_snapshot(self, snapshot: DepthSnapshot) -> None:
        """Takes over a snapshot and the buffered deltas that follow it.

        A snapshot older than the buffered deltas is of no use: the book goes on wanting one.
        """
        waiting = [delta for delta in self._buffer if delta.last_id > snapshot.last_id]
        if waiting and waiting[0].follows > snapshot.last_id:
            return
        if self.valid and snapshot.last_id < self.last_id and not waiting:
            return
        self._buffer.clear()
        self._refreshing = False
        if self._load(snapshot):
            self._replay(waiting)
            self._check()

    def top(self, count: int) -> tuple[Levels, Levels]:
        """The best bids and asks as (price, size), best first."""
        return self._bids.top(count), self._asks.top(count)

    def best(self) -> tuple[Decimal, Decimal]:
        """The best bid and the best ask of a valid book."""
        return self._bids.best, self._asks.best

    def depth(self) -> tuple[int, int]:
        """How many levels are known on each side."""
        return len(self._bids), len(self._asks)

    def _load(self, snapshot: DepthSnapshot) -> bool:
        """Takes a snapshot for the book; not one whose levels can't be right, which makes the book invalid."""
        self._bids, self._asks = _Side(1.0), _Side(-1.0)
        if not (self._bids.load(snapshot.bids) and self._asks.load(snapshot.asks)):
            self.invalidate("the snapshot is not sorted")
            return False
        self.valid, self.reason, self.last_id = True, "", snapshot.last_id
        return True

    def _replay(self, deltas: Iterable[DepthDelta]) -> None:
        for delta in deltas:
            if self.valid:
                self._apply(delta)
            else:
                self._buffer.append(delta)

    def _apply(self, delta: DepthDelta) -> None:
        if delta.last_id <= self.last_id:
            self.repeats += 1
            return
        if delta.follows > self.last_id:
            self.gaps += 1
            missing = f"updates {self.last_id + 1} to {delta.follows} are missing"
            self.invalidate(missing)
            self._buffer.append(delta)
            return
        try:
            self._bids.change(delta.bids)
            self._asks.change(delta.asks)
        except ValueError:
            self.invalidate("a level is no number")
            return
        self.last_id = delta.last_id
        self._check()

    def _check(self) -> None:
        if self.valid and (fault := self._fault()):
            self.invalidate(fault)

    def _fault(self) -> str:
        if not self._bids or not self._asks:
            return "one side is empty"
        if 0 < self._asks.nearest - self._bids.nearest < _CLEARLY_FINE * self._bids.nearest:
            return ""
        bid, ask = self._bids.best, self._asks.best
        if bid >= ask:
            return "crossed"
        return "the spread is above 10 %" if ask - bid > MAX_SPREAD * bid else ""
