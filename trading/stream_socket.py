"""``/ws/stream``: a user's own news and prices, live.

The client's first message is ``{"type": "auth", "token": <access token>}``; ``{"type": "snapshot"}`` asks for
everything at once. The server sends, each with the socket's own ``sequence`` (1, 2, 3, …)::

    {"type": "ready"}                                  the token was accepted
    {"type": "snapshot", "data": {orders, …}}          when asked, and whenever news got lost on the way
    {"type": "event", "kind": "order", "data": {…}}    one row of the snapshot's lists, new or changed
    {"type": "prices", "data": [{feed, symbol, …}]}    those that changed, some times a second
    {"type": "error", "error": {code, message}}        before the socket is closed

Closed with 4401 when the token is missing, wrong, expired or revoked, with 4400 after a message that isn't of these.
"""

import asyncio
import contextlib
import json
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

import msgspec
import structlog
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.core.serializers.json import DjangoJSONEncoder

from accounts import tokens
from accounts.authentication import device_of
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from trading.price_board import PRICE_SECONDS, Shown, watching
from trading.push import group_of
from trading.snapshots import snapshot, watch_feeds

log = structlog.get_logger(__name__)

UNAUTHENTICATED = 4401
BAD_MESSAGE = 4400
_LONGEST_MESSAGE = 8192


class Auth(msgspec.Struct, tag="auth", tag_field="type"):
    token: str


class SnapshotWanted(msgspec.Struct, tag="snapshot", tag_field="type"):
    pass


_decode = msgspec.json.Decoder(Auth | SnapshotWanted).decode


class UserStream(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels ships no types
    """One open page. What waits to be sent is bounded: past the bound it is replaced by a snapshot."""

    auth_seconds = 5.0
    recheck_seconds = 10.0
    queue_bound = 256
    clock: Clock = SYSTEM_CLOCK

    async def connect(self) -> None:
        self.claims: tokens.Claims | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(self.queue_bound)
        self._snapshot_wanted = asyncio.Event()
        self._sequence = 0
        # News that came while a snapshot was read: they go out after it, or it would undo them on the page.
        self._held: list[dict[str, Any]] | None = None
        self._engine: tuple[int, int] | None = None
        await self.accept()
        self._start(self._require_auth())

    async def disconnect(self, code: int) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.claims is not None:
            await self.channel_layer.group_discard(group_of(self.claims.user_id), self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            message = _decode(self._bounded(text_data))
        except (msgspec.DecodeError, ValueError):
            await self._refuse(BAD_MESSAGE, "BAD_MESSAGE", "this message isn't understood")
            return
        if isinstance(message, Auth):
            await self._authenticate(message.token)
        elif self.claims is None:
            await self._refuse(UNAUTHENTICATED, "UNAUTHENTICATED", "the first message must carry an access token")
        else:
            self._snapshot_wanted.set()

    async def tenant_event(self, message: dict[str, Any]) -> None:
        """News from the user's engine. A jump in its sequence, or another engine, means that some were missed."""
        epoch, sequence = message["epoch"], message["sequence"]
        known, self._engine = self._engine, (epoch, sequence)
        if known is not None and (epoch, sequence) != (known[0], known[1] + 1):
            self._snapshot_wanted.set()
            return
        event = {"type": "event", "kind": message["kind"], "data": message["data"]}
        if self._held is None:
            self._enqueue(event)
        elif len(self._held) < self.queue_bound:
            self._held.append(event)
        else:
            self._snapshot_wanted.set()

    @staticmethod
    def _bounded(text: str | None) -> str:
        if text is None or len(text) > _LONGEST_MESSAGE:
            raise ValueError("not a short text message")
        return text

    async def _authenticate(self, token: str) -> None:
        if self.claims is not None:
            await self._refuse(BAD_MESSAGE, "BAD_MESSAGE", "this socket is authenticated already")
            return
        try:
            claims = await database_sync_to_async(_accepted)(token)
        except tokens.TokenInvalid as error:
            await self._refuse(UNAUTHENTICATED, error.code, error.message)
            return
        self.claims = claims
        await self.channel_layer.group_add(group_of(claims.user_id), self.channel_name)
        self._enqueue({"type": "ready"})
        user_id = claims.user_id
        for work in (
            self._send_waiting(), self._send_snapshots(user_id), self._send_prices(user_id), self._watch_token(claims),
        ):
            self._start(work)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # one page's trouble ends that page's socket only
            log.exception("stream_socket_failed")
            with contextlib.suppress(Exception):
                await self.close(1011)

    def _enqueue(self, message: dict[str, Any]) -> None:
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            while not self._waiting.empty():
                self._waiting.get_nowait()
            self._snapshot_wanted.set()

    async def _refuse(self, close_code: int, code: str, message: str) -> None:
        await self._send({"type": "error", "error": {"code": code, "message": message}})
        await self.close(close_code)

    async def _send(self, message: dict[str, Any]) -> None:
        self._sequence += 1
        await self.send(json.dumps({**message, "sequence": self._sequence}, cls=DjangoJSONEncoder))

    # Each of these is a task of the socket.

    async def _require_auth(self) -> None:
        await asyncio.sleep(self.auth_seconds)
        if self.claims is None:
            await self._refuse(UNAUTHENTICATED, "UNAUTHENTICATED", "no access token came in time")

    async def _watch_token(self, claims: tokens.Claims) -> None:
        """Ends the socket when its token does: at its end of life at once, when revoked at the next look."""
        while (left := claims.exp - self.clock.now().timestamp()) > 0:
            await asyncio.sleep(min(left, self.recheck_seconds))
            if await database_sync_to_async(device_of)(claims) is None:
                await self._refuse(UNAUTHENTICATED, "TOKEN_INVALID", "the token is no longer accepted")
                return
        await self._refuse(UNAUTHENTICATED, "TOKEN_EXPIRED", "the token has expired")

    async def _send_waiting(self) -> None:
        while True:
            await self._send(await self._waiting.get())

    async def _send_snapshots(self, user_id: UUID) -> None:
        """One at a time: while one is read, further wishes are one more."""
        while True:
            await self._snapshot_wanted.wait()
            self._snapshot_wanted.clear()
            self._held = []
            data = await database_sync_to_async(snapshot)(user_id)
            held, self._held = self._held, None
            for message in ({"type": "snapshot", "data": data}, *held):
                self._enqueue(message)

    async def _send_prices(self, user_id: UUID) -> None:
        shown: Shown = {}
        watched: list[str] = []
        looked_at = -self.recheck_seconds
        async with watching() as board:
            while True:
                now = self.clock.monotonic()
                if now - looked_at >= self.recheck_seconds:
                    watched = await database_sync_to_async(watch_feeds)(user_id)
                    looked_at = now
                if prices := await board.changes(watched, shown):
                    self._enqueue({"type": "prices", "data": prices})
                await asyncio.sleep(PRICE_SECONDS)


def _accepted(token: str) -> tokens.Claims:
    """The claims of a token that the user and the device still accept. Raises TokenInvalid."""
    claims = tokens.read(token, "access")
    if device_of(claims) is None:
        raise tokens.TokenInvalid("the token is no longer accepted")
    return claims
