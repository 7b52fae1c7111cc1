"""Binance spot's front: HTTP and websockets under one roof, and the one place where request faults strike."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import parse_qs

from aiohttp import web

from connections.simulator.binance_spot.door import Door
from connections.simulator.binance_spot.limits import Budgets
from connections.simulator.binance_spot.rest import Incoming, RestApi
from connections.simulator.binance_spot.stream_socket import respond, streams_in
from connections.simulator.binance_spot.streams import MarketStreams, Subscriber
from connections.simulator.binance_spot.user_events import UserEvents
from connections.simulator.binance_spot.ws_api import Session
from connections.simulator.exchange import Exchange
from connections.simulator.faults import Fault, FaultBox, FaultKind, Occasion, SocketKind
from connections.simulator.sockets import Socket, Sockets

WS_API = "/ws-api/v3"
_MARKET_MESSAGES_PER_S = 5
_API_MESSAGES_PER_S = 10_000


class BinanceSpot:
    """One venue of the simulator, as served at its paths."""

    def __init__(self, exchange: Exchange, faults: FaultBox, sockets: Sockets, budgets: Budgets) -> None:
        self.door = Door(exchange, budgets)
        self.streams = MarketStreams(exchange, faults)
        self.events = UserEvents(exchange, faults, self.door.orders)
        self.requests: Counter[str] = Counter()
        self.order_requests = 0
        self.latency_s = 0.0
        self._rest = RestApi(self.door)
        self._faults = faults
        self._sockets = sockets

    def serves(self, path: str) -> bool:
        return path.startswith(("/api/", "/sapi/", "/ws", "/stream"))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one HTTP request or serves one websocket to its end."""
        incoming = await Incoming.read(request)
        self._count(incoming)
        occasion = Occasion(incoming.path, incoming.method, incoming.value("symbol"), incoming.api_key or "")
        refusal = await self._before(request, occasion)
        if refusal is not None:
            return refusal
        if incoming.path == WS_API:
            return await self._serve_api_socket(request, incoming)
        if incoming.path.startswith(("/ws", "/stream")):
            return await self._serve_market_socket(request, incoming)
        response = self._rest.answer(incoming)
        return await self._after(request, occasion, response)

    def _count(self, incoming: Incoming) -> None:
        self.requests[f"{incoming.method} {incoming.path}"] += 1
        if (incoming.method, incoming.path) == ("POST", "/api/v3/order"):
            self.order_requests += 1
            self.door.received_order(incoming.api_key, incoming.value("newClientOrderId"))

    # faults

    async def _before(self, request: web.BaseRequest, occasion: Occasion) -> web.StreamResponse | None:
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if delay := self._faults.strike(FaultKind.DELAY, occasion):
            await asyncio.sleep(delay.seconds)
        if self._faults.strike(FaultKind.DROP_BEFORE, occasion):
            return _cut(request)
        if fault := self._faults.strike(FaultKind.HTTP_ERROR, occasion):
            return _error(fault)
        return None

    async def _after(self, request: web.BaseRequest, occasion: Occasion, response: web.Response) -> web.StreamResponse:
        if fault := self._faults.strike(FaultKind.ACCEPT_THEN_TIMEOUT, occasion):
            await asyncio.sleep(fault.seconds)
            return _cut(request)
        if fault := self._faults.strike(FaultKind.MALFORMED, occasion):
            is_page = fault.payload.startswith("<")
            kind = "text/html" if is_page else "application/json"
            return web.Response(text=fault.payload, content_type=kind, status=fault.status)
        return response

    # websockets

    async def _serve_market_socket(self, request: web.BaseRequest, incoming: Incoming) -> web.StreamResponse:
        socket = Socket(SocketKind.MARKET, request, _MARKET_MESSAGES_PER_S)
        response = await socket.open()
        subscriber = Subscriber(socket, combined=incoming.path.startswith("/stream"))
        self.streams.subscribe(subscriber, streams_in(incoming.path, incoming.query))
        try:
            async for text in _texts(self._sockets, socket):
                socket.send(respond(text, self.streams, subscriber))
        finally:
            self.streams.unsubscribe(subscriber, list(subscriber.streams))
        return response

    async def _serve_api_socket(self, request: web.BaseRequest, incoming: Incoming) -> web.StreamResponse:
        socket = Socket(SocketKind.USER, request, _API_MESSAGES_PER_S)
        response = await socket.open()
        show_limits = parse_qs(incoming.query).get("returnRateLimits", ["true"])[0] == "true"
        session = Session(socket, self.door, self.events, incoming.address, show_limits)
        try:
            async for text in _texts(self._sockets, socket):
                socket.send(session.respond(text))
        finally:
            session.end()
        return response


async def _texts(sockets: Sockets, socket: Socket) -> AsyncGenerator[str, None]:
    async with aclosing(sockets.serve(socket)) as texts:
        async for text in texts:
            yield text


def _cut(request: web.BaseRequest) -> web.Response:
    """Cuts the connection; the response that the framework wants goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _error(fault: Fault) -> web.Response:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return web.json_response({"code": fault.code, "msg": fault.message}, status=fault.status, headers=headers)
