"""The gateway pool: one gateway a connection and process, made on first use, closed when idle, evicted or deleted."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from accounts.tenancy import tenant_scope
from connections import database
from connections.breaker import Breaker, guarded
from connections.custody import read_credentials
from connections.exchanges import venue
from connections.exchanges.api_file import ApiFile
from connections.exchanges.contract import PublicApi
from connections.exchanges.network import Network
from connections.gateways import Credentials, Gateway, NotOffered
from connections.models import Connection, Mode
from connections.watch_only import Watch
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.errors import DomainError, NotFound
from desproject.lib.features import GATEWAY_TRUST

log = structlog.get_logger(__name__)

# A pooled gateway's row (a changed key, a deletion) is looked at again after so long. Of users who have GATEWAY_TRUST
# beside the work: the way to the exchange doesn't wait for the database, but where nobody used the gateway for
# TRUST_SECONDS. Of others always before it is given out.
RECHECK_SECONDS = 1.0
TRUST_SECONDS = 10.0
# So often the rows of all gateways are looked at, used or not: the deleted, the changed and the idle are closed then.
WATCH_SECONDS = 5.0
# So long the looks gather, to share a query.
_GATHER_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Opened:
    """What a gateway is built from, read in one database job."""

    exchange: str
    mode: str
    market: str
    version: int
    is_trusted: bool
    credentials: Credentials


# Makes the gateway of a paper account: (connection, user, feed, the venue's public data).
PaperGateways = Callable[[UUID, UUID, str, PublicApi], Gateway]


class Look(NamedTuple):
    """What a look at a connection's row tells: its credential version, and whether its user has GATEWAY_TRUST."""

    version: int
    is_trusted: bool


@dataclass(slots=True)
class _Entry:
    gateway: Gateway
    user_id: UUID
    version: int
    is_trusted: bool
    # The version of the exchange's API that it was built by, and the one that it should go by (ADR 24).
    api: ApiFile
    goes_by: Callable[[], ApiFile]
    used_at: float
    checked_at: float

    @property
    def trusted_for(self) -> float:
        """For how many seconds after a look at its row it is given out before the next one."""
        return TRUST_SECONDS if self.is_trusted else RECHECK_SECONDS

    @property
    def is_outdated(self) -> bool:
        return self.goes_by() is not self.api

    def confirm(self, look: Look | None, at: float) -> bool:
        """Notes a look at the row; False when the gateway is no longer the row's."""
        if look is None or look.version != self.version:
            return False
        self.is_trusted, self.checked_at = look.is_trusted, at
        return True


