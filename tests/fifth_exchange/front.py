"""Tram's side of the wire: the simulator's engine behind the dialect that api.toml and the codec beside it speak."""

import asyncio
import hashlib
import hmac
from collections import Counter, defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from connections.simulator.accounts import Account, Fill, InsufficientBalance
from connections.simulator.event_faults import deliver
from connections.simulator.exchange import AccountChange, DuplicateOrder, Ticket
from connections.simulator.faults import Fault, FaultKind, Occasion, SocketKind
from connections.simulator.instruments import Instrument
from connections.simulator.matching import Order, OrderType, Progress, Side, TimeInForce, WouldTake
from connections.simulator.request_faults import RequestFaults
from connections.simulator.server import SimulatorServer
from connections.simulator.sockets import Socket, texts_of
from connections.simulator.tape import AggregateTrade, Trade

PREFIX = "/tram"
MARKET = Instrument(
    "BTC_EUR", "BTC", "EUR", tick=Decimal("0.1"), lot=Decimal("0.0001"), min_quantity=Decimal("0.0001"),
    max_quantity=Decimal(1000), max_market_quantity=Decimal(1000), min_notional=Decimal(10),
    start_price=Decimal("57000.0"), level_quantity=Decimal("0.5"),
)  # fmt: skip
_LEVELS = 20
_MESSAGES_PER_S = 5
_TICK_S = 0.1
_WINDOW_MS = 10_000
_SIDES = {"B": Side.BUY, "S": Side.SELL}
_LETTERS = {side: letter for letter, side in _SIDES.items()}
_KINDS = {"market": OrderType.MARKET, "limit": OrderType.LIMIT, "maker": OrderType.LIMIT_MAKER}
_LIVES = {"stay": TimeInForce.GTC, "now": TimeInForce.IOC, "all": TimeInForce.FOK}
_STATES = {"NEW": "open", "PARTIALLY_FILLED": "part", "FILLED": "done", "CANCELED": "gone", "EXPIRED": "lapsed"}
Params = dict[str, Any]
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Refused(Exception):
    """What the exchange answers instead."""

    def __init__(self, problem: str, detail: str = "", status: int = 400) -> None:
        super().__init__(problem)
        self.status = status
        self.body = {"problem": problem, "detail": detail}


