"""How many orders are on their way to exchanges at a time, shared fairly between connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID


class SendSlots:
    """At most ``total`` sends at a time in a process, and at most half of them for one connection: a tenant whose
    exchange doesn't answer delays no other one."""

    def __init__(self, total: int) -> None:
        self._all = asyncio.Semaphore(total)
        self._share = max(total // 2, 1)
        self._connections: dict[UUID, tuple[asyncio.Semaphore, int]] = {}

    @contextlib.asynccontextmanager
    async def slot(self, connection_id: UUID) -> AsyncIterator[None]:
        """Waits for a slot and holds it inside the block."""
        own, users = self._connections.get(connection_id, (asyncio.Semaphore(self._share), 0))
        self._connections[connection_id] = (own, users + 1)
        try:
            async with own, self._all:
                yield
        finally:
            own, users = self._connections.pop(connection_id)
            if users > 1:
                self._connections[connection_id] = (own, users - 1)
