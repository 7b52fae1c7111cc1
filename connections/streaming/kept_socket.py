"""A websocket that is kept up for ever: back-off after a cut, replacement when it is silent, renewal without a gap."""

import asyncio
import contextlib
import logging
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import NamedTuple, Protocol

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from connections.gateways import GatewayError
from desproject.lib.clock import Clock

log = structlog.get_logger(__name__)

FIRST_PAUSE = 1.0
ALERT_AFTER = 10
# More cuts than this within an hour are an alert, one an hour.
CUTS_AN_HOUR = 5
_HOUR = 3600.0
OPEN_SECONDS = 10.0
READY_SECONDS = 15.0
# Both sockets of a renewal are heard for so long before the old one goes.
OVERLAP_SECONDS = 1.0
_CLOSE_SECONDS = 1.0
_MAX_FRAME = 16 * 1024 * 1024
_PING_SECONDS = 20.0
# The library writes whole frames at DEBUG, and some of ours hold API keys.
_library_log = logging.getLogger("connections.websockets")
_library_log.setLevel(logging.WARNING)


class StreamCut(Exception):
    """The socket is of no use any more; the text says why."""


class NoSocketLeft(StreamCut):
    """This process keeps as many sockets as it may."""


class Session(Protocol):
    """What a stream does with one socket, from its opening to its end."""

    # Set when everything wanted is subscribed.
    ready: asyncio.Event
    # Set when the server said that it will close soon.
    ending: asyncio.Event

    async def run(self) -> None:
        """Subscribes and reads until the socket ends. Raises StreamCut, WebSocketException, OSError."""

    def promote(self) -> None:
        """From now on this session's frames count; those that came before are taken over now."""

    def retire(self) -> None:
        """From now on this session's frames don't count."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: the longest pause between tries, how long a socket may be silent, how long both sockets of a renewal
    are heard, how long one may live (None: as long as the venue lets it), after how long without a socket public data
    are polled, and how often."""

    longest_pause: float
    silence: float
    overlap: float = OVERLAP_SECONDS
    lifetime: float | None = None
    poll_after: float = 5.0
    poll_every: float = 1.0


class Address(NamedTuple):
    """Where a socket goes, how long it may live, and the headers that open it (they may hold a signature)."""

    url: str
    lifetime: float
    headers: Mapping[str, str]


class Backoff:
    """Pauses that double from ``first`` to ``longest``, each shortened by up to half at random."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = min(first, longest)
        self._longest = longest
        self.tries = 0

    def next(self) -> float:
        """The pause before the next try."""
        pause = min(self._first * 2.0 ** min(self.tries, 30), self._longest)
        self.tries += 1
        return pause * random.uniform(0.5, 1.0)  # noqa: S311  # spreads clients, guards nothing

    def reset(self) -> None:
        self.tries = 0


class CutWatch:
    """The cuts of the last hour."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._cuts: deque[float] = deque(maxlen=CUTS_AN_HOUR + 1)
        self._told_at = -inf

    def is_too_much(self) -> bool:
        """One more cut. True where that is one more than an hour should have, and it wasn't said this hour."""
        now = self._clock.monotonic()
        self._cuts.append(now)
        if len(self._cuts) <= CUTS_AN_HOUR or now - self._cuts[0] > _HOUR or now - self._told_at < _HOUR:
            return False
        self._told_at = now
        return True