class TramFront:
    """One more venue of a simulator: `Settings(venues=(TramFront,))`."""

    name = "tram"

    def __init__(self, server: SimulatorServer) -> None:
        self.exchange = server.open_exchange(self.name, [MARKET])
        self.exchange.listeners.append(self)
        self.requests: Counter[str] = Counter()
        self.order_requests = 0
        self.faults = RequestFaults(server.faults, _error_body)
        self._box = server.faults
        self._sockets = server.sockets
        self._wanted: dict[Socket, set[str]] = {}
        self._owners: dict[str, set[Socket]] = defaultdict(set)
        self._changed: set[str] = set()
        self._open: dict[tuple[str, str], Callable[[Params], Any]] = {
            ("GET", "/v1/markets"): lambda _params: [_market_row(market.instrument) for market in self._markets()],
            ("GET", "/v1/book"): self._books,
            ("GET", "/v1/deals"): self._deals,
            ("GET", "/v1/bars"): self._bars,
            ("GET", "/v1/clock"): lambda _params: {"now": self.exchange.now_ms()},
        }
        self._signed: dict[tuple[str, str], Callable[[Account, Params], Any]] = {
            ("GET", "/v1/key"): lambda account, _params: _key_row(account),
            ("GET", "/v1/wallet"): lambda account, _params: self._wallet(account, list(account.balances)),
            ("GET", "/v1/orders"): self._orders,
            ("POST", "/v1/orders"): self._place,
            ("DELETE", "/v1/orders"): self._cancel,
            ("GET", "/v1/own-deals"): self._own_deals,
        }

    def serves(self, path: str) -> bool:
        return path.startswith(PREFIX + "/")

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one HTTP request or serves one websocket to its end."""
        path = request.path.removeprefix(PREFIX)
        self.requests[f"{request.method} {path}"] += 1
        self.order_requests += (request.method, path) == ("POST", "/v1/orders")
        occasion = Occasion(path, request.method, "", request.headers.get("Tram-Key", ""))
        if (refused := await self.faults.before(request, occasion)) is not None:
            return refused
        if path == "/v1/public":
            return await self._serve_public(request)
        if path == "/v1/private":
            return await self._serve_private(request)
        body = await request.read()
        try:
            content, status = self._answer(request, path, body), 200
        except Refused as error:
            content, status = error.body, error.status
        answer = web.Response(body=_encode(content), status=status, content_type="application/json")
        return await self.faults.after(request, occasion, answer)

    async def run(self) -> None:
        """Shows changed books ten times a second, for ever."""
        while True:
            await asyncio.sleep(_TICK_S)
            changed, self._changed = self._changed, set()
            for symbol in changed:
                if self._box.strike(FaultKind.DEPTH_GAP, Occasion("book", "", symbol)) is None:
                    self._publish(f"book:{symbol}", {"of": "book", "body": self._book(symbol)})

    # listening to the exchange

    def market_moved(self, symbol: str, trades: list[Trade], aggregates: list[AggregateTrade]) -> None:
        if self.exchange.markets[symbol].book.drain_changes():
            self._changed.add(symbol)
        for trade in trades:
            self._publish(f"deals:{symbol}", {"of": "deal", "body": _public_deal(symbol, trade)})

    def account_changed(self, account: Account, change: AccountChange) -> None:
        events = [
            {"of": "order", "body": {
                "order": _order_row(report.order, report.progress), "deal": _deal_row(report.fill),
            }}
            for report in change.reports
        ]  # fmt: skip
        events.append({"of": "wallet", "body": self._wallet(account, list(change.assets))})
        self._tell(account, events)

    def funds_moved(self, account: Account, asset: str, amount: Decimal) -> None:
        self._tell(account, [{"of": "wallet", "body": self._wallet(account, [asset])}])

    # requests

    def _answer(self, request: web.BaseRequest, path: str, body: bytes) -> Any:
        target, route = request.raw_path.removeprefix(PREFIX), (request.method, path)
        params: Params = msgspec.json.decode(body) if body else dict(parse_qsl(request.raw_path.partition("?")[2]))
        if route in self._open:
            return self._open[route](params)
        if route not in self._signed:
            raise Refused("NO_SUCH_PATH", status=404)
        return self._signed[route](self._sender(request, target, body), params)

    def _sender(self, request: web.BaseRequest, target: str, body: bytes = b"") -> Account:
        """Raises Refused."""
        key, told = request.headers.get("Tram-Key", ""), request.headers.get("Tram-Time", "")
        account = self.exchange.bank.accounts.get(key)
        if account is None or not account.enabled:
            raise Refused("UNKNOWN_KEY", status=401)
        text = f"{told}\n{request.method}\n{target}\n".encode() + body
        expected = hmac.new(account.api_secret.encode(), text, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, request.headers.get("Tram-Sign", "")):
            raise Refused("BAD_SIGNATURE", status=401)
        if abs(self.exchange.now_ms() - int(told)) > _WINDOW_MS:
            raise Refused("TOO_OLD", status=401)
        return account

    def _markets(self) -> Any:
        return self.exchange.markets.values()

    def _books(self, params: Params) -> Any:
        if "markets" in params:
            return [self._book(name) for name in params["markets"].split(",")]
        return self._book(params["market"])

    def _book(self, symbol: str) -> Params:
        book = self.exchange.markets[symbol].book
        return {
            "market": symbol, "seq": book.update_id, "at": self.exchange.now_ms(),
            "bids": book.depth(Side.BUY, _LEVELS), "asks": book.depth(Side.SELL, _LEVELS),
        }  # fmt: skip

    def _deals(self, params: Params) -> list[Params]:
        trades = list(self.exchange.markets[params["market"]].tape.trades)[-int(params["count"]) :]
        return [_public_deal(params["market"], trade) for trade in trades]

    def _bars(self, params: Params) -> list[Params]:
        tape, now_ms = self.exchange.markets[params["market"]].tape, self.exchange.now_ms()
        tape.roll(now_ms)
        before = int(params.get("before", now_ms + 1))
        bars = [bar for bar in tape.candles[params["every"]].all() if bar.opened_ms < before]
        return [
            {
                "at": bar.opened_ms, "open": bar.open, "high": bar.high, "low": bar.low, "close": bar.close,
                "size": bar.volume, "ended": bar.closes_ms < now_ms,
            }
            for bar in bars[-int(params["count"]) :]
        ]  # fmt: skip

    def _wallet(self, account: Account, assets: list[str]) -> Params:
        rows = [
            {"asset": asset, "free": account.balances[asset].free, "held": account.balances[asset].locked}
            for asset in assets
        ]
        return {"rows": rows, "at": self.exchange.now_ms()}

    def _orders(self, account: Account, params: Params) -> list[Params]:
        """The one of a client id, else those that are open."""
        found = [self._find(account, params)] if {"ref", "no"} & set(params) else list(account.open_orders.values())
        return [_order_row(order) for order in found]

    def _own_deals(self, account: Account, params: Params) -> list[Params | None]:
        return [
            _deal_row(fill)
            for fill in account.fills
            if fill.symbol == params["market"]
            and fill.time_ms >= int(params.get("since", 0))
            and params.get("order", "") in ("", str(fill.order_id))
        ]

    def _place(self, account: Account, params: Params) -> Params:
        account.received[params["ref"]] += 1
        market = self.exchange.markets[params["market"]].instrument
        size, limit = Decimal(params["size"]), params.get("limit")
        if size % market.lot or size < market.min_quantity:
            raise Refused("BAD_SIZE")
        if limit is not None and Decimal(limit) % market.tick:
            raise Refused("BAD_PRICE")
        if limit is not None and Decimal(limit) * size < market.min_notional:
            raise Refused("TOO_LITTLE")
        ticket = Ticket(
            params["market"], _SIDES[params["side"]], _KINDS[params["kind"]], size, params["ref"],
            None if limit is None else Decimal(limit), _LIVES[params["life"]],
        )  # fmt: skip
        try:
            return _order_row(self.exchange.place(account, ticket))
        except InsufficientBalance:
            raise Refused("NO_MONEY", "insufficient balance") from None
        except DuplicateOrder:
            raise Refused("TWIN") from None
        except WouldTake:
            raise Refused("WOULD_TAKE") from None

    def _cancel(self, account: Account, params: Params) -> Params:
        order = self._find(account, params)
        if not order.is_open:
            raise Refused("UNKNOWN_ORDER", status=404)
        self.exchange.cancel(account, order, "")
        return _order_row(order)

    def _find(self, account: Account, params: Params) -> Order:
        if "no" in params:
            order = account.orders.get(int(params["no"]))
        else:
            order = account.latest_by_client_id.get((params["market"], params["ref"]))
        if order is None:
            raise Refused("UNKNOWN_ORDER", status=404)
        return order

    # websockets

    async def _serve_public(self, request: web.BaseRequest) -> web.StreamResponse:
        socket = Socket(SocketKind.MARKET, request, _MESSAGES_PER_S)
        response = await socket.open()
        wanted = self._wanted[socket] = set()
        try:
            async for text in texts_of(self._sockets, socket):
                told = msgspec.json.decode(text)
                change = wanted.update if told["do"] == "listen" else wanted.difference_update
                change(told["to"])
                socket.send(_encode({"of": "done", "confirms": told["number"]}).decode())
                self._changed |= {name.partition(":")[2] for name in wanted}
        finally:
            del self._wanted[socket]
        return response

    async def _serve_private(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            account = self._sender(request, "/v1/private")
        except Refused as error:
            return web.Response(body=_encode(error.body), status=error.status, content_type="application/json")
        socket = Socket(SocketKind.USER, request, _MESSAGES_PER_S)
        response = await socket.open()
        self._owners[account.api_key].add(socket)
        try:
            async for _text in texts_of(self._sockets, socket):
                pass
        finally:
            self._owners[account.api_key].discard(socket)
        return response

    def _publish(self, stream: str, frame: Params) -> None:
        text = _encode(frame).decode()
        for socket, wanted in self._wanted.items():
            if stream in wanted:
                socket.send(text)

    def _tell(self, account: Account, events: list[Params]) -> None:
        def send(told: list[Params]) -> None:
            for socket in self._owners[account.api_key]:
                for event in told:
                    socket.send(_encode(event).decode())

        deliver(self._box, Occasion(api_key=account.api_key), events, send)


def _error_body(fault: Fault) -> dict[str, Any]:
    return {"problem": "FAULT", "detail": fault.message}


def _market_row(instrument: Instrument) -> Params:
    return {
        "market": instrument.symbol, "base": instrument.base, "quote": instrument.quote, "tick": instrument.tick,
        "lot": instrument.lot, "least": instrument.min_quantity, "most": instrument.max_quantity,
        "least_worth": instrument.min_notional, "most_at_once": instrument.max_market_quantity,
    }  # fmt: skip


def _key_row(account: Account) -> Params:
    may = account.permissions
    return {
        "reads": may.can_read, "trades": may.can_trade, "withdraws": may.can_withdraw, "bound": may.ip_restricted
    }  # fmt: skip


def _order_row(order: Order, progress: Progress | None = None) -> Params:
    """An order now, or as it was right after a change."""
    status, executed = (progress.status, progress.executed) if progress else (order.status, order.executed)
    kind = next(name for name, kind in _KINDS.items() if kind is order.type)
    life = next(name for name, life in _LIVES.items() if life is order.time_in_force)
    return {
        "no": str(order.order_id), "ref": order.client_order_id, "market": order.symbol,
        "side": _LETTERS[order.side], "kind": kind, "life": life, "size": order.quantity, "limit": order.price,
        "done": executed, "state": _STATES[status], "at": order.updated_ms,
    }  # fmt: skip


def _deal_row(fill: Fill | None) -> Params | None:
    if fill is None:
        return None
    return {
        "id": str(fill.trade_id), "order": str(fill.order_id), "market": fill.symbol,
        "side": "B" if fill.is_buyer else "S", "size": fill.quantity, "price": fill.price, "fee": fill.commission,
        "unit": fill.commission_asset, "role": "maker" if fill.is_maker else "taker", "at": fill.time_ms,
    }  # fmt: skip


def _public_deal(symbol: str, trade: Trade) -> Params:
    return {
        "market": symbol, "id": trade.trade_id, "price": trade.price, "size": trade.quantity, "at": trade.time_ms
    }  # fmt: skip

