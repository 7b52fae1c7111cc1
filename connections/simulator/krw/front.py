"""A won exchange's front: HTTP and both websockets under one roof."""

from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from email.utils import formatdate
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from aiohttp import web

from connections.simulator.accounts import Account
from connections.simulator.exchange import Exchange, Market
from connections.simulator.faults import Fault, FaultBox, Occasion, SocketKind
from connections.simulator.krw import errors, frames, payloads, subscription, user_events
from connections.simulator.krw.budgets import KrwBudgets, Limiter
from connections.simulator.krw.errors import ApiError
from connections.simulator.krw.orders import Orders
from connections.simulator.krw.streams import KrwStreams, Subscriber
from connections.simulator.krw.tokens import Tokens
from connections.simulator.krw.user_events import KrwUserEvents
from connections.simulator.krw.wire import Wire
from connections.simulator.request_faults import RequestFaults
from connections.simulator.sockets import Socket, Sockets

_CANDLES_PAGE = 200
_MESSAGES_PER_S = 5
_CANDLES = "/v1/candles/"
_MINUTES = {"1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "240": "4h"}
_encode = msgspec.json.Encoder(decimal_format="number").encode
Params = dict[str, str]


class KrwFront:
    """One won exchange of the simulator, as served below its prefix."""

    def __init__(
        self, wire: Wire, exchange: Exchange, faults: FaultBox, sockets: Sockets, budgets: KrwBudgets
    ) -> None:
        self.wire = wire
        self.exchange = exchange
        self.streams = KrwStreams(wire, exchange, faults)
        self.requests: Counter[str] = Counter()
        self.order_requests = 0
        self.faults = RequestFaults(faults, _error_body)
        self._sockets = sockets
        self._events = KrwUserEvents(wire, exchange, faults)
        self._limiter = Limiter(wire, budgets)
        self._orders = Orders(wire, exchange)
        self._tokens = Tokens(exchange.bank, wants_timestamp=wire.wants_timestamp)
        # (group, handler) by method and path: who reads needs no key, who signs has an account.
        self._public: dict[tuple[str, str], tuple[str, Callable[[Params], Any]]] = {
            ("GET", "/v1/market/all"): ("market", lambda _params: self._each(payloads.market_body)),
            ("GET", "/v1/orderbook"): ("orderbook", self._books),
            ("GET", "/v1/ticker"): ("ticker", self._tickers),
            ("GET", "/v1/trades/ticks"): ("trades", self._trades),
        }
        orders = self._orders
        self._signed: dict[tuple[str, str], tuple[str, Callable[[Account, Params], Any]]] = {
            ("GET", "/v1/accounts"): ("default", lambda account, _params: payloads.balances(account)),
            ("GET", "/v1/withdraws"): ("default", _withdrawals),
            ("GET", "/v1/order"): ("default", orders.look_up),
            ("GET", "/v1/orders/chance"): ("default", orders.chance),
            **{("GET", path): ("default", partial(_listed, orders, states)) for path, states in wire.lists.items()},
            wire.place: ("order", orders.place),
            wire.cancel: ("default", orders.cancel),
        }

    def serves(self, path: str) -> bool:
        return path.startswith(self.wire.prefix + "/")

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one HTTP request or serves one websocket to its end."""
        path = request.path.removeprefix(self.wire.prefix)
        params, query = await _read(request)
        self.requests[f"{request.method} {path}"] += 1
        is_placing = (request.method, path) == self.wire.place
        self.order_requests += is_placing
        occasion = Occasion(path, request.method, params.get("market", ""))
        if (refused := await self.faults.before(request, occasion)) is not None:
            return refused
        if path == self.wire.public_socket:
            return await self._serve_public_socket(request)
        if path == self.wire.private_socket:
            return await self._serve_private_socket(request)
        return await self.faults.after(request, occasion, self._answer(request, path, params, query))

    # HTTP

    def _answer(self, request: web.BaseRequest, path: str, params: Params, query: str) -> web.Response:
        # Its own time, which a fault may set: the server under it would tell the machine's.
        headers = {"Date": formatdate(self.exchange.now_ms() / 1000, usegmt=True)}
        status = 201 if (request.method, path) == self.wire.place else 200
        try:
            content = self._run(request, path, params, query, headers)
        except ApiError as error:
            status, content = error.status, error.body()
        return web.Response(
            body=_encode(content), status=status, headers=headers, content_type="application/json", charset="utf-8"
        )

    def _run(
        self, request: web.BaseRequest, path: str, params: Params, query: str, headers: dict[str, str]
    ) -> Any:
        """The handler's answer; its budget's header goes into `headers`. Raises ApiError."""
        route, address = (request.method, path), request.remote or ""
        if route in self._signed:
            account = self._sender(request, query)
            group, handler = self._signed[route]
            self._spend(group, address if self.wire.counts_by_address else account.api_key, headers)
            if route == self.wire.place and (client_id := params.get(self.wire.client_id)):
                account.received[client_id] += 1
            return handler(account, params)
        if request.method == "GET" and path.startswith(_CANDLES):
            self._spend("candles", address, headers)
            return self._candles(path.removeprefix(_CANDLES), params)
        if route not in self._public:
            raise ApiError("404", "Not found", 404)
        public_group, public_handler = self._public[route]
        self._spend(public_group, address, headers)
        return public_handler(params)

    def _spend(self, group: str, sender: str, headers: dict[str, str]) -> None:
        """Raises ApiError when the sender's group is used up."""
        told = self._limiter.spend(group, sender, self.exchange.now_ms())
        if self.wire.tells_what_is_left:
            headers["Remaining-Req"] = told

    def _sender(self, request: web.BaseRequest, query: str) -> Account:
        return self._tokens.sender(request.headers.get("Authorization", ""), query, self.exchange.now_ms())

    # public handlers

    def _market(self, name: str) -> Market:
        if name not in self.exchange.markets:
            raise errors.unknown_market()
        return self.exchange.markets[name]

    def _each(self, make: Callable[[Market], Any]) -> list[Any]:
        return [make(market) for market in self.exchange.markets.values()]

    def _books(self, params: Params) -> list[Any]:
        now_ms = self.exchange.now_ms()
        return [payloads.book_body(self._market(name), now_ms) for name in params.get("markets", "").split(",")]

    def _tickers(self, params: Params) -> list[Any]:
        now_ms = self.exchange.now_ms()
        return [payloads.ticker_body(self._market(name), now_ms) for name in params.get("markets", "").split(",")]

    def _trades(self, params: Params) -> list[Any]:
        """Newest first."""
        trades = self._market(params.get("market", "")).tape.trades
        newest = list(trades)[::-1][: int(params.get("count", 1))]
        return [payloads.trade_body(params["market"], trade) for trade in newest]

    def _candles(self, unit: str, params: Params) -> list[Any]:
        """Newest first, opened before `to`; without those in which nothing was traded."""
        interval = "1d" if unit == "days" else _MINUTES.get(unit.removeprefix("minutes/"))
        if interval is None:
            raise errors.invalid("unit")
        market, now_ms = self._market(params.get("market", "")), self.exchange.now_ms()
        market.tape.roll(now_ms)
        offset = self.wire.naive_offset_hours
        end_ms = payloads.moment_ms(params["to"], offset) if "to" in params else now_ms + 1
        bars = [bar for bar in market.tape.candles[interval].all() if bar.trades and bar.opened_ms < end_ms]
        count = min(int(params.get("count", 1)), _CANDLES_PAGE)
        return [payloads.candle_body(market.instrument.symbol, bar, now_ms) for bar in bars[::-1][:count]]

    # websockets

    async def _serve_public_socket(self, request: web.BaseRequest) -> web.StreamResponse:
        socket = Socket(SocketKind.MARKET, request, _MESSAGES_PER_S)
        response = await socket.open()
        subscriber = Subscriber(socket)
        self.streams.add(subscriber)
        try:
            await self._talk(subscriber, self.streams.types, True, self.streams.want)
        finally:
            self.streams.remove(subscriber)
        return response

    async def _serve_private_socket(self, request: web.BaseRequest) -> web.StreamResponse:
        """The token in the handshake says whose socket it is."""
        try:
            account = self._sender(request, "")
        except ApiError as error:
            return web.json_response(error.body(), status=error.status)
        socket = Socket(SocketKind.USER, request, _MESSAGES_PER_S)
        response = await socket.open()
        subscriber = Subscriber(socket)
        self._events.add(account.api_key, subscriber)
        try:
            await self._talk(subscriber, user_events.TYPES, False, _want)
        finally:
            self._events.remove(account.api_key, subscriber)
        return response

    async def _talk(
        self,
        subscriber: Subscriber,
        types: tuple[str, ...],
        codes_needed: bool,
        want: Callable[[Subscriber, subscription.Wanted], None],
    ) -> None:
        async with aclosing(self._sockets.serve(subscriber.socket)) as texts:
            async for text in texts:
                if text == "PING":
                    subscriber.socket.send(frames.ALIVE)
                    continue
                try:
                    wanted = subscription.read(
                        text, types, self.exchange.markets, codes_needed=codes_needed, only_new=self.wire.only_new
                    )
                    want(subscriber, wanted)
                except ApiError as error:
                    subscriber.socket.send(frames.refusal(error))


def _want(subscriber: Subscriber, wanted: subscription.Wanted) -> None:
    subscriber.wanted = wanted


def _listed(orders: Orders, states: tuple[str, ...] | None, account: Account, params: Params) -> list[Any]:
    return orders.listed(account, params, states)


def _withdrawals(account: Account, _params: Params) -> list[Any]:
    if not account.permissions.can_withdraw:
        raise errors.out_of_scope()
    return []


def _error_body(fault: Fault) -> dict[str, Any]:
    return {"error": {"name": fault.message, "message": fault.message}}


async def _read(request: web.BaseRequest) -> tuple[Params, str]:
    """The parameters of query or JSON body, and the text whose hash a token must hold."""
    query = request.raw_path.partition("?")[2]
    if not request.can_read_body:
        return dict(parse_qsl(query)), query
    try:
        body = msgspec.json.decode(await request.read(), type=dict[str, str])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return {}, ""
    return body, urlencode(body)