class GatewayPool:
    """``get`` on every use; never keep what it returns. For one event loop.

    A gateway past ``idle_seconds`` without use, or beyond ``max_size`` the least recently used, is closed. A raised
    ``credential_version`` or a deletion is seen with the use after the next look at the row, and where nobody uses the
    gateway after ``WATCH_SECONDS``; who knows of one says ``close``, which acts at once.
    """

    def __init__(
        self,
        network: Network | None = None,
        *,
        max_size: int | None = None,
        idle_seconds: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
        paper: PaperGateways | None = None,
    ) -> None:
        self._paper = paper
        self.network = network or Network(clock)
        self.watch = Watch(clock)
        self.created = 0
        self._max_size = max_size or settings.CONFIG.gateway_pool_size
        self._idle_seconds = idle_seconds or settings.CONFIG.gateway_idle_seconds
        self._clock = clock
        self._entries: OrderedDict[UUID, _Entry] = OrderedDict()
        self._locks: dict[UUID, asyncio.Lock] = {}
        self._waiting: dict[UUID, int] = {}
        # Connections whose rows are to be looked at beside the work, with their users; and the task that does it.
        self._due: dict[UUID, UUID] = {}
        self._looking: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, connection_id: UUID, user_id: UUID) -> Gateway:
        """The connection's gateway. Raises NotFound (deleted, or another tenant's), CredentialsUnreadable."""
        entry = self._entries.get(connection_id)
        if entry is not None and entry.user_id != user_id:
            raise NotFound("no such connection")
        if entry is None or entry.is_outdated or self._age(entry) >= entry.trusted_for:
            async with self._alone(connection_id):
                entry = await self._checked(connection_id, user_id)
        elif self._age(entry) >= RECHECK_SECONDS:
            self._due[connection_id] = user_id
            if self._looking is None:
                self._looking = asyncio.create_task(self._look(), name="gateway-look")
        self._touch(connection_id, entry)
        await self._shrink()
        return entry.gateway

    async def close(self, connection_id: UUID) -> None:
        """Closes the connection's gateway, if there is one."""
        async with self._alone(connection_id):
            await self._drop(connection_id)

    async def close_idle(self) -> None:
        """Closes what nobody has used for long; done with every use of the pool, and where there is none."""
        limit = self._clock.monotonic() - self._idle_seconds
        while self._entries:
            connection_id, entry = next(iter(self._entries.items()))  # the least recently used
            if entry.used_at > limit:
                return
            await self._drop(connection_id)

    async def aclose(self) -> None:
        """Closes every gateway and the sockets under them."""
        tasks = [task for task in (self._looking, self._watching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection_id in list(self._entries):
            await self._drop(connection_id)
        await self.network.aclose()

    def _age(self, entry: _Entry) -> float:
        """Seconds since the entry's row was looked at."""
        return self._clock.monotonic() - entry.checked_at

    async def _look(self) -> None:
        """Looks at the rows that are due, many with one query. Where that fails, a later use waits for its own look
        and hears why."""
        try:
            await asyncio.sleep(_GATHER_SECONDS)
            due = dict(self._due)
            began = self._clock.monotonic()
            looks = await database.run(look_at, due)
            for connection_id, user_id in due.items():
                entry = self._entries.get(connection_id)
                if entry is None or not entry.confirm(looks.get(connection_id), began):
                    await self._renew(connection_id, user_id)
                self._due.pop(connection_id, None)
        except (DatabaseError, InterfaceError) as error:
            self._due.clear()
            log.info("gateways_not_looked_at", error=type(error).__name__)
        finally:
            self._looking = None

    async def _watch(self) -> None:
        """While there are gateways: closes those that are idle, and those that are no longer their row's."""
        while self._entries:
            await asyncio.sleep(WATCH_SECONDS)
            await self.close_idle()
            try:
                await self._close_outdated()
            except (DatabaseError, InterfaceError) as error:
                log.info("gateways_not_looked_at", error=type(error).__name__)

    async def _close_outdated(self) -> None:
        """Looks at all rows with one query. What was used meanwhile has had its own look."""
        known, began = dict(self._entries), self._clock.monotonic()
        looks = await database.run(look_at, {connection_id: entry.user_id for connection_id, entry in known.items()})
        for connection_id, entry in known.items():
            if entry.checked_at <= began and not entry.confirm(looks.get(connection_id), began):
                async with self._alone(connection_id):
                    if self._entries.get(connection_id) is entry:
                        await self._drop(connection_id)

    async def _renew(self, connection_id: UUID, user_id: UUID) -> None:
        try:
            async with self._alone(connection_id):
                await self._checked(connection_id, user_id)
        except DomainError as error:
            log.info("gateway_not_renewed", connection_id=str(connection_id), error=type(error).__name__)

    async def _checked(self, connection_id: UUID, user_id: UUID) -> _Entry:
        """Alone for this connection: the entry after a look at the row, made new where it has to be."""
        entry = self._entries.get(connection_id)
        now = self._clock.monotonic()
        if entry is not None and entry.is_outdated:
            await self._drop(connection_id)
            entry = None
        if entry is not None and self._age(entry) < RECHECK_SECONDS:
            return entry
        if entry is not None:
            look = (await database.run(look_at, {connection_id: user_id})).get(connection_id)
            # Evicted or idle while its row was looked at, it is closed: nobody may get it any more.
            if entry.confirm(look, now) and self._entries.get(connection_id) is entry:
                return entry
            await self._drop(connection_id)
            if look is None:
                raise NotFound("no such connection")
        opened = await database.run(open_connection, connection_id, user_id)
        of, mode, who = venue(opened.exchange).versions.of, opened.market, opened.credentials.connection
        api = of(mode, who)
        gateway = self._made(connection_id, user_id, opened)
        entry = _Entry(
            gateway, user_id, opened.version, opened.is_trusted, api, partial(of, mode, who), now, now
        )  # fmt: skip
        self._entries[connection_id] = entry
        self.created += 1
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch(), name="gateway-watch")
        return entry

    def _made(self, connection_id: UUID, user_id: UUID, opened: Opened) -> Gateway:
        """Raises NotOffered for a paper account in a process that trades none."""
        kind = venue(opened.exchange)
        if opened.mode == Mode.PAPER:
            if self._paper is None:
                raise NotOffered("a paper account is at no exchange")
            feed = f"{opened.exchange}:{opened.market}"
            return self._paper(connection_id, user_id, feed, kind.public(opened.market, self.network))
        shapes = self.watch.shapes(f"{opened.exchange}:{opened.mode}")
        return guarded(
            kind.gateway(opened.credentials, opened.mode, self.network),
            self._breaker(connection_id),
            lambda call, error: shapes.note(call, str(connection_id), error),
        )

    def _breaker(self, connection_id: UUID) -> Breaker:
        """A new one with every gateway: another key is another chance."""
        config = settings.CONFIG
        return Breaker(
            str(connection_id), self._clock, failures=config.breaker_failures, seconds=config.breaker_seconds
        )

    def _touch(self, connection_id: UUID, entry: _Entry) -> None:
        entry.used_at = self._clock.monotonic()
        if connection_id in self._entries:
            self._entries.move_to_end(connection_id)

    async def _shrink(self) -> None:
        await self.close_idle()
        while len(self._entries) > self._max_size:
            await self._drop(next(iter(self._entries)))

    async def _drop(self, connection_id: UUID) -> None:
        entry = self._entries.pop(connection_id, None)
        if entry is not None:
            await entry.gateway.aclose()

    @contextlib.asynccontextmanager
    async def _alone(self, connection_id: UUID) -> AsyncIterator[None]:
        """One at a time for each connection; locks nobody waits for are forgotten."""
        lock = self._locks.setdefault(connection_id, asyncio.Lock())
        self._waiting[connection_id] = self._waiting.get(connection_id, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[connection_id] -= 1
            if not self._waiting[connection_id]:
                del self._waiting[connection_id], self._locks[connection_id]


@contextlib.asynccontextmanager
async def lent_gateway(exchange: str, mode: str, credentials: Credentials) -> AsyncIterator[Gateway]:
    """A gateway outside any pool, for testing a key before it is stored. Raises InvalidInput."""
    network = Network()
    try:
        gateway = venue(exchange).gateway(credentials, mode, network)
        try:
            yield gateway
        finally:
            await gateway.aclose()
    finally:
        await network.aclose()


def look_at(owners: Mapping[UUID, UUID]) -> dict[UUID, Look]:
    """What the rows of these users' living connections say, by connection. In a database thread."""
    with tenant_scope(*owners.values()):
        rows = Connection.objects.filter(pk__in=owners, is_deleted=False).select_related("user")
        found = rows.only("user_id", "credential_version", "user__is_alpha")
        return {
            row.pk: Look(row.credential_version, GATEWAY_TRUST.reaches(row.user))
            for row in found
            if owners[row.pk] == row.user_id
        }


def open_connection(connection_id: UUID, user_id: UUID, use: str = "gateway") -> Opened:
    """Reads and decrypts a connection, and audits that its key was read. In a database thread.

    Raises NotFound, CredentialsUnreadable.
    """
    with tenant_scope(user_id):
        row = Connection.objects.select_related("user").filter(pk=connection_id, is_deleted=False).first()
        if row is None:
            raise NotFound("no such connection")
        is_trusted = GATEWAY_TRUST.reaches(row.user)
        credentials = Credentials("", "") if row.is_paper else read_credentials(row, use)
        return Opened(row.exchange, row.mode, row.market, row.credential_version, is_trusted, credentials)