class SocketSlots:
    """How many sockets a process may keep up (STR-5)."""

    def __init__(self, most: float) -> None:
        self._most = most
        self.taken = 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Room for one, given back at the end. Raises NoSocketLeft where there is none."""
        if self.taken >= self._most:
            raise NoSocketLeft(f"no room for another socket: this process keeps {self._most:g} (STREAM_SOCKETS)")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


UNBOUNDED = SocketSlots(inf)

# What an alert is about.
RECONNECT_FAILURE, CUTS = "reconnect_failure", "cuts"
# Is told a socket's name, and what about it.
OnAlert = Callable[[str, str], None]


def unheard(name: str, kind: str) -> None:
    """Nobody wants to know."""


class KeptSocket:
    """Runs one session after the other. ``address`` is asked anew for every socket.

    ``on_up`` and ``on_down`` tell of the whole, not of single sockets: a renewal is neither. ``on_alert`` is called
    with the name and RECONNECT_FAILURE when ALERT_AFTER tries failed, which doesn't end the trying, or CUTS. Counts go
    to ``figures``: connects, reconnects, cuts, connect_failures, renewals, reconnect_alerts, cut_alerts.
    """

    def __init__(
        self,
        name: str,
        address: Callable[[], Awaitable[Address]],
        make_session: Callable[["SocketReader"], Session],
        *,
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        timing: Timing,
        figures: Counter[str],
        clock: Clock,
        on_alert: OnAlert = unheard,
        slots: SocketSlots = UNBOUNDED,
    ) -> None:
        self.name = name
        self.session: Session | None = None
        self.is_up = False
        self._address = address
        self._lifetime = 0.0
        self._make_session = make_session
        self._on_up = on_up
        self._on_down = on_down
        self._on_alert = on_alert
        self._slots = slots
        self._cut_watch = CutWatch(clock)
        self._timing = timing
        self._figures = figures
        self._clock = clock
        self._backoff = Backoff(FIRST_PAUSE, timing.longest_pause)

    async def run(self) -> None:
        """Keeps the socket up until cancelled; then every socket is closed."""
        while True:
            try:
                with self._slots.one():  # the successor of a renewal is none more
                    await self._life()
            except (StreamCut, WebSocketException, GatewayError, OSError, TimeoutError) as error:
                self._tell_down(_why(error), is_refused=isinstance(error, NoSocketLeft))
            pause = self._backoff.next()
            if self._backoff.tries == ALERT_AFTER:
                self._figures["reconnect_alerts"] += 1
                self._alert(RECONNECT_FAILURE, tries=ALERT_AFTER)
            await asyncio.sleep(pause)

    async def stop(self, running: "asyncio.Task[None]") -> None:
        """Ends the task of ``run``. Raises what it ended with, if it had ended by itself."""
        if running.done():
            running.result()
        await _end(running)
        self.is_up, self.session = False, None

    async def _life(self) -> None:
        """From connecting to the first cut that no renewal prevented."""
        current = await self._open()
        try:
            self._tell_up(current.session)
            while True:
                await self._until_renewal(current)
                successor = await self._successor(current)
                await self._overlap(current, successor)
                current.session.retire()
                successor.session.promote()
                self.session, old, current = successor.session, current, successor
                await old.close()
                self._figures["renewals"] += 1
        finally:
            await current.close()

    async def _until_renewal(self, current: "_Open") -> None:
        """Returns when the socket is to be renewed. Raises what cut it."""
        ending = asyncio.create_task(current.session.ending.wait())
        try:
            done, _ = await asyncio.wait(
                {current.task, ending}, timeout=self._lifetime, return_when="FIRST_COMPLETED"
            )
        finally:
            ending.cancel()
        if current.task in done:
            _raise_end(current.task)

    async def _successor(self, current: "_Open") -> "_Open":
        """A second socket beside the first, tried again and again while the first one lives."""
        backoff = Backoff(FIRST_PAUSE, self._timing.longest_pause)
        while True:
            try:
                return await self._open()
            except (StreamCut, WebSocketException, GatewayError, OSError, TimeoutError) as error:
                log.warning("stream_renewal_failed", stream=self.name, error=_why(error))
            done, _ = await asyncio.wait({current.task}, timeout=backoff.next())
            if done:
                _raise_end(current.task)

    async def _overlap(self, current: "_Open", successor: "_Open") -> None:
        """Both are heard for a moment, so that the first one has told all that the second one hasn't."""
        tasks = {current.task, successor.task}
        try:
            await asyncio.wait(tasks, timeout=self._timing.overlap, return_when="FIRST_COMPLETED")
        except asyncio.CancelledError:
            await successor.close()
            raise

    async def _open(self) -> "_Open":
        """A connected session that has subscribed to everything."""
        try:
            url, longest, headers = await self._address()
            self._lifetime = self._timing.lifetime or longest
            socket = await connect(
                url, open_timeout=OPEN_SECONDS, close_timeout=_CLOSE_SECONDS, max_size=_MAX_FRAME, compression=None,
                ping_interval=min(_PING_SECONDS, self._timing.silence / 3), ping_timeout=self._timing.silence * 2 / 3,
                proxy=None, logger=_library_log, additional_headers=headers,
            )  # fmt: skip
        except (WebSocketException, GatewayError, OSError, TimeoutError):
            self._figures["connect_failures"] += 1
            raise
        session = self._make_session(SocketReader(socket, self._timing.silence))
        opened = _Open(session, asyncio.create_task(session.run(), name=self.name), socket)
        try:
            await self._until_ready(opened)
        except BaseException:
            await opened.close()
            raise
        return opened

    async def _until_ready(self, opened: "_Open") -> None:
        ready = asyncio.create_task(opened.session.ready.wait())
        try:
            done, _ = await asyncio.wait({opened.task, ready}, timeout=READY_SECONDS, return_when="FIRST_COMPLETED")
        finally:
            ready.cancel()
        if opened.task in done:
            _raise_end(opened.task)
        if not done:
            raise StreamCut("subscribing took too long")

    def _tell_up(self, session: Session) -> None:
        if self._figures["connects"]:
            self._figures["reconnects"] += 1
        self._figures["connects"] += 1
        log.info("stream_up", stream=self.name, tries=self._backoff.tries)
        self._backoff.reset()
        self.session, self.is_up = session, True
        self._on_up()
        session.promote()

    def _alert(self, kind: str, **details: object) -> None:
        log.error("stream_alert", stream=self.name, alert=kind, **details)
        self._on_alert(self.name, kind)

    def _tell_down(self, reason: str, *, is_refused: bool) -> None:
        self._figures["sockets_refused"] += is_refused
        if self.is_up:
            self._figures["cuts"] += 1
            if self._cut_watch.is_too_much():
                self._figures["cut_alerts"] += 1
                self._alert(CUTS, an_hour=CUTS_AN_HOUR + 1)
        log.warning("stream_down", stream=self.name, reason=reason, was_up=self.is_up, tries=self._backoff.tries)
        was_up, self.is_up, self.session = self.is_up, False, None
        if was_up or is_refused:
            self._on_down(reason)


