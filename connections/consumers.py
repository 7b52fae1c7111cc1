"""The channel that stream processes listen on. Its handlers only start, wake and end the work: a handler that took
long would block the next message."""

import asyncio
from typing import Any

import structlog
from channels.consumer import AsyncConsumer

from connections.streaming.host import StreamHost

log = structlog.get_logger(__name__)

CHANNEL = "exchange-streams"
_RESTART_SECONDS = 2.0


class StreamWork:
    """This process's stream host, run by a supervised task. One a process."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._host: StreamHost | None = None
        self._draining = False
        # Set when the work was handed over and won't begin again.
        self.over = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        return self._task is not None

    def start(self) -> None:
        """Begins, unless it has begun already."""
        if self._task is None:
            self._task = asyncio.create_task(self._supervise(), name="stream-host")

    def wake(self) -> None:
        """Looks at once at what is wanted."""
        if self._host is not None:
            self._host.wake()

    def drain(self) -> None:
        """Hands over and ends."""
        self._draining = True
        if self._host is not None:
            self._host.drain()

    async def ended(self) -> None:
        """Returns when the work has been handed over; at once where it never began."""
        if self._task is not None:
            await self._task

    async def _supervise(self) -> None:
        while not self._draining:
            self._host = StreamHost()
            try:
                await self._host.run()
                break
            except Exception:  # a fault of ours: the work starts anew
                log.exception("stream_host_crashed")
            await asyncio.sleep(_RESTART_SECONDS)
        self.over.set()


WORK = StreamWork()


class ExchangeStreams(AsyncConsumer):  # type: ignore[misc]  # channels ships no types
    """Messages: ``streams.start``, ``streams.wake``, ``streams.drain``. Every stream process gets each of them."""

    async def streams_start(self, _: dict[str, Any]) -> None:
        WORK.start()

    async def streams_wake(self, _: dict[str, Any]) -> None:
        WORK.wake()

    async def streams_drain(self, _: dict[str, Any]) -> None:
        WORK.drain()
