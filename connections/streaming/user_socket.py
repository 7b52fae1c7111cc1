"""One socket of a feed's user data, with the accounts that it carries, each event published to its tenant's shard
(STR-6)."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError
from websockets.exceptions import ConnectionClosed

from connections import database
from connections.exchanges.api_file import ApiFile
from connections.exchanges.contract import (
    ONLY,
    AddressedUserDialect,
    Alive,
    BalanceNews,
    Confirmed,
    Ending,
    OrderNews,
    PublicApi,
    Refused,
    Subscribed,
    Terminated,
    UserDialect,
    UserFrame,
    Venue,
)
from connections.exchanges.network import Network
from connections.gateways import Credentials, KeyRefused, NothingHappened, OrderRejected, UnexpectedShape
from connections.pool import open_connection
from connections.streaming.kept_socket import (
    RECONNECT_FAILURE,
    UNBOUNDED,
    Address,
    KeptSocket,
    OnAlert,
    SocketReader,
    SocketSlots,
    StreamCut,
    Timing,
    unheard,
)
from connections.streaming.user_accounts import AccountKey
from connections.streaming.user_publisher import Line, UserPublisher
from desproject.lib.clock import Clock
from desproject.lib.errors import DomainError

log = structlog.get_logger(__name__)

BEAT_SECONDS = 1.0
# A refused key is tried again after so long; a new key at once.
REFUSED_SECONDS = 30.0
_ANSWER_SECONDS = 10.0
_MAX_BUFFERED = 50_000
_MAX_EARLY = 1000


class KeyNotRead(DomainError):
    """The database is away; the account is tried again, and the others are heard on."""

    code = "KEY_NOT_READ"
    status = 503


@dataclass(slots=True)
class Account:
    """An account that is to be heard. Its key stays in memory while it is."""

    key: AccountKey
    line: Line
    credentials: Credentials | None = field(default=None, repr=False)
    retry_at: float = 0.0


class UserSocket:
    """A socket that is kept up while it has accounts. ``want`` may change them at any time.

    Where the venue gives every account a socket of its own (``handshake``), there is never more than one.
    """

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
        self.accounts: dict[UUID, Account] = {}
        self.change = asyncio.Event()
        self.dialect: UserDialect | None = None
        self.clock = clock
        self.publisher = publisher
        self.figures = figures
        self._venue = venue
        self._mode = feed.rpartition(":")[2]
        self._network = network
        # What the socket goes by, of the versions of the exchange's API (ADR 24).
        self._api: ApiFile | None = None
        self._tell_alert = on_alert
        self.socket = KeptSocket(
            f"user {feed}", self._address, lambda reader: UserSession(self, reader), on_up=lambda: None,
            on_down=self._on_down, timing=timing, figures=figures, clock=clock, on_alert=self._on_alert,
            slots=slots,
        )  # fmt: skip

    def want(self, keys: Sequence[AccountKey]) -> None:
        """Says which accounts are to be heard from now on."""
        wanted = {key.connection_id: key for key in keys}
        gone = [account for known, account in self.accounts.items() if wanted.get(known) != account.key]
        for account in gone:
            del self.accounts[account.key.connection_id]
            if account.key.connection_id not in wanted:
                self.publisher.down(account.line, "the connection is closed")
                self.publisher.forget(account.key.connection_id)
        new = [key for known, key in wanted.items() if known not in self.accounts]
        for key in new:
            self.accounts[key.connection_id] = Account(key, self.publisher.line(key.connection_id, key.user_id))
        if gone or new:
            self._tell_change()

    @property
    def public(self) -> PublicApi:
        return self._venue.public(self._mode, self._network)

    def keep_up(self) -> None:
        """Replaces a socket that goes by another version of the exchange's API than it should by now, beside it."""
        if self.socket.session is not None and self._api is not self._venue.versions.of(self._mode):
            self.socket.session.ending.set()

    async def run(self) -> None:
        """Works until cancelled. While there is no account there is no socket."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_socket())
            group.create_task(self._beat())

    async def credentials(self, account: Account) -> Credentials:
        """The account's key, read once. Raises DomainError."""
        if account.credentials is None:
            owner, key = account.key.user_id, account.key.connection_id
            try:
                opened = await database.run(open_connection, key, owner, "user stream")
            except (DatabaseError, InterfaceError) as error:
                raise KeyNotRead("the account's key can't be read now: the database doesn't answer") from error
            account.credentials = opened.credentials
        return account.credentials

    def take(self, line: Line, frame: OrderNews | BalanceNews) -> None:
        """One thing that the primary socket said of an account."""
        self.figures["user_frames"] += 1
        if isinstance(frame, OrderNews):
            self.publisher.order(line, frame, time.time_ns())
        else:
            self.publisher.balances(line, frame, time.time_ns())

    def _on_alert(self, name: str, kind: str) -> None:
        """Whoever owns one of the accounts should know."""
        self._tell_alert(name, kind)
        if kind == RECONNECT_FAILURE:
            for account in self.accounts.values():
                self.publisher.down(account.line, "ten tries to connect failed, trying on")

    async def _keep_socket(self) -> None:
        while True:
            while not self.accounts:
                await self.change.wait()
            running = asyncio.create_task(self.socket.run())
            try:
                await self._while_wanted(running)
            finally:
                await self.socket.stop(running)

    async def _while_wanted(self, running: "asyncio.Task[None]") -> None:
        while self.accounts and not running.done():
            changed = asyncio.create_task(self.change.wait())
            try:
                await asyncio.wait({running, changed}, return_when="FIRST_COMPLETED")
            finally:
                changed.cancel()

    async def _beat(self) -> None:
        """Each second: heard accounts say so, refused ones may be tried again."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            session = self.socket.session
            if not isinstance(session, UserSession):
                continue
            heard = session.heard
            for account in self.accounts.values():
                if account.key in heard:
                    self.publisher.beat(account.line)
            if any(0 < account.retry_at <= self.clock.monotonic() for account in self.accounts.values()):
                self._tell_change()

    async def _address(self) -> Address:
        self._api = self._venue.versions.of(self._mode)
        dialect = self.dialect = await self._venue.user_dialect(self._mode, self._network)
        if dialect.accounts_per_socket == 1:
            return await self._own_address(dialect)
        return Address(dialect.url, dialect.lifetime, {})

    async def _own_address(self, dialect: UserDialect) -> Address:
        """What opens the only account's socket. Raises StreamCut where that can't be had; its engine is told why."""
        account = next(iter(self.accounts.values()), None)
        if account is None:
            raise StreamCut("the account is gone")
        try:
            credentials = await self.credentials(account)
            headers = dialect.handshake(credentials, await self.public.now_ms())
            url = await dialect.address(credentials) if isinstance(dialect, AddressedUserDialect) else dialect.url
        except DomainError as error:
            self._on_down(error.message)
            raise StreamCut(error.message) from error
        return Address(url, dialect.lifetime, headers)

    def _on_down(self, reason: str) -> None:
        for account in self.accounts.values():
            self.publisher.down(account.line, reason)

    def _tell_change(self) -> None:
        changed, self.change = self.change, asyncio.Event()
        changed.set()


class UserSession:
    """One user data socket. Until it is promoted, what it says is kept."""

    def __init__(self, stream: UserSocket, reader: SocketReader) -> None:
        assert stream.dialect is not None  # noqa: S101  # the address came from it
        self.ready = asyncio.Event()
        self.ending = asyncio.Event()
        self._stream = stream
        self._dialect = stream.dialect
        self._reader = reader
        self._heard: dict[int, Account] = {}
        self._asked: dict[int, tuple[Account, asyncio.Event]] = {}
        # Events may overtake the answer that says whose subscription it is.
        self._early: dict[int, list[OrderNews | BalanceNews]] = {}
        self._request_id = 0
        self._is_primary = False
        self._is_retired = False
        self._kept: list[Callable[[], None]] = []
        self._malformed = 0

    async def run(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            subscribing = asyncio.create_task(self._keep_subscribed())
            stack.callback(subscribing.cancel)
            if isinstance(self._dialect, AddressedUserDialect):
                keeping = asyncio.create_task(self._keep_alive(self._dialect))
                stack.callback(keeping.cancel)
            async for frame in self._reader.frames(may_be_silent=lambda: True):
                self._read(frame)

    def promote(self) -> None:
        """A first socket starts every account's epoch; a successor only goes on."""
        self._is_primary = True
        kept, self._kept = self._kept, []
        for step in kept:
            step()

    def retire(self) -> None:
        self._is_retired = True

    @property
    def heard(self) -> set[AccountKey]:
        """The accounts whose events come by this socket."""
        return {account.key for account in self._heard.values()}

    # Frames.

    def _read(self, frame: bytes) -> None:
        try:
            found = self._dialect.read(frame)
        except UnexpectedShape as error:
            self._on_unreadable(error)
            return
        except (ValueError, ArithmeticError) as error:  # a stamp beyond all years, say: no reason to end every socket
            self._on_unreadable(UnexpectedShape(f"a value that can't be one ({type(error).__name__})"))
            return
        if isinstance(found, Subscribed):
            self._on_subscribed(found)
        elif isinstance(found, Refused):
            self._on_refused(found)
        elif isinstance(found, Confirmed):
            self._answered(found.request_id)
        elif isinstance(found, Alive):
            for request_id in list(self._asked):
                self._on_subscribed(Subscribed(request_id, ONLY))
        elif isinstance(found, Ending):
            self.ending.set()
        elif found is not None:
            self._on_event(found)

    def _on_event(self, event: UserFrame) -> None:
        if isinstance(event, Terminated):
            if self._dialect.accounts_per_socket == 1:
                raise StreamCut("the exchange ended the account's socket")
            account = self._heard.pop(event.subscription, None)
            if account is not None and self._stream.accounts.get(account.key.connection_id) is account:
                self._lost(account, "the exchange ended the subscription")
        elif isinstance(event, OrderNews | BalanceNews):
            account = self._heard.get(event.subscription)
            if account is not None:
                self._do(lambda: self._stream.take(account.line, event))
            elif self._asked and len(self._early) < _MAX_EARLY:
                self._early.setdefault(event.subscription, []).append(event)

    def _do(self, step: Callable[[], None]) -> None:
        """Now, where this socket counts; when it is promoted, where it doesn't yet."""
        if self._is_retired:
            return
        if self._is_primary:
            step()
        elif len(self._kept) < _MAX_BUFFERED:
            self._kept.append(step)

    def _on_unreadable(self, error: UnexpectedShape) -> None:
        """It may have been a fill: every account asks the exchange."""
        self._malformed += 1
        self._stream.figures["user_frames_unreadable"] += 1
        if self._malformed == 1:
            log.error("frame_unreadable", stream=self._stream.socket.name, error=error.message)
        for account in self._heard.values():
            self._do(partial(self._stream.publisher.up, account.line, "a frame was unreadable"))

    # Subscribing.

    async def _keep_subscribed(self) -> None:
        """Accounts come and go; ends with the socket."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                change = self._stream.change
                await self._synchronise()
                self.ready.set()
                await change.wait()

    async def _synchronise(self) -> None:
        wanted = self._stream.accounts
        for subscription, account in list(self._heard.items()):
            if wanted.get(account.key.connection_id) is not account:
                del self._heard[subscription]
                if self._dialect.accounts_per_socket == 1:
                    continue  # its socket ends with it
                await self._request(partial(self._dialect.unsubscribe, subscription=subscription), account)
        now = self._stream.clock.monotonic()
        heard = self.heard
        missing = [account for account in wanted.values() if account.key not in heard and account.retry_at <= now]
        if len(self._heard) + len(missing) > self._dialect.accounts_per_socket:
            log.error("too_many_accounts", feed=self._stream.feed, limit=self._dialect.accounts_per_socket)
            missing = missing[: self._dialect.accounts_per_socket - len(self._heard)]
        await asyncio.gather(*(self._subscribe(account) for account in missing))
        self._early.clear()

    async def _subscribe(self, account: Account) -> None:
        try:
            credentials = await self._stream.credentials(account)
            if account.retry_at:  # the stamp may have been the reason
                await self._stream.public.resync_clock()
            now_ms = await self._stream.public.now_ms()
        except DomainError as error:
            self._lost(account, error.message)
            return
        await self._request(lambda number: self._dialect.subscribe(number, credentials, now_ms), account)

    async def _request(self, message: Callable[[int], str], account: Account) -> None:
        """Sends a request and waits for its answer; without one the account is tried again later."""
        self._request_id += 1
        number = self._request_id
        answered = asyncio.Event()
        self._asked[number] = (account, answered)
        if not (text := message(number)):
            self._on_subscribed(Subscribed(number, ONLY))
            return
        await self._reader.send(text)
        if self._dialect.probe:
            await self._reader.send(self._dialect.probe)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await answered.wait()
        except TimeoutError:
            self._asked.pop(number, None)
            self._lost(account, "the exchange didn't answer")

    def _on_subscribed(self, answer: Subscribed) -> None:
        account = self._answered(answer.request_id)
        if account is None:
            return
        account.retry_at = 0.0
        is_new = self._stream.socket.session is None or self._stream.socket.session is self
        self._heard[answer.subscription] = account
        if is_new:
            self._do(lambda: self._stream.publisher.up(account.line))
        for event in self._early.pop(answer.subscription, ()):
            self._on_event(event)

    def _on_refused(self, refused: Refused) -> None:
        account = self._answered(refused.request_id) if refused.request_id is not None else None
        if account is None:
            log.warning("request_refused", stream=self._stream.socket.name, reason=refused.reason)
            return
        pause = 1.0 if isinstance(refused.error, NothingHappened) else REFUSED_SECONDS
        if isinstance(refused.error, KeyRefused):
            log.warning("key_refused", connection_id=str(account.key.connection_id), reason=refused.reason)
        self._lost(account, refused.error.message, pause)

    async def _keep_alive(self, dialect: AddressedUserDialect) -> None:
        """An address that has ended although it was kept alive is replaced by another one, beside this socket."""
        pause = dialect.keep_alive_seconds
        while True:
            await asyncio.sleep(pause)
            account = next(iter(self._stream.accounts.values()), None)
            try:
                if account is not None:
                    await dialect.keep_alive(await self._stream.credentials(account))
                pause = dialect.keep_alive_seconds
            except OrderRejected:
                self.ending.set()
                return
            except DomainError as error:
                log.warning("address_not_kept_alive", stream=self._stream.socket.name, error=error.code)
                pause = min(REFUSED_SECONDS, dialect.keep_alive_seconds)

    def _answered(self, request_id: int) -> Account | None:
        account, answered = self._asked.pop(request_id, (None, None))
        if answered is not None:
            answered.set()
        return account

    def _lost(self, account: Account, reason: str, pause: float = 1.0) -> None:
        """The account isn't heard; it is tried again after a pause."""
        account.retry_at = self._stream.clock.monotonic() + pause
        if account.key.connection_id in self._stream.accounts:
            self._do(lambda: self._stream.publisher.down(account.line, reason))
