"""Binance spot's front: HTTP and websockets under one roof."""

from collections import Counter
from urllib.parse import parse_qs

import msgspec
from aiohttp import web

from connections.simulator.binance.door import Door
from connections.simulator.binance.errors import error_body
from connections.simulator.binance.limits import Budgets
from connections.simulator.binance.market_payloads import Json
from connections.simulator.binance.rest import Incoming, RestApi
from connections.simulator.binance.stream_socket import respond, streams_in
from connections.simulator.binance.streams import MarketStreams, Subscriber
from connections.simulator.binance_spot.endpoints import REST
from connections.simulator.binance_spot.market_events import SHAPES
from connections.simulator.binance_spot.user_events import UserEvents
from connections.simulator.binance_spot.ws_api import Session
from connections.simulator.exchange import Exchange
from connections.simulator.faults import FaultBox, Occasion, SocketKind
from connections.simulator.request_faults import RequestFaults
from connections.simulator.sockets import Socket, Sockets, texts_of

WS_API = "/ws-api/v3"
_MARKET_MESSAGES_PER_S = 5
_API_MESSAGES_PER_S = 10_000
_encode = msgspec.json.Encoder().encode


class BinanceSpot:
    """One venue of the simulator, as served at its paths."""

    def __init__(self, exchange: Exchange, faults: FaultBox, sockets: Sockets, budgets: Budgets) -> None:
        self._exchange = exchange
        self.door = Door(exchange, budgets)
        self.streams = MarketStreams(exchange, faults, SHAPES)
        self.events = UserEvents(exchange, faults, self.door.orders)
        self.requests: Counter[str] = Counter()
        self.order_requests = 0
        self.faults = RequestFaults(faults, error_body)
        self._rest = RestApi(self.door, REST)
        self._sockets = sockets

    def serves(self, path: str) -> bool:
        return path.startswith(("/api/", "/sapi/", "/ws", "/stream"))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one HTTP request or serves one websocket to its end."""
        incoming = await Incoming.read(request)
        self._count(incoming)
        occasion = Occasion(incoming.path, incoming.method, incoming.value("symbol"), incoming.api_key or "")
        refusal = await self.faults.before(request, occasion)
        if refusal is not None:
            return refusal
        if incoming.path == WS_API:
            return await self._serve_api_socket(request, incoming)
        if incoming.path.startswith(("/ws", "/stream")):
            return await self._serve_market_socket(request, incoming)
        response = self._rest.answer(incoming)
        return await self.faults.after(request, occasion, response)

    def _count(self, incoming: Incoming) -> None:
        self.requests[f"{incoming.method} {incoming.path}"] += 1
        if (incoming.method, incoming.path) == ("POST", "/api/v3/order"):
            self.order_requests += 1
            self.door.received_order(incoming.api_key, incoming.value("newClientOrderId"))

    # websockets

    def _shutdown(self) -> Json:
        return {"e": "serverShutdown", "E": self._exchange.now_ms()}

    async def _serve_market_socket(self, request: web.BaseRequest, incoming: Incoming) -> web.StreamResponse:
        socket = Socket(SocketKind.MARKET, request, _MARKET_MESSAGES_PER_S)
        socket.live_for(self._sockets.life_s, lambda: _encode(self._shutdown()).decode())
        response = await socket.open()
        subscriber = Subscriber(socket, combined=incoming.path.startswith("/stream"))
        self.streams.subscribe(subscriber, streams_in(incoming.path, incoming.query))
        try:
            async for text in texts_of(self._sockets, socket):
                socket.send(respond(text, self.streams, subscriber))
        finally:
            self.streams.unsubscribe(subscriber, list(subscriber.streams))
        return response

    async def _serve_api_socket(self, request: web.BaseRequest, incoming: Incoming) -> web.StreamResponse:
        socket = Socket(SocketKind.USER, request, _API_MESSAGES_PER_S)
        socket.live_for(self._sockets.life_s, lambda: _encode({"event": self._shutdown()}).decode())
        response = await socket.open()
        show_limits = parse_qs(incoming.query).get("returnRateLimits", ["true"])[0] == "true"
        session = Session(socket, self.door, self.events, incoming.address, show_limits)
        try:
            async for text in texts_of(self._sockets, socket):
                socket.send(session.respond(text))
        finally:
            session.end()
        return response