@dataclass(frozen=True, slots=True)
class _Open:
    """A session, the task that runs it, and its socket."""

    session: Session
    task: "asyncio.Task[None]"
    socket: ClientConnection

    async def close(self) -> None:
        await _end(self.task)
        await self.socket.close()


class SocketReader:
    """A socket as sessions see it: frames in, messages out at a bounded rate."""

    def __init__(self, socket: ClientConnection, silence: float) -> None:
        self._socket = socket
        self._silence = silence

    async def send(self, text: str) -> None:
        await self._socket.send(text)

    async def frames(self, *, may_be_silent: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Every frame until the socket ends. Raises StreamCut after too long a silence (pings look after sockets that
        may be silent), WebSocketException."""
        while True:
            try:
                async with asyncio.timeout(None if may_be_silent() else self._silence):
                    frame = await self._socket.recv(decode=False)
            except TimeoutError:
                raise StreamCut(f"silent for {self._silence:g} s") from None
            yield frame


def _raise_end(task: "asyncio.Task[None]") -> None:
    task.result()
    raise StreamCut("the session ended")


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _why(error: BaseException) -> str:
    """What went wrong, without addresses: they may hold signatures."""
    if isinstance(error, StreamCut | GatewayError | WebSocketException):
        return f"{type(error).__name__}: {error}"
    return type(error).__name__
