"""USD-M's front: REST, and websockets at addresses split by what they carry.

| address | carries |
|---|---|
| /public/{ws,stream} | depth, bookTicker |
| /market/{ws,stream} | the other public streams |
| /private/ws/<listenKey>, /private/ws?listenKey=<listenKey> | one account's user data |
"""

import asyncio
from collections import Counter
from urllib.parse import parse_qs

from aiohttp import web

from connections.simulator.binance.door import Door
from connections.simulator.binance.errors import error_body
from connections.simulator.binance.limits import Budgets
from connections.simulator.binance.rest import Incoming, RestApi
from connections.simulator.binance.stream_socket import respond, streams_in
from connections.simulator.binance.streams import MarketStreams, Subscriber
from connections.simulator.binance_usdm.algo_orders import AlgoOrders
from connections.simulator.binance_usdm.endpoints import RESTRICTIONS, table
from connections.simulator.binance_usdm.liquidation import Liquidations
from connections.simulator.binance_usdm.market_api import FUNDING_RATE, SHAPES, is_public, next_funding_ms
from connections.simulator.binance_usdm.user_events import UserEvents
from connections.simulator.exchange import Exchange
from connections.simulator.faults import FaultBox, Occasion, SocketKind
from connections.simulator.margin import MarginBank
from connections.simulator.request_faults import RequestFaults
from connections.simulator.sockets import Socket, Sockets, texts_of

_MESSAGES_PER_S = 10
_PUBLIC, _MARKET, _PRIVATE = "/public", "/market", "/private"
_LOOK_S = 0.1


def usdm_budgets() -> Budgets:
    """The real exchange's limits."""
    return Budgets(weight=2400, orders_10s=300, orders_1m=1200, orders_1d=None)


class BinanceUsdm:
    """One venue of the simulator, as served at its paths."""

    def __init__(
        self, exchange: Exchange, bank: MarginBank, faults: FaultBox, sockets: Sockets, budgets: Budgets
    ) -> None:
        self.exchange = exchange
        self.bank = bank
        self.door = Door(exchange, budgets)
        self.streams = MarketStreams(exchange, faults, SHAPES)
        self.events = UserEvents(exchange, bank, faults)
        self.requests: Counter[str] = Counter()
        self.order_requests = 0
        self.faults = RequestFaults(faults, error_body)
        self._algo = AlgoOrders(exchange, bank, self.events.tell)
        self.liquidations = Liquidations(exchange, bank, self.events, self._algo)
        self._rest = RestApi(self.door, table(self.events, self._algo))
        self._sockets = sockets
        self._next_funding_ms = next_funding_ms(exchange.now_ms())

    def serves(self, path: str, api_key: str | None) -> bool:
        """Also what the wallet's host tells of this venue's keys."""
        if path == RESTRICTIONS:
            return api_key in self.bank.accounts
        return path.startswith(("/fapi/", f"{_PUBLIC}/", f"{_MARKET}/", f"{_PRIVATE}/"))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one HTTP request or serves one websocket to its end."""
        incoming = await Incoming.read(request)
        self._count(incoming)
        occasion = Occasion(incoming.path, incoming.method, incoming.value("symbol"), incoming.api_key or "")
        refusal = await self.faults.before(request, occasion)
        if refusal is not None:
            return refusal
        if incoming.path.startswith(_PRIVATE):
            return await self._serve_user_socket(request, incoming)
        if incoming.path.startswith((_PUBLIC, _MARKET)):
            return await self._serve_market_socket(request, incoming)
        return await self.faults.after(request, occasion, self._rest.answer(incoming))

    async def keep_time(self) -> None:
        """Liquidation, funding, conditional orders and the end of listen keys, by the exchange's clock, for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            now_ms = self.exchange.now_ms()
            self.events.expire_keys(now_ms)
            self._algo.trigger()
            self.liquidations.look()
            if now_ms >= self._next_funding_ms:
                self._next_funding_ms = next_funding_ms(now_ms)
                for symbol in self.exchange.markets:
                    self.fund(symbol)

    def fund(self, symbol: str) -> None:
        """Funding of one contract is due now."""
        asset = self.exchange.markets[symbol].instrument.quote
        for account, amount in self.bank.fund(symbol, asset, FUNDING_RATE, self.exchange.now_ms()):
            self.events.funded(account, symbol, asset, amount)

    def _count(self, incoming: Incoming) -> None:
        self.requests[f"{incoming.method} {incoming.path}"] += 1
        if (incoming.method, incoming.path) == ("POST", "/fapi/v1/order"):
            self.order_requests += 1
            self.door.received_order(incoming.api_key, incoming.value("newClientOrderId"))

    # websockets

    async def _serve_market_socket(self, request: web.BaseRequest, incoming: Incoming) -> web.StreamResponse:
        root = _PUBLIC if incoming.path.startswith(_PUBLIC) else _MARKET
        path = incoming.path.removeprefix(root)
        socket = Socket(SocketKind.MARKET, request, _MESSAGES_PER_S)
        socket.live_for(self._sockets.life_s)
        response = await socket.open()
        carries = is_public if root == _PUBLIC else _is_not_public
        subscriber = Subscriber(socket, combined=path.startswith("/stream"), carries=carries)
        self.streams.subscribe(subscriber, streams_in(path, incoming.query))
        try:
            async for text in texts_of(self._sockets, socket):
                socket.send(respond(text, self.streams, subscriber))
        finally:
            self.streams.unsubscribe(subscriber, list(subscriber.streams))
        return response

    async def _serve_user_socket(self, request: web.BaseRequest, incoming: Incoming) -> web.StreamResponse:
        key = incoming.path.removeprefix(f"{_PRIVATE}/ws").strip("/")
        owner = self.events.keys.owner(key or parse_qs(incoming.query).get("listenKey", [""])[0])
        if owner is None:
            # What the real one does with a key that it doesn't know isn't written anywhere.
            return web.Response(status=404)
        socket = Socket(SocketKind.USER, request, _MESSAGES_PER_S)
        socket.live_for(self._sockets.life_s)
        response = await socket.open()
        self.events.add(owner, socket)
        try:
            async for _text in texts_of(self._sockets, socket):
                pass
        finally:
            self.events.remove(owner, socket)
        return response


def _is_not_public(stream: str) -> bool:
    return not is_public(stream)
