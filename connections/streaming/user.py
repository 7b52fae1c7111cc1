"""A feed's user data: sockets that carry as many accounts as the venue allows, which may be one."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from connections.exchanges.contract import Venue
from connections.exchanges.network import Network
from connections.streaming.kept_socket import UNBOUNDED, OnAlert, SocketSlots, Timing, unheard
from connections.streaming.user_accounts import AccountKey
from connections.streaming.user_publisher import UserPublisher
from connections.streaming.user_socket import Account, UserSocket
from desproject.lib.clock import Clock


class UserStream:
    """Runs while this process holds the feed's lease. ``want`` may change the accounts at any time."""

    def __init__(
        self,
        feed: str,
        venue: Venue,
        network: Network,
        publisher: UserPublisher,
        *,
        timing: Timing,
        figures: Counter[str],
        clock: Clock,
        slots: SocketSlots = UNBOUNDED,
        on_alert: OnAlert = unheard,
    ) -> None:
        self.feed = feed
        self.publisher = publisher
        self._make = partial(
            UserSocket, feed, venue, network, publisher, timing=timing, figures=figures, clock=clock, slots=slots,
            on_alert=on_alert,
        )  # fmt: skip
        self._most = venue.capabilities.accounts_per_user_socket
        # By the account that has it to itself, and those that carry many.
        self._own: dict[UUID, UserSocket] = {}
        self._shared: list[UserSocket] = []
        self._tasks: dict[UserSocket, asyncio.Task[None]] = {}
        self._change = asyncio.Event()

    @property
    def accounts(self) -> dict[UUID, Account]:
        """Every account that is to be heard."""
        return {key: account for socket in self._sockets for key, account in socket.accounts.items()}

    @property
    def is_up(self) -> bool:
        return all(socket.socket.is_up for socket in self._sockets if socket.accounts)

    @property
    def _sockets(self) -> list[UserSocket]:
        return [*self._own.values(), *self._shared]

    def keep_up(self) -> None:
        """See MarketStream.keep_up."""
        for socket in self._sockets:
            socket.keep_up()

    def want(self, keys: Sequence[AccountKey]) -> None:
        """Says which accounts are to be heard from now on."""
        wanted = {key.connection_id: key for key in keys}
        if self._most > 1:
            self._share_out(wanted)
        else:
            self._give_each_its_own(wanted)
        self._change.set()

    def _share_out(self, wanted: dict[UUID, AccountKey]) -> None:
        """Accounts stay where they are; new ones go where there is room, else to a new socket."""
        carried = [[wanted.pop(known) for known in socket.accounts if known in wanted] for socket in self._shared]
        new = list(wanted.values())
        room = sum(self._most - len(row) for row in carried)
        for _ in range(-(-(len(new) - room) // self._most)):
            self._shared.append(self._make())
            carried.append([])
        for socket, row in zip(self._shared, carried, strict=True):
            count = self._most - len(row)
            socket.want([*row, *new[:count]])
            del new[:count]

    def _give_each_its_own(self, wanted: dict[UUID, AccountKey]) -> None:
        for connection_id, account in self.accounts.items():
            if wanted.get(connection_id) != account.key:  # a new key signs on anew
                self._own.pop(connection_id).want([])
        for connection_id, key in wanted.items():
            if connection_id not in self._own:
                self._own[connection_id] = self._make()
                self._own[connection_id].want([key])

    async def run(self) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.publisher.run())
            try:
                while True:
                    self._change.clear()
                    self._match_tasks(group)
                    await self._change.wait()
            finally:
                self._tasks.clear()

    def _match_tasks(self, group: asyncio.TaskGroup) -> None:
        """Every socket has its task, and no other has."""
        for socket in self._tasks.keys() - set(self._sockets):
            self._tasks.pop(socket).cancel()
        for socket in set(self._sockets) - self._tasks.keys():
            self._tasks[socket] = group.create_task(socket.run())
