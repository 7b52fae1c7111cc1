"""Rows of high volume on their way into the database, many at a time (ORD-9)."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from connections.database import run as run_in_db
from desproject.lib.clock import SYSTEM_CLOCK, Clock

log = structlog.get_logger(__name__)

Row = TypeVar("Row")


class BatchWriter(Generic[Row]):
    """Stores what it is given by ``store(rows)``, in a database thread: a batch when it is full, and what there is of
    it when its time is over. A batch that can't be stored waits in its place and is tried again.

    Past ``bound`` waiting rows the oldest go; the figures say how many. ``store`` must do no harm when it is called
    twice with the same rows: the answer to the first time may have been lost.
    """

    def __init__(self, store: Callable[[Sequence[Row]], Any], *, bound: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self.figures = {"batch_writes": 0, "batch_batches": 0, "batch_errors": 0, "batch_dropped": 0}
        self.last_size = 0
        self.last_flush = 0.0
        self._store = store
        self._bound = bound
        self._clock = clock
        self._waiting: deque[Row] = deque()
        self._full = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many rows aren't stored yet."""
        return len(self._waiting)

    def keep(self, rows: Sequence[Row]) -> None:
        """Queues rows; returns at once."""
        self._waiting.extend(rows)
        while len(self._waiting) > self._bound:
            self._waiting.popleft()
            self.figures["batch_dropped"] += 1
        if len(self._waiting) >= settings.CONFIG.batch_size:
            self._full.set()

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            try:
                async with asyncio.timeout(settings.CONFIG.batch_interval_ms / 1000):
                    await self._full.wait()
            except TimeoutError:
                pass
            if not await self.flush():
                await asyncio.sleep(settings.CONFIG.batch_interval_ms / 1000)

    async def flush(self) -> bool:
        """Writes all that waits; False where the database didn't take it."""
        self._full.clear()
        while self._waiting:
            rows = [self._waiting.popleft() for _ in range(min(settings.CONFIG.batch_size, len(self._waiting)))]
            try:
                await run_in_db(self._store, rows)
            except (DatabaseError, InterfaceError) as error:
                self.figures["batch_errors"] += 1
                log.warning("batch_not_stored", rows=len(rows), error=str(error))
                self._waiting.extendleft(reversed(rows))
                return False
            except BaseException:  # whoever cancels us flushes what is left
                self._waiting.extendleft(reversed(rows))
                raise
            self.figures["batch_writes"] += len(rows)
            self.figures["batch_batches"] += 1
            self.last_size, self.last_flush = len(rows), self._clock.now().timestamp()
        return True
