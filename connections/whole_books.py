"""A local book of a venue that sends it whole with every change and without a number (STR-3).

Nothing can get lost between two such messages that the later one doesn't bring, so there are no gaps to find. What can
go wrong is time: a message older than the one before it, or a stream that has stopped telling. The first makes the book
invalid until the stream goes on from there; against the second, a book that has been quiet for a while is compared with
the exchange's own answer by REST, and is invalid until the stream tells something newer.
"""

from connections.books import OrderBook
from connections.exchanges.contract import DepthSnapshot, WholeDepth

# So much may pass between a change and its message: until then REST may be ahead of the stream.
BEHIND_MS = 2000


class WholeBook(OrderBook):
    """See OrderBook. ``last_id`` is the exchange's time of the newest message, in milliseconds."""

    def __init__(self, symbol: str) -> None:
        super().__init__(symbol)
        self._only_stream_heals = False

    @property
    def needs_snapshot(self) -> bool:
        """To begin with, or to compare; never to make a book valid that the stream has made invalid."""
        return self._refreshing or not (self.valid or self._only_stream_heals)

    def invalidate(self, reason: str) -> None:
        super().invalidate(reason)
        self._only_stream_heals = False

    def on_whole(self, depth: WholeDepth) -> None:
        """The newest message of the stream."""
        if depth.as_of_ms < self.last_id and (self.valid or self._only_stream_heals):
            self.gaps += 1
            self._distrust_until_told(f"went back in time by {self.last_id - depth.as_of_ms} ms", depth.as_of_ms)
            return
        self._only_stream_heals = False
        self._take(DepthSnapshot(depth.as_of_ms, depth.bids, depth.asks))

    def on_snapshot(self, snapshot: DepthSnapshot) -> None:
        """What REST says: the first book, or a check of the one that is there."""
        self._refreshing = False
        if not self.valid:
            if not self._only_stream_heals:
                self._take(snapshot)
            return
        behind = snapshot.last_id - self.last_id
        if behind > BEHIND_MS and self.top(1) != (snapshot.bids[:1], snapshot.asks[:1]):
            self.gaps += 1
            self._distrust_until_told(f"the stream is {behind} ms behind", snapshot.last_id)

    def _take(self, snapshot: DepthSnapshot) -> None:
        if self._load(snapshot):
            self._check()

    def _distrust_until_told(self, reason: str, as_of_ms: int) -> None:
        self.invalidate(reason)
        self._only_stream_heals = True
        self.last_id = as_of_ms
