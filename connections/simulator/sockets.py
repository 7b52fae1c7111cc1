"""Open websockets: a bounded outbox each, pings, freezing and cutting."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

import structlog
from aiohttp import WSMsgType, web

from connections.simulator.faults import SocketKind

_OUTBOX = 20_000
_PING_EVERY_S = 20.0
_PONG_WITHIN_S = 60.0
# So long before its end a socket is told of it, at most half of its life.
_WARNED_S = 600.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Control:
    """A frame that is no text: a ping, a pong or the close."""

    kind: WSMsgType
    payload: bytes = b""
    code: int = 1000


class Socket:
    """One websocket. Sending never waits: a writer empties the outbox, a reader that is too slow is cut off."""

    def __init__(self, kind: SocketKind, request: web.BaseRequest, messages_per_s: int) -> None:
        self.kind = kind
        self._request = request
        self._ws = web.WebSocketResponse(autoping=False, autoclose=True, compress=False)
        self._outbox: asyncio.Queue[str | _Control] = asyncio.Queue(_OUTBOX)
        self._messages_per_s = messages_per_s
        self._recent: list[float] = []
        self._frozen_until = 0.0
        self._goodbye: Callable[[], str] | None = None
        self._warn_at = self._ends_at = float("inf")
        self._last_ping = self._last_pong = asyncio.get_running_loop().time()
        self._loop = asyncio.get_running_loop()

    async def open(self) -> web.WebSocketResponse:
        await self._ws.prepare(self._request)
        return self._ws

    def live_for(self, seconds: float, goodbye: Callable[[], str] | None = None) -> None:
        """Ends by itself after so long, and says ``goodbye`` before that where the venue has a word for it."""
        now = self._loop.time()
        self._ends_at, self._warn_at = now + seconds, now + seconds - min(_WARNED_S, seconds / 2)
        self._goodbye = goodbye

    @property
    def has_waiting(self) -> bool:
        return not self._outbox.empty()

    def send(self, text: str) -> None:
        self._put(text)

    def close(self, code: int = 1000) -> None:
        """Says goodbye after what is already waiting."""
        self._put(_Control(WSMsgType.CLOSE, code=code))

    def abort(self) -> None:
        """Cuts the connection without a word."""
        if self._request.transport is not None:
            self._request.transport.abort()

    def freeze(self, seconds: float) -> None:
        """Nothing goes out for so long, not even pongs; then what waited goes."""
        self._frozen_until = max(self._frozen_until, self._loop.time() + seconds)

    def keep_alive(self) -> None:
        """Pings every 20 s; a peer that hasn't answered for a minute is cut off, and one past its life is closed."""
        now = self._loop.time()
        if now >= self._warn_at:
            self._warn_at = float("inf")
            if self._goodbye is not None:
                self.send(self._goodbye())
        if now >= self._ends_at:
            self.close(1008)
        elif self._last_pong < self._last_ping and now - self._last_pong > _PONG_WITHIN_S:
            self.abort()
        elif now - self._last_ping >= _PING_EVERY_S:
            self._last_ping = now
            self._put(_Control(WSMsgType.PING, str(int(now * 1000)).encode()))

    async def texts(self) -> AsyncGenerator[str, None]:
        """The text messages that come in; ends with the connection, or when the peer sends too many."""
        async for message in self._ws:
            if self._is_flooded():
                self.close(1008)
                return
            if message.type is WSMsgType.TEXT:
                yield message.data
            elif message.type is WSMsgType.PING:
                self._put(_Control(WSMsgType.PONG, message.data))
            elif message.type is WSMsgType.PONG:
                self._last_pong = self._loop.time()

    async def write(self) -> None:
        """Empties the outbox until the socket closes."""
        with suppress(ConnectionError):
            while not self._ws.closed:
                item = await self._outbox.get()
                await self._thaw()
                await self._write_one(item)

    async def _thaw(self) -> None:
        while (pause := self._frozen_until - self._loop.time()) > 0:  # noqa: ASYNC110 - a freeze may grow meanwhile
            await asyncio.sleep(pause)

    async def _write_one(self, item: str | _Control) -> None:
        if isinstance(item, str):
            await self._ws.send_str(item)
        elif item.kind is WSMsgType.PING:
            await self._ws.ping(item.payload)
        elif item.kind is WSMsgType.PONG:
            await self._ws.pong(item.payload)
        else:
            await self._ws.close(code=item.code)

    def _put(self, item: str | _Control) -> None:
        try:
            self._outbox.put_nowait(item)
        except asyncio.QueueFull:
            _log.warning("slow_websocket_cut", kind=self.kind)
            self.abort()

    def _is_flooded(self) -> bool:
        now = self._loop.time()
        self._recent = [moment for moment in self._recent if now - moment < 1]
        self._recent.append(now)
        return len(self._recent) > self._messages_per_s


class Sockets:
    """All open sockets. ``life_s`` is how long Binance's live."""

    def __init__(self, life_s: float = 86_400.0) -> None:
        self.life_s = life_s
        self._open: set[Socket] = set()

    def count(self) -> dict[str, int]:
        return {kind: len(self.of(kind)) for kind in SocketKind}

    def of(self, kind: SocketKind | None) -> list[Socket]:
        return [socket for socket in self._open if kind is None or socket.kind is kind]

    async def serve(self, socket: Socket) -> AsyncGenerator[str, None]:
        """Opens a socket, runs its writer, and gives its incoming texts."""
        self._open.add(socket)
        writer = asyncio.create_task(socket.write())
        try:
            async for text in socket.texts():
                yield text
        finally:
            self._open.discard(socket)
            await _finish(socket, writer)

    async def keep_alive(self) -> None:
        """Looks after pings, for ever."""
        while True:
            await asyncio.sleep(1)
            for socket in self.of(None):
                socket.keep_alive()

    def close_all(self) -> None:
        for socket in self.of(None):
            socket.close(1001)


async def _finish(socket: Socket, writer: asyncio.Task[None]) -> None:
    """Lets the writer say what waits (a close, mostly), but not for long."""
    if socket.has_waiting:
        await asyncio.wait({writer}, timeout=0.1)
    writer.cancel()
    with suppress(asyncio.CancelledError):
        await writer


async def texts_of(sockets: Sockets, socket: Socket) -> AsyncGenerator[str, None]:
    """The texts that come in on a served socket; it is closed when the caller stops reading."""
    async with aclosing(sockets.serve(socket)) as texts:
        async for text in texts:
            yield text
