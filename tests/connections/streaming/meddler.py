"""Somebody between DES and the simulated exchange: requests and sockets go through, changed as a test says."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress

import aiohttp
from aiohttp import WSMsgType, web
from yarl import URL

Change = Callable[[str], Iterable[str]]
_HOP_HEADERS = {"host", "content-length", "transfer-encoding", "connection", "upgrade"}


class Meddler:
    """``async with Meddler(url) as meddler``. ``struck`` counts what was done to whom."""

    def __init__(self, upstream: str) -> None:
        self.struck: Counter[str] = Counter()
        # New sockets are turned away; opened but never answered; requests find nobody.
        self.refuses_sockets = self.mutes_sockets = self.refuses_requests = False
        # Only sockets whose path contains this are turned away.
        self.refused_path = ""
        # What becomes of each frame of a path that contains the key, and of each answer.
        self.frames: dict[str, Change] = {}
        self.answers: dict[str, Callable[[str], str]] = {}
        self._upstream = upstream.rstrip("/")
        self._frozen: set[int] = set()
        self._open: dict[web.WebSocketResponse, web.BaseRequest] = {}
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.ServerRunner | None = None
        self.url = ""

    async def __aenter__(self) -> "Meddler":
        self._session = aiohttp.ClientSession(auto_decompress=False)
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        assert self._session is not None
        self.cut("")
        await self._runner.cleanup()
        await self._session.close()

    # What it does to sockets that are open.

    def cut(self, path: str) -> None:
        """Cuts the open sockets whose path contains this, without a word."""
        for request in list(self._open.values()):
            if path in request.path and request.transport is not None:
                self.struck["cut"] += 1
                request.transport.abort()

    def freeze(self, path: str) -> None:
        """The open sockets whose path contains this say nothing any more, and hear nothing."""
        for request in self._open.values():
            if path in request.path:
                self.struck["frozen"] += 1
                self._frozen.add(id(request))

    def open_sockets(self, path: str) -> int:
        return sum(path in request.path for request in self._open.values())

    # Inside.

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        if self.refuses_requests:
            self.struck["request_refused"] += 1
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)
        return await self._request(request)

    async def _request(self, request: web.BaseRequest) -> web.Response:
        assert self._session is not None
        async with self._session.request(
            request.method, self._to(request), headers=_own(request), data=await request.read() or None
        ) as answer:
            body = await answer.read()
            for path, change in self.answers.items():
                if path in request.path and answer.status == 200:
                    self.struck["answer_changed"] += 1
                    body = change(body.decode()).encode()
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_HEADERS}
            return web.Response(status=answer.status, body=body, headers=kept)

    async def _socket(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.refuses_sockets and self.refused_path in request.path:
            self.struck["socket_refused"] += 1
            return web.Response(status=503)
        ours = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=0)
        await ours.prepare(request)
        if self.mutes_sockets:
            self.struck["socket_muted"] += 1
            with suppress(Exception):
                async for _ in ours:
                    pass
            return ours
        self._open[ours] = request
        try:
            await self._pump(request, ours)
        except aiohttp.WSServerHandshakeError:
            await ours.close(code=1011)
        finally:
            del self._open[ours]
            self._frozen.discard(id(request))
        return ours

    async def _pump(self, request: web.BaseRequest, ours: web.WebSocketResponse) -> None:
        assert self._session is not None
        headers = {name: value for name, value in _own(request).items() if not name.lower().startswith("sec-")}
        async with self._session.ws_connect(self._to(request), headers=headers, max_msg_size=0) as theirs:
            ways = [asyncio.create_task(way(request, ours, theirs)) for way in (self._up, self._down)]
            await asyncio.wait(ways, return_when="FIRST_COMPLETED")
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _up(
        self, request: web.BaseRequest, ours: web.WebSocketResponse, theirs: aiohttp.ClientWebSocketResponse
    ) -> None:
        async for message in ours:
            await self._thaw(request)
            if message.type is WSMsgType.TEXT:
                await theirs.send_str(message.data)
            elif message.type is WSMsgType.PING:
                await ours.pong(message.data)

    async def _down(
        self, request: web.BaseRequest, ours: web.WebSocketResponse, theirs: aiohttp.ClientWebSocketResponse
    ) -> None:
        async for message in theirs:
            await self._thaw(request)
            if message.type is WSMsgType.TEXT:
                frames: Iterable[str] = (message.data,)
                for path, change in list(self.frames.items()):
                    if path in request.path:
                        frames = [changed for frame in frames for changed in change(frame)]
                for frame in frames:
                    await ours.send_str(frame)
        await ours.close(code=1001)

    async def _thaw(self, request: web.BaseRequest) -> None:
        while id(request) in self._frozen:
            await asyncio.sleep(0.02)

    def _to(self, request: web.BaseRequest) -> URL:
        return URL(self._upstream + request.raw_path, encoded=True)


def _own(request: web.BaseRequest) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.lower() not in _HOP_HEADERS}
