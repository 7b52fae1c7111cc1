"""How many orders a second one connection sends: what is beyond the limit waits, exits never do (CON-6, RSK-2)."""

from collections import deque

WINDOW_SECONDS = 1.0


class Pace:
    """The sends of one connection in the last second.

    One engine owns a connection, so this holds across processes; who takes it over begins anew, and a take-over lasts
    longer than the window.
    """

    __slots__ = ("_sent",)

    def __init__(self) -> None:
        self._sent: deque[float] = deque()

    def count(self, now: float) -> None:
        """One is sent at the monotonic time ``now``, an exit too: the exchange counts all of them."""
        self._forget(now)
        self._sent.append(now)

    def has_room(self, now: float, limit: int) -> bool:
        """Whether one more may be sent."""
        self._forget(now)
        return len(self._sent) < limit

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0] <= now - WINDOW_SECONDS:
            self._sent.popleft()
