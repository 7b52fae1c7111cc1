"""The gateway pool: one gateway a connection and process, made on first use, closed when idle, evicted or deleted."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, transaction

from accounts.tenancy import tenant_scope
from audit.record import record
from connections import database
from connections.custody import open_credentials
from connections.exchanges import venue
from connections.exchanges.network import Network
from connections.gateways import Credentials, Gateway
from connections.models import Connection
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.errors import DomainError, NotFound

log = structlog.get_logger(__name__)

# A pooled gateway's row (a changed key, a deletion) is looked at again after so long, beside the work: the way to the
# exchange doesn't wait for the database. One that nobody used for TRUST_SECONDS is looked at before it is given out.
RECHECK_SECONDS = 1.0
TRUST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Opened:
    """What a gateway is built from, read in one database job."""

    exchange: str
    mode: str
    version: int
    credentials: Credentials


@dataclass(slots=True)
class _Entry:
    gateway: Gateway
    version: int
    used_at: float
    checked_at: float


class GatewayPool:
    """``get`` on every use; never keep what it returns. For one event loop.

    A gateway past ``idle_seconds`` without use, or beyond ``max_size`` the least recently used, is closed. A raised
    ``credential_version`` or a deletion is seen with the use after the next look at the row; who knows of one says
    ``close``, which acts at once.
    """

    def __init__(
        self,
        network: Network | None = None,
        *,
        max_size: int | None = None,
        idle_seconds: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.network = network or Network(clock)
        self.created = 0
        self._max_size = max_size or settings.CONFIG.gateway_pool_size
        self._idle_seconds = idle_seconds or settings.CONFIG.gateway_idle_seconds
        self._clock = clock
        self._entries: OrderedDict[UUID, _Entry] = OrderedDict()
        self._locks: dict[UUID, asyncio.Lock] = {}
        self._waiting: dict[UUID, int] = {}
        self._looks: dict[UUID, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, connection_id: UUID, user_id: UUID) -> Gateway:
        """The connection's gateway. Raises NotFound (deleted, or another tenant's), CredentialsUnreadable."""
        entry = self._entries.get(connection_id)
        if entry is None or self._age(entry) >= TRUST_SECONDS:
            async with self._alone(connection_id):
                entry = await self._checked(connection_id, user_id)
        elif self._age(entry) >= RECHECK_SECONDS and connection_id not in self._looks:
            self._looks[connection_id] = asyncio.create_task(self._look(connection_id, user_id), name="gateway-look")
        self._touch(connection_id, entry)
        await self._shrink()
        return entry.gateway

    async def close(self, connection_id: UUID) -> None:
        """Closes the connection's gateway, if there is one."""
        async with self._alone(connection_id):
            await self._drop(connection_id)

    async def close_idle(self) -> None:
        """Closes what nobody has used for long; done with every use of the pool too."""
        limit = self._clock.monotonic() - self._idle_seconds
        for connection_id in [key for key, entry in self._entries.items() if entry.used_at <= limit]:
            await self._drop(connection_id)

    async def aclose(self) -> None:
        """Closes every gateway and the sockets under them."""
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        for connection_id in list(self._entries):
            await self._drop(connection_id)
        await self.network.aclose()

    def _age(self, entry: _Entry) -> float:
        """Seconds since the entry's row was looked at."""
        return self._clock.monotonic() - entry.checked_at

    async def _look(self, connection_id: UUID, user_id: UUID) -> None:
        """Looks at the row beside the work. Where that fails, a later use waits for its own look and hears why."""
        try:
            async with self._alone(connection_id):
                await self._checked(connection_id, user_id)
        except (DomainError, DatabaseError, InterfaceError) as error:
            log.info("gateway_not_renewed", connection_id=str(connection_id), error=type(error).__name__)
        finally:
            del self._looks[connection_id]

    async def _checked(self, connection_id: UUID, user_id: UUID) -> _Entry:
        """Alone for this connection: the entry after a look at the row, made new where it has to be."""
        entry = self._entries.get(connection_id)
        now = self._clock.monotonic()
        if entry is not None and self._age(entry) < RECHECK_SECONDS:
            return entry
        if entry is not None:
            version = await database.run(current_version, connection_id, user_id)
            if version == entry.version:
                entry.checked_at = now
                return entry
            await self._drop(connection_id)
            if version is None:
                raise NotFound("no such connection")
        opened = await database.run(open_connection, connection_id, user_id)
        gateway = venue(opened.exchange).gateway(opened.credentials, opened.mode, self.network)
        entry = self._entries[connection_id] = _Entry(gateway, opened.version, now, now)
        self.created += 1
        return entry

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


def current_version(connection_id: UUID, user_id: UUID) -> int | None:
    """The credential version of a living connection; None when it is gone. In a database thread."""
    with tenant_scope(user_id):
        rows = Connection.objects.filter(pk=connection_id, is_deleted=False)
        version: int | None = rows.values_list("credential_version", flat=True).first()
        return version


def open_connection(connection_id: UUID, user_id: UUID, use: str = "gateway") -> Opened:
    """Reads and decrypts a connection, and audits that its key was read. In a database thread.

    Raises NotFound, CredentialsUnreadable.
    """
    with tenant_scope(user_id), transaction.atomic():
        row = Connection.objects.filter(pk=connection_id, is_deleted=False).first()
        if row is None:
            raise NotFound("no such connection")
        credentials = open_credentials(row)
        record(
            "api_key.accessed", user_id=user_id, resource_type="connection", resource_id=row.pk, details={"use": use}
        )
        return Opened(row.exchange, row.mode, row.credential_version, credentials)
