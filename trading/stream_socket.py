"""``/ws/stream``: a user's own news and prices, live.

The client's first message is ``{"type": "auth", "token": <access token>}``; then ``{"type": "snapshot"}`` asks for
everything at once, and ``{"type": "watch", "connection": <id>, "symbol": "BTC/USDT"}`` for the prices and the growing
candle of a symbol in place of the one watched before. The server sends, each with the socket's own ``sequence``
(1, 2, 3, …) and ``server_ms``, the server's wall clock in epoch milliseconds, by which a page can tell staleness
without trusting its own::

    {"type": "ready"}                                  the token was accepted
    {"type": "snapshot", "data": {orders, …}}          when asked, and whenever news got lost on the way
    {"type": "event", "kind": "order", "data": {…}}    one row of the snapshot's lists, new or changed; see below
    {"type": "prices", "data": [{feed, symbol, …}]}    those that changed, some times a second
    {"type": "error", "error": {code, message}}        before the socket is closed; it stays open after NOT_FOUND, the
                                                       answer to ``watch`` for a connection that isn't the user's

Kinds of events and their data::

    order, trade, position, balance, signal, instance  a row in the API's shape
    kill        a kill switch in the API's shape, when it is pressed and when it is lifted (``lifted_at`` is set then)
    headroom    the whole list as in the snapshot, when it has changed, once a second at most
    equity      {"connection", "asset", "point": [epoch milliseconds, "value"]}, each minute
    candle      {"connection", "symbol", "timeframe": "1m", "candle": [opened ms, open, high, low, close, volume]}

Closed with 4401 when the token is missing, wrong, expired or revoked, with 4400 after a message that isn't of these,
with 4429 after too many messages, and where one address opens too many pages or one user has too many open.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import msgspec
import structlog
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder

from accounts import tokens
from accounts.authentication import device_of
from accounts.caller import Caller, caller_at
from accounts.rate_limits import RateLimited, check_request
from connections.database import run as run_in_db
from connections.gateways import Candle
from desproject.lib.clock import SYSTEM_CLOCK, Clock, to_millis
from desproject.lib.sliding_windows import LocalWindows, Window
from trading.candle_board import TIMEFRAME, candle_board
from trading.charts_api import SYMBOL, candle_shape
from trading.price_board import PRICE_SECONDS, Shown, watching
from trading.push import EVERYBODY, News, group_of
from trading.snapshots import current_headroom, feed_of, snapshot, watch_feeds

log = structlog.get_logger(__name__)

UNAUTHENTICATED = 4401
BAD_MESSAGE = 4400
TOO_MANY = 4429
_LONGEST_MESSAGE = 8192


class Auth(msgspec.Struct, tag="auth", tag_field="type"):
    token: str


class SnapshotWanted(msgspec.Struct, tag="snapshot", tag_field="type"):
    pass


class Watch(msgspec.Struct, tag="watch", tag_field="type"):
    connection: UUID
    symbol: Annotated[str, msgspec.Meta(pattern=SYMBOL)]


# All that a client may say.
Wish = Auth | SnapshotWanted | Watch
_decode = msgspec.json.Decoder(Wish).decode

# News after which more or less of a risk limit is used.
_MOVES_HEADROOM = frozenset({News.ORDER, News.TRADE, News.POSITION})


@dataclass(frozen=True, slots=True)
class _Watched:
    """The symbol on a page's chart."""

    connection: UUID
    feed: str
    symbol: str


# Authenticated sockets of this process by user. Only its one loop counts.
_open_sockets: Counter[UUID] = Counter()


