"""``runworker`` of Channels, which starts its own work and ends it in order.

A message sent before a worker has subscribed is lost, so nobody sends the first one: it is put into the application's
queue here. Channels' own command dies of SIGTERM at once; this one hands over first and then exits with 0.
"""

import asyncio
import signal
from typing import Any

import structlog
from channels.management.commands.runworker import Command as ChannelsCommand
from channels.worker import Worker

from connections import key_holders
from connections.consumers import CHANNEL, WORK
from desproject.lib.metrics import publishing

log = structlog.get_logger(__name__)

_LISTEN_AGAIN_SECONDS = 1.0


class StartingWorker(Worker):  # type: ignore[misc]  # channels ships no types
    """Listens as Channels' worker does, but survives a Redis that is away, and stops when told to."""

    def run(self) -> None:
        asyncio.run(self._run())

    async def listener(self, channel: str) -> None:
        """A broken channel layer costs messages, which are only hints; the work goes on."""
        while True:
            try:
                await super().listener(channel)
            except Exception as error:  # noqa: BLE001  # the layer may fail in any way
                log.warning("channel_not_heard", channel=channel, error=type(error).__name__)
            await asyncio.sleep(_LISTEN_AGAIN_SECONDS)

    async def _run(self) -> None:
        publishing.start()
        key_holders.start()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        tasks = [asyncio.create_task(self.application_checker())]
        tasks += [asyncio.create_task(self.listener(name)) for name in self.channels]
        if CHANNEL in self.channels:
            tasks.append(asyncio.create_task(self._begin()))
        over = asyncio.create_task(self._until_over(stop))
        await over
        WORK.drain()
        await WORK.ended()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self) -> None:
        """Again until it worked: an application instance dies of a Redis that is away, and with it its messages."""
        while not WORK.has_begun:
            queue = self.get_or_create_application_instance(CHANNEL, {"type": "channel", "channel": CHANNEL})
            queue.put_nowait({"type": "streams.start"})
            await asyncio.sleep(_LISTEN_AGAIN_SECONDS)

    async def application_exception(self, exception: Exception, application_details: dict[str, Any]) -> None:
        """The next message starts another instance; the streams themselves don't run inside of one."""
        log.warning("channel_application_ended", error=type(exception).__name__)

    async def _until_over(self, stop: asyncio.Event) -> None:
        """Until a signal, or until the work ended by itself: drained by message or by the database."""
        stopping = asyncio.create_task(stop.wait())
        over = asyncio.create_task(WORK.over.wait())
        try:
            await asyncio.wait({stopping, over}, return_when="FIRST_COMPLETED")
        finally:
            for task in (stopping, over):
                task.cancel()


class Command(ChannelsCommand):  # type: ignore[misc]  # channels ships no types
    """See above."""

    worker_class = StartingWorker
