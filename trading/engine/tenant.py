"""A tenant as an actor: one message after the other, so pending orders always count and nothing is decided twice.

A message is a coroutine function without arguments. No task waits on an idle tenant: one is started by the first
message and ends with the last, so tasks are bounded by the tenants that are busy now.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from uuid import UUID

import structlog
from django.conf import settings

from trading.engine.committer import CommitUnknown, Fenced, WriteSet
from trading.engine.state import TenantState
from trading.engine.waiting_orders import WaitingOrders

log = structlog.get_logger(__name__)

Message = Callable[[], Awaitable[None]]


class Tenant:
    """One user's mailbox and state on the engine that owns the user's shard."""

    def __init__(
        self, state: TenantState, shard: int, epoch: int, reload: Callable[[UUID], Awaitable[TenantState]]
    ) -> None:
        self.state = state
        self.user_id = state.user_id
        self.shard = shard
        self.epoch = epoch
        self.closed = False
        self.queue = WaitingOrders(settings.CONFIG.order_queue_batch)
        self._reload = reload
        self._mailbox: deque[tuple[Hashable, Message]] = deque()
        self._waiting: set[Hashable] = set()
        self._running: asyncio.Task[None] | None = None

    def post(self, message: Message, *, key: Hashable = None, first: bool = False) -> None:
        """Puts a message into the mailbox; those of a closed tenant are dropped: another engine acts for it.

        One with the ``key`` of a message that still waits is dropped too: what it would do is to come anyway.
        ``first`` lets it overtake those that wait.
        """
        if self.closed or key in self._waiting:
            return
        if key is not None:
            self._waiting.add(key)
        if first:
            self._mailbox.appendleft((key, message))
        else:
            self._mailbox.append((key, message))
        if self._running is None:
            self._running = asyncio.create_task(self._work(), name=f"tenant-{self.user_id}")

    def write_set(self) -> WriteSet:
        return WriteSet(self.user_id, self.shard, self.epoch)

    async def close(self) -> None:
        """Ends after the message under way; the rest is dropped."""
        self.abandon()
        if self._running is not None:
            await asyncio.wait([self._running])

    def abandon(self) -> None:
        """Nothing waiting is handled any more, nor what is posted from now on."""
        self.closed = True
        self._mailbox.clear()
        self.queue.clear()
        self._waiting.clear()

    @property
    def is_busy(self) -> bool:
        return self._running is not None

    @property
    def depth(self) -> int:
        return len(self._mailbox)

    async def _work(self) -> None:
        try:
            while self._mailbox:
                key, message = self._mailbox.popleft()
                self._waiting.discard(key)
                await self._handle(message)
        finally:
            self._running = None

    async def _handle(self, message: Message) -> None:
        try:
            await message()
        except Fenced:
            log.warning("tenant_fenced", user_id=str(self.user_id), shard=self.shard)
            self.abandon()
        except CommitUnknown:
            await self._reload_state()
        except Exception:  # one tenant's bad message must not end its actor
            log.exception("tenant_message_failed", user_id=str(self.user_id))
            await self._reload_state()

    async def _reload_state(self) -> None:
        """What was written is not known: the database says. Retried until it answers or the shard is lost."""
        self.queue.clear()  # of these too: one of them may be cancelled
        pause = 0.1
        while not self.closed:
            try:
                self.state = await self._reload(self.user_id)
            except Exception as error:  # noqa: BLE001  # the database is away; its return is waited for
                log.warning("tenant_reload_failed", user_id=str(self.user_id), error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)
            else:
                return