class UserStream(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels ships no types
    """One open page. What waits to be sent is bounded: past the bound it is replaced by a snapshot."""

    auth_seconds = 5.0
    recheck_seconds = 10.0
    headroom_seconds = 1.0
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
        self._watched: _Watched | None = None
        self._feeds_changed = asyncio.Event()
        # As the page knows it; None before its first snapshot.
        self._headroom: list[dict[str, Any]] | None = None
        self._headroom_moved = asyncio.Event()
        self._recheck_now = asyncio.Event()
        self._messages = LocalWindows(most=1, clock=self.clock)
        self._refused = False
        await self.accept()
        try:
            await run_in_db(check_request, None, _caller(self.scope), "WEBSOCKET /ws/stream")
        except RateLimited as error:
            await self._refuse(TOO_MANY, error.code, error.message)
            return
        self._start(self._require_auth())

    async def disconnect(self, code: int) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.claims is not None:
            _open_sockets[self.claims.user_id] -= 1
            if not _open_sockets[self.claims.user_id]:
                del _open_sockets[self.claims.user_id]
            for group in (group_of(self.claims.user_id), EVERYBODY):
                await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._refused:  # what was on its way when the socket was closed
            return
        config = settings.CONFIG
        if self._messages.take([Window("messages", config.rate_limit_messages, config.rate_limit_window)]):
            await self._refuse(TOO_MANY, RateLimited.code, "too many messages")
            return
        try:
            message = _decode(self._bounded(text_data))
        except (msgspec.DecodeError, ValueError, RecursionError):
            await self._refuse(BAD_MESSAGE, "BAD_MESSAGE", "this message isn't understood")
            return
        if isinstance(message, Auth):
            await self._authenticate(message.token)
        elif self.claims is None:
            await self._refuse(UNAUTHENTICATED, "UNAUTHENTICATED", "the first message must carry an access token")
        elif isinstance(message, Watch):
            await self._watch(self.claims.user_id, message)
        else:
            self._snapshot_wanted.set()

    async def tenant_event(self, message: dict[str, Any]) -> None:
        """News from the user's engine. A jump in its sequence, or another engine, means that some were missed.

        Those from others than engines have no sequence.
        """
        epoch, sequence = message["epoch"], message["sequence"]
        if sequence is not None:
            known, self._engine = self._engine, (epoch, sequence)
            if known is not None and (epoch, sequence) != (known[0], known[1] + 1):
                self._snapshot_wanted.set()
                return
        if message["kind"] in _MOVES_HEADROOM:
            self._headroom_moved.set()
        event = {"type": "event", "kind": message["kind"], "data": message["data"]}
        if self._held is None:
            self._enqueue(event)
        elif len(self._held) < self.queue_bound:
            self._held.append(event)
        else:
            self._snapshot_wanted.set()

    async def session_recheck(self, message: dict[str, Any]) -> None:
        """Tokens of the user were revoked: perhaps the one of this page."""
        self._recheck_now.set()

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
            claims = await run_in_db(_accepted, token)
        except tokens.TokenInvalid as error:
            await self._refuse(UNAUTHENTICATED, error.code, error.message)
            return
        if _open_sockets[claims.user_id] >= settings.CONFIG.rate_limit_sockets:
            await self._refuse(TOO_MANY, RateLimited.code, "too many pages of yours are open")
            return
        self.claims = claims
        _open_sockets[claims.user_id] += 1
        for group in (group_of(claims.user_id), EVERYBODY):
            await self.channel_layer.group_add(group, self.channel_name)
        self._enqueue({"type": "ready"})
        user_id = claims.user_id
        for work in (
            self._send_waiting(), self._send_snapshots(user_id), self._send_prices(user_id), self._send_candles(),
            self._send_headroom(user_id), self._watch_token(claims),
        ):  # fmt: skip
            self._start(work)

    async def _watch(self, user_id: UUID, wish: Watch) -> None:
        feed = await run_in_db(feed_of, user_id, wish.connection)
        if feed is None:
            self._enqueue({"type": "error", "error": {"code": "NOT_FOUND", "message": "no such connection"}})
            return
        self._watched = _Watched(wish.connection, feed, wish.symbol)
        self._feeds_changed.set()

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
        self._refused = True
        await self._send({"type": "error", "error": {"code": code, "message": message}})
        await self.close(close_code)

    async def _send(self, message: dict[str, Any]) -> None:
        self._sequence += 1
        stamps = {"sequence": self._sequence, "server_ms": to_millis(self.clock.now())}
        await self.send(json.dumps({**message, **stamps}, cls=DjangoJSONEncoder))

    # Each of these is a task of the socket.

    async def _require_auth(self) -> None:
        await asyncio.sleep(self.auth_seconds)
        if self.claims is None:
            await self._refuse(UNAUTHENTICATED, "UNAUTHENTICATED", "no access token came in time")

    async def _watch_token(self, claims: tokens.Claims) -> None:
        """Ends the socket when its token does: at its end of life, and when revoked, which is told or found out by the
        next look.

        A wall clock that is put back doesn't prolong its life, one that is put forward ends it at the next look.
        """
        ends_at = self.clock.monotonic() + claims.exp - self.clock.now().timestamp()
        while (left := min(ends_at - self.clock.monotonic(), claims.exp - self.clock.now().timestamp())) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._recheck_now.wait(), min(left, self.recheck_seconds))
            self._recheck_now.clear()
            if await run_in_db(device_of, claims) is None:
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
            data = await run_in_db(snapshot, user_id)
            held, self._held = self._held, None
            self._headroom = data["headroom"]
            for message in ({"type": "snapshot", "data": data}, *held):
                self._enqueue(message)

    async def _send_prices(self, user_id: UUID) -> None:
        shown: Shown = {}
        watched: list[str] = []
        looked_at = -self.recheck_seconds
        async with watching() as board:
            while True:
                now = self.clock.monotonic()
                if now - looked_at >= self.recheck_seconds or self._feeds_changed.is_set():
                    self._feeds_changed.clear()
                    chart = self._watched
                    watched = await run_in_db(watch_feeds, user_id, (chart.feed, chart.symbol) if chart else None)
                    looked_at = now
                if prices := await board.changes(watched, shown):
                    self._enqueue({"type": "prices", "data": prices})
                await asyncio.sleep(PRICE_SECONDS)

    async def _send_candles(self) -> None:
        """The candles of the watched symbol: those that changed, some times a second."""
        async with candle_board() as board:
            while True:
                followed = self._watched
                if followed is None:
                    await asyncio.sleep(PRICE_SECONDS)
                    continue
                shown: list[Candle] = []
                with board.watching((followed.feed, followed.symbol)) as newest:
                    while self._watched is followed:
                        candles = newest()
                        for bar in candles:
                            if bar not in shown:
                                self._enqueue(_candle_event(followed, bar))
                        shown = candles
                        await asyncio.sleep(PRICE_SECONDS)

    async def _send_headroom(self, user_id: UUID) -> None:
        """When it has changed: looked at after news that move it, and now and then, for prices move it too."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._headroom_moved.wait(), self.recheck_seconds)
            self._headroom_moved.clear()
            if self._headroom is not None:
                found = await run_in_db(current_headroom, user_id)
                if found != self._headroom:
                    self._headroom = found
                    self._enqueue({"type": "event", "kind": News.HEADROOM, "data": found})
            await asyncio.sleep(self.headroom_seconds)


def _caller(scope: dict[str, Any]) -> Caller:
    headers = {name.decode("latin1"): value.decode("latin1") for name, value in scope["headers"]}
    peer = scope.get("client") or ("",)
    return caller_at(peer[0], headers.get("x-forwarded-for", ""), headers.get("user-agent", ""))


def _accepted(token: str) -> tokens.Claims:
    """The claims of a token that the user and the device still accept. Raises TokenInvalid."""
    claims = tokens.read(token, "access")
    if device_of(claims) is None:
        raise tokens.TokenInvalid("the token is no longer accepted")
    return claims


def _candle_event(watched: _Watched, bar: Candle) -> dict[str, Any]:
    data = {
        "connection": str(watched.connection), "symbol": bar.symbol, "timeframe": TIMEFRAME,
        "candle": candle_shape(bar),
    }  # fmt: skip
    return {"type": "event", "kind": News.CANDLE, "data": data}
