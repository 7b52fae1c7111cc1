"""How many orders are on their way to exchanges at a time, shared fairly between connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID


class SendSlots:
    """At most ``total`` sends at a time in a process, and at most half of them for one connection: a tenant whose
    exchange doesn't answer delays no other one. Exits have as many slots of their own: entries may hold theirs while
    they wait for their turn at the exchange."""

    def __init__(self, total: int) -> None:
        self._all = asyncio.Semaphore(total)
        self._exits = asyncio.Semaphore(total)
        self._share = max(total // 2, 1)
        self._connections: dict[UUID, tuple[asyncio.Semaphore, int]] = {}
        self.in_use = 0

    @property
    def waiting(self) -> int:
        """How many want a slot and have none yet."""
        return sum(users for _, users in list(self._connections.values())) - self.in_use

    @contextlib.asynccontextmanager
    async def slot(self, connection_id: UUID, *, is_exit: bool = False) -> AsyncIterator[None]:
        """Waits for a slot and holds it inside the block."""
        if is_exit:
            async with self._exits:
                yield
            return
        own, users = self._connections.get(connection_id, (asyncio.Semaphore(self._share), 0))
        self._connections[connection_id] = (own, users + 1)
        try:
            async with own, self._all:
                self.in_use += 1
                try:
                    yield
                finally:
                    self.in_use -= 1
        finally:
            own, users = self._connections.pop(connection_id)
            if users > 1:
                self._connections[connection_id] = (own, users - 1)
