"""A process's HTTP to exchanges: one shared pool of sockets, and the exact moment of writing.

What happened to a request is told apart by whether its first byte was handed to the socket: before, nothing can have
happened (Unreachable, DeadlinePassed); after, only an answer makes it known (OutcomeUnknown).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from connections.gateways import DeadlinePassed, GatewayError, OutcomeUnknown, SendDeadline, Unreachable
from desproject.lib.clock import SYSTEM_CLOCK, Clock

T = TypeVar("T")
CONNECT_SECONDS = 5.0
# An answer that hasn't come so long after the request's deadline is not waited for any more: the exchange is asked.
ANSWER_SECONDS = 5.0
_KEEPALIVE_SECONDS = 30
# No answer is longer than that: Binance's table of symbols, the longest, has less than half.
MOST_BYTES = 64 * 2**20
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
    body: bytes = field(default=b"", repr=False)
    # Awaited right before the first byte: connecting may have taken longer than the request's turn at the exchange.
    in_turn: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)


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
    in_turn: Callable[[], Awaitable[None]] | None
    begun: bool = False
    refused: GatewayError | None = None

    async def about_to_write(self) -> None:
        """Before the head, and again before a body, without which nobody can act. Raises DeadlinePassed, and what
        waiting for a turn raises."""
        try:
            if self.in_turn is not None:
                await self.in_turn()
            if self.deadline is not None and self.clock.monotonic() >= self.deadline.monotonic:
                raise DeadlinePassed("the time to send this order had passed")
        except GatewayError as error:
            self.refused = error
            raise
        self.begun = True


class Network:
    """Shared by all gateways and streams of a process, on one event loop. Close it with ``aclose``."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._shared: dict[object, Any] = {}

    async def send(self, request: Request) -> Answer:
        """Sends once. Raises DeadlinePassed, Unreachable, OutcomeUnknown, and what the request's ``in_turn`` raises."""
        writing = _Writing(self.clock, request.deadline, request.in_turn)
        patience = self._patience(request)
        timeout = aiohttp.ClientTimeout(total=patience, connect=min(CONNECT_SECONDS, patience))
        url = URL(request.url, encoded=True)
        try:
            async with self._open_session().request(
                request.method, url, headers=request.headers, timeout=timeout, allow_redirects=False,
                data=request.body or None, trace_request_ctx=writing,
            ) as answer:  # fmt: skip
                return Answer(answer.status, answer.headers, await _body(answer))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # Only the kind of error: its text may quote the address, which holds the signature.
            what = type(error).__name__
            if writing.refused is not None:
                raise writing.refused from None
            if writing.begun:
                raise OutcomeUnknown(f"no answer from {url.host} ({what})") from None
            raise Unreachable(f"{url.host} can't be reached ({what})") from None

    def _patience(self, request: Request) -> float:
        if request.deadline is None:
            return request.timeout
        return min(request.timeout, max(request.deadline.monotonic - self.clock.monotonic(), 0) + ANSWER_SECONDS)

    def shared(self, key: object, make: Callable[[], T]) -> T:
        """The object of ``key`` that lives as long as this network; made on first use."""
        if key not in self._shared:
            self._shared[key] = make()
        found: T = self._shared[key]
        return found

    async def aclose(self) -> None:
        """Closes every socket, and what is shared and has an ``aclose``, the newest first: it may use the others."""
        shared, self._shared = self._shared, {}
        for found in reversed(shared.values()):
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
    """Calls the request's _Writing in the same step of the loop in which its first byte is written. A body is written
    by another task of aiohttp's: turn and deadline are looked at once more then."""
    config = aiohttp.TraceConfig()

    async def before_write(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
        await context.trace_request_ctx.about_to_write()

    config.on_request_headers_sent.append(before_write)
    config.on_request_chunk_sent.append(before_write)
    return config


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """Raises OutcomeUnknown for one without a reasonable end, which would fill the memory."""
    parts, size = [], 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > MOST_BYTES:
            raise OutcomeUnknown(f"the answer from {answer.url.host} is too long")
        parts.append(part)
    return b"".join(parts)
