"""Metrics of the web process: what it answers, how fast, and how many pages are connected."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from desproject.lib.metrics.registry import METRICS

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_RESPONSE = METRICS.recorder("web.response")


class Measured:
    """An ASGI application whose requests and websockets are counted and timed. Runs on one loop."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._counts: Counter[str] = Counter()
        self._open: Counter[str] = Counter()
        METRICS.attach("web", self._counts, lambda: dict(self._open))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        gauge = "requests_open" if kind == "http" else "sockets_open"
        self._open[gauge] += 1
        try:
            await (self._answer(scope, receive, send) if kind == "http" else self._app(scope, receive, send))
        finally:
            self._open[gauge] -= 1

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        started = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._counts["requests"] += 1
                self._counts[f"answers_{message['status'] // 100}xx"] += 1
                _RESPONSE.record(time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, counted)
