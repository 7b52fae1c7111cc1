"""A process's HTTP to exchanges: one shared pool of sockets, hosts that are shut until a time, and the exact moment
of writing.

What happened to a request is told apart by whether its first byte was handed to the socket: before, nothing can have
happened (Unreachable, DeadlinePassed, Throttled); after, only an answer makes it known (OutcomeUnknown).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar

import aiohttp
import structlog
from yarl import URL

from connections.gateways import Banned, DeadlinePassed, OutcomeUnknown, SendDeadline, Throttled, Unreachable
from desproject.lib.clock import SYSTEM_CLOCK, Clock

log = structlog.get_logger(__name__)

T = TypeVar("T")
CONNECT_SECONDS = 5.0
_KEEPALIVE_SECONDS = 30
_SOCKETS = 200


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. ``url`` is sent exactly as it is; it may hold a signature, so it is never shown."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    # Seconds from the start to the whole answer.
    timeout: float = 10.0
    deadline: SendDeadline | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(slots=True)
class _Writing:
    """Watches one request's way to the socket."""

    clock: Clock
    deadline: SendDeadline | None
    begun: bool = False

    def about_to_write(self) -> None:
        if self.deadline is not None and self.clock.monotonic() >= self.deadline.monotonic:
            raise DeadlinePassed("the time to send this order had passed")
        self.begun = True


@dataclass(frozen=True, slots=True)
class _Shut:
    until: float  # monotonic
    banned: bool


class Network:
    """Shared by all gateways and streams of a process, on one event loop. Close it with ``aclose``."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._shut: dict[str, _Shut] = {}
        self._shared: dict[object, Any] = {}

    async def send(self, request: Request) -> Answer:
        """Sends once. Raises Throttled or Banned (the host is shut), DeadlinePassed, Unreachable, OutcomeUnknown."""
        self.require_open(request.url)
        writing = _Writing(self.clock, request.deadline)
        timeout = aiohttp.ClientTimeout(total=request.timeout, connect=min(CONNECT_SECONDS, request.timeout))
        url = URL(request.url, encoded=True)
        try:
            async with self._open_session().request(
                request.method, url, headers=request.headers, timeout=timeout, allow_redirects=False,
                trace_request_ctx=writing,
            ) as answer:  # fmt: skip
                return Answer(answer.status, answer.headers, await answer.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # Only the kind of error: its text may quote the address, which holds the signature.
            what = type(error).__name__
            if writing.begun:
                raise OutcomeUnknown(f"no answer from {url.host} ({what})") from None
            raise Unreachable(f"{url.host} can't be reached ({what})") from None

    def shut(self, url: str, seconds: float, *, banned: bool) -> None:
        """Lets nothing more out to the url's host for so long."""
        host = _host(url)
        until = self.clock.monotonic() + seconds
        known = self._shut.get(host)
        if known is None or until > known.until:
            self._shut[host] = _Shut(until, banned)
            log.warning("exchange_host_shut", host=host, seconds=round(seconds, 1), banned=banned)

    def require_open(self, url: str) -> None:
        """Raises Throttled or Banned while the url's host is shut."""
        shut = self._shut.get(_host(url))
        if shut is None:
            return
        left = shut.until - self.clock.monotonic()
        if left > 0:
            kind = Banned if shut.banned else Throttled
            raise kind("the exchange wants no requests from us for a while", retry_after=left)
        del self._shut[_host(url)]

    def shared(self, key: object, make: Callable[[], T]) -> T:
        """The object of ``key`` that lives as long as this network; made on first use."""
        if key not in self._shared:
            self._shared[key] = make()
        found: T = self._shared[key]
        return found

    async def aclose(self) -> None:
        """Closes every socket, and what is shared and has an ``aclose``."""
        shared, self._shared = self._shared, {}
        for found in shared.values():
            if (close := getattr(found, "aclose", None)) is not None:
                await close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_SOCKETS, keepalive_timeout=_KEEPALIVE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[_tracing()],
                headers={"User-Agent": "DES"},
            )
        return self._session


def _tracing() -> aiohttp.TraceConfig:
    """Calls the request's _Writing in the same step of the loop in which its first byte is written: our requests have
    no body, for which aiohttp would start another task."""
    config = aiohttp.TraceConfig()

    async def before_write(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
        context.trace_request_ctx.about_to_write()

    config.on_request_headers_sent.append(before_write)
    return config


def _host(url: str) -> str:
    return URL(url, encoded=True).authority
