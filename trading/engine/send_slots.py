"""How many orders are on their way to exchanges at a time, shared fairly between tenants and connections."""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable
from typing import TypeVar
from uuid import UUID

_Key = TypeVar("_Key", bound=Hashable)
# One connection of one user.
_Lane = tuple[UUID, UUID]


class SendSlots:
    """At most ``total`` sends at a time in a process, and at most half of them for one connection: a tenant whose
    exchange doesn't answer delays no other one. Of those who wait, the tenant with the fewest sends under way is next,
    however many orders the others have. Exits have as many slots of their own, shared in the same way: entries may hold
    theirs while they wait for their turn at the exchange."""

    def __init__(self, total: int) -> None:
        self._entries, self._exits = _Slots(total), _Slots(total)

    @property
    def in_use(self) -> int:
        """How many sends are under way."""
        return self._entries.in_use + self._exits.in_use

    @property
    def waiting(self) -> int:
        """How many want a slot and have none yet."""
        return self._entries.waiting + self._exits.waiting

    @contextlib.asynccontextmanager
    async def slot(self, user_id: UUID, connection_id: UUID, *, is_exit: bool = False) -> AsyncIterator[None]:
        """Waits for a slot and holds it inside the block."""
        slots, lane = self._exits if is_exit else self._entries, (user_id, connection_id)
        await slots.take(lane)
        try:
            yield
        finally:
            slots.give_back(lane)


class _Slots:
    """Slots of one kind, and who waits for them."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._share = max(total // 2, 1)
        # Sends under way, by lane and by user; only who has some stands there.
        self._lanes: Counter[_Lane] = Counter()
        self._users: Counter[UUID] = Counter()
        # Who was served last stands last.
        self._waiting: dict[_Lane, deque[asyncio.Future[None]]] = {}
        self.in_use = 0

    @property
    def waiting(self) -> int:
        return sum(map(len, list(self._waiting.values())))

    async def take(self, lane: _Lane) -> None:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(lane, deque()).append(granted)
        self._hand_out()
        try:
            await granted
        except asyncio.CancelledError:
            if not granted.cancelled():  # the slot came at the same moment
                self.give_back(lane)
            elif granted in self._waiting.get(lane, ()):
                self._waiting[lane].remove(granted)
                self._forget_empty(lane)
            raise

    def give_back(self, lane: _Lane) -> None:
        self.in_use -= 1
        _count_down(self._lanes, lane)
        _count_down(self._users, lane[0])
        self._hand_out()

    def _hand_out(self) -> None:
        while self.in_use < self._total:
            lanes = [lane for lane in self._waiting if self._lanes[lane] < self._share]
            if not lanes:
                return
            lane = min(lanes, key=lambda lane: self._users[lane[0]])  # the first of those with as few
            granted = self._waiting[lane].popleft()
            self._waiting[lane] = self._waiting.pop(lane)
            self._forget_empty(lane)
            if not granted.done():  # else whoever waited was cancelled just now
                granted.set_result(None)
                self.in_use += 1
                self._lanes[lane] += 1
                self._users[lane[0]] += 1

    def _forget_empty(self, lane: _Lane) -> None:
        if not self._waiting.get(lane, True):
            del self._waiting[lane]


def _count_down(counts: Counter[_Key], key: _Key) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
