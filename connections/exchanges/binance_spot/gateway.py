"""A Binance spot account over REST: signed, stamped by the exchange's own clock, each order sent once."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal

from connections.exchanges.binance_spot import codec
from connections.exchanges.binance_spot.api import API
from connections.exchanges.binance_spot.codec import Symbols
from connections.exchanges.binance_spot.public import PublicSpot
from connections.exchanges.binance_spot.refusals import DEFAULT_PAUSE, ClockOff, OrdersThrottled, Purpose
from connections.exchanges.binance_spot.signing import signed_query
from connections.gateways import (
    AccountSnapshot,
    Candle,
    Credentials,
    DeadlinePassed,
    Fill,
    KeyPermissions,
    OrderReport,
    OrderRequest,
    OrderType,
    OutcomeUnknown,
    SendDeadline,
    SymbolRules,
    TimeInForce,
    UnexpectedShape,
)
from desproject.lib.clock import to_millis
from desproject.lib.errors import InvalidInput
from desproject.lib.money import plain

Params = dict[str, str | int]
_TYPES = {OrderType.MARKET: "MARKET", OrderType.LIMIT: "LIMIT", OrderType.POST_ONLY: "LIMIT_MAKER"}
_TIMES_IN_FORCE = {TimeInForce.GTC: "GTC", TimeInForce.IOC: "IOC", TimeInForce.FOK: "FOK"}


class BinanceSpotGateway:
    """See connections.gateways.Gateway. Sockets, clock and symbols are shared through ``public``."""

    def __init__(self, credentials: Credentials, public: PublicSpot) -> None:
        self._credentials = credentials
        self._public = public
        self._clock = public.network.clock
        self._orders_shut_until = 0.0

    async def permissions(self) -> KeyPermissions:
        return codec.read_permissions(await self._get(API.paths.restrictions, {}))

    async def rules(self, symbol: str) -> SymbolRules:
        found = (await self._public.symbols()).get(symbol)
        if found is None:
            raise InvalidInput("this symbol isn't traded here", fields={"symbol": ["not traded on this exchange"]})
        return found

    async def place_order(self, request: OrderRequest, deadline: SendDeadline) -> OrderReport:
        self._require_orders_open()
        symbols = await self._public.symbol_table()
        params = _order_params(request, symbols)
        try:
            body = await self._write("POST", params, Purpose.PLACE, deadline)
        except OrdersThrottled as error:
            self._orders_shut_until = self._clock.monotonic() + (error.retry_after or DEFAULT_PAUSE)
            raise
        return _acted(codec.read_order, body, symbols)

    async def cancel_order(self, symbol: str, client_order_id: str) -> OrderReport:
        symbols = await self._public.symbol_table()
        params: Params = {"symbol": symbols.spelling(symbol), "origClientOrderId": client_order_id}
        return _acted(codec.read_order, await self._write("DELETE", params, Purpose.CANCEL, None), symbols)

    async def order(self, symbol: str, client_order_id: str) -> OrderReport:
        symbols = await self._public.symbol_table()
        params: Params = {"symbol": symbols.spelling(symbol), "origClientOrderId": client_order_id}
        return codec.read_order(await self._get(API.paths.order, params), symbols)

    async def open_orders(self) -> Sequence[OrderReport]:
        symbols = await self._public.symbol_table()
        return codec.read_orders(await self._get(API.paths.open_orders, {}), symbols)

    async def fills(self, symbol: str, since: datetime | None, exchange_order_id: str = "") -> Sequence[Fill]:
        symbols = await self._public.symbol_table()
        params: Params = {"symbol": symbols.spelling(symbol), "limit": API.limits.trades_page}
        if exchange_order_id:
            found = await self._pages({**params, "orderId": exchange_order_id, "fromId": 0}, symbols)
        elif since is None:
            found = await self._pages({**params, "fromId": 0}, symbols)
        else:
            found = await self._fills_since(params, to_millis(since), symbols)
        return [fill for fill in found if since is None or fill.executed_at >= since]

    async def account(self) -> AccountSnapshot:
        # Binance's updateTime is that of the last change, which may lie far back: the snapshot is as of when it was
        # asked for, so that it counts as newer than what the stream told before.
        asked_ms = await self._public.now_ms()
        return codec.read_account(await self._get(API.paths.account, {"omitZeroBalances": "true"}), asked_ms)

    async def candles(self, symbol: str, timeframe: str, limit: int) -> Sequence[Candle]:
        if timeframe not in API.timeframes.all:
            raise InvalidInput("unknown timeframe", fields={"timeframe": [f"one of {', '.join(API.timeframes.all)}"]})
        return await self._public.candles(symbol, timeframe, limit)

    async def aclose(self) -> None:
        """Nothing of its own is open: the sockets belong to the process."""

    # Sending.

    async def _get(self, path: str, params: Params) -> bytes:
        return await self._public.read(lambda: self._signed("GET", path, params, Purpose.READ))

    async def _write(self, method: str, params: Params, purpose: Purpose, deadline: SendDeadline | None) -> bytes:
        return await self._signed(method, API.paths.order, params, purpose, deadline)

    async def _signed(
        self, method: str, path: str, params: Params, purpose: Purpose, deadline: SendDeadline | None = None
    ) -> bytes:
        """Sends a signed request; refused for its stamp, which means that nothing happened, it is sent once more."""
        if self._public.clock.is_stale and (purpose is Purpose.READ or not self._public.clock.is_known):
            await self._public.resync_clock()
        try:
            return await self._stamped(method, path, params, purpose, deadline)
        except ClockOff:
            await self._public.resync_clock()
            return await self._stamped(method, path, params, purpose, deadline)

    async def _stamped(
        self, method: str, path: str, params: Params, purpose: Purpose, deadline: SendDeadline | None
    ) -> bytes:
        stamps: Params = {"timestamp": self._public.clock.now_ms()}
        if deadline is not None:
            stamps["recvWindow"] = self._window_ms(deadline)
        query = signed_query(self._credentials.api_secret, {**params, **stamps})
        return await self._public.send(
            method, path, query, purpose, api_key=self._credentials.api_key, deadline=deadline
        )

    def _window_ms(self, deadline: SendDeadline) -> int:
        """How long the exchange may accept the request: until the deadline, no longer. Raises DeadlinePassed."""
        left = int((deadline.monotonic - self._clock.monotonic()) * 1000)
        if left <= 0:
            raise DeadlinePassed("the time to send this order had passed")
        return min(left, API.limits.max_recv_window_ms)

    def _require_orders_open(self) -> None:
        left = self._orders_shut_until - self._clock.monotonic()
        if left > 0:
            raise OrdersThrottled("the account's order limit is reached", retry_after=left)

    # Paging through fills.

    async def _pages(self, params: Params, symbols: Symbols) -> list[Fill]:
        """All fills from ``fromId`` on, oldest first."""
        found: list[Fill] = []
        while True:
            page = codec.read_fills(await self._get(API.paths.my_trades, params), symbols)
            found += page
            if len(page) < API.limits.trades_page:
                return found
            params = {**params, "fromId": int(page[-1].exchange_trade_id) + 1}

    async def _fills_since(self, params: Params, since_ms: int, symbols: Symbols) -> list[Fill]:
        """Looks for the first fill window by window, then goes on by id, which no window bounds."""
        now_ms, start = await self._public.now_ms(), since_ms
        while start <= now_ms:
            end = start + API.limits.trades_window_ms
            window = {**params, "startTime": start, "endTime": end}
            page = codec.read_fills(await self._get(API.paths.my_trades, window), symbols)
            if page:
                return await self._pages({**params, "fromId": page[0].exchange_trade_id}, symbols)
            start = end + 1
        return []


def _acted(read: Callable[[bytes, Symbols], OrderReport], body: bytes, symbols: Symbols) -> OrderReport:
    """The exchange did something, but an answer that can't be read doesn't say what."""
    try:
        return read(body, symbols)
    except UnexpectedShape as error:
        raise OutcomeUnknown(error.message) from error


def _order_params(request: OrderRequest, symbols: Symbols) -> Params:
    params: Params = {
        "symbol": symbols.spelling(request.symbol),
        "side": request.side.upper(),
        "type": _TYPES[request.type],
        "quantity": plain(request.quantity),
        "newClientOrderId": request.client_order_id,
        "newOrderRespType": "FULL",
    }
    if request.type is not OrderType.MARKET:
        params["price"] = plain(request.price or Decimal(0))
    if request.type is OrderType.LIMIT:
        params["timeInForce"] = _TIMES_IN_FORCE[request.time_in_force]
    return params
