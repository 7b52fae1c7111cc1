"""What a Binance account can do at every venue: orders, fills and candles. What a venue adds is in its own folder."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Generic

from connections.budget.urgency import Urgency, urgency_of, working_at
from connections.exchanges.binance.account_rest import AccountRest, Params
from connections.exchanges.binance.public import Api, BinancePublic, Codec
from connections.exchanges.call import Purpose
from connections.exchanges.wire import Symbols
from connections.gateways import (
    AccountSnapshot,
    Candle,
    Credentials,
    Fill,
    OrderReport,
    OrderRequest,
    OrderType,
    OutcomeUnknown,
    SendDeadline,
    SymbolRules,
    UnexpectedShape,
)
from desproject.lib.clock import to_millis
from desproject.lib.money import ZERO, plain


class BinanceGateway(ABC, Generic[Api, Codec]):
    """The part of connections.gateways.Gateway that all venues of Binance share."""

    def __init__(self, credentials: Credentials, public: BinancePublic[Api, Codec]) -> None:
        self._rest = AccountRest(credentials, public, public.api.limits.max_recv_window_ms)
        self._public = public
        self._api: Api = public.api
        self._codec = public.codec

    @abstractmethod
    def order_words(self, request: OrderRequest) -> Params:
        """How the venue says an order's type, its life and what it is to answer."""

    async def rules(self, symbol: str) -> SymbolRules:
        return (await self._public.symbol_table()).rules_of(symbol)

    async def place_order(self, request: OrderRequest, deadline: SendDeadline) -> OrderReport:
        with working_at(urgency_of(Urgency.ENTRY)):
            symbols = await self._public.symbol_table()
            params = self.order_params(request, symbols)
            return self._acted(await self._rest.place(self._api.paths.order, params, deadline), symbols)

    def order_params(self, request: OrderRequest, symbols: Symbols) -> Params:
        """An order as the venue wants to be told of it."""
        params: Params = {
            "symbol": symbols.spelling(request.symbol),
            "side": request.side.upper(),
            "quantity": plain(request.quantity),
            "newClientOrderId": request.client_order_id,
            **self.order_words(request),
        }
        if request.type is not OrderType.MARKET:
            params["price"] = plain(request.price or ZERO)
        return params

    async def cancel_order(self, symbol: str, client_order_id: str, exchange_order_id: str = "") -> OrderReport:
        with working_at(Urgency.EXIT):
            symbols = await self._public.symbol_table()
            params = _named(symbols.spelling(symbol), client_order_id, exchange_order_id)
            path = self._api.paths.order
            return self._acted(await self._rest.change("DELETE", path, params, Purpose.CANCEL), symbols)

    async def order(self, symbol: str, client_order_id: str, exchange_order_id: str = "") -> OrderReport:
        symbols = await self._public.symbol_table()
        params = _named(symbols.spelling(symbol), client_order_id, exchange_order_id)
        return self._codec.order(await self._rest.get(self._api.paths.order, params), symbols)

    async def open_orders(self) -> Sequence[OrderReport]:
        symbols = await self._public.symbol_table()
        return self._codec.orders(await self._rest.get(self._api.paths.open_orders, {}), symbols)

    async def fills(self, symbol: str, since: datetime | None, exchange_order_id: str = "") -> Sequence[Fill]:
        symbols = await self._public.symbol_table()
        params: Params = {"symbol": symbols.spelling(symbol), "limit": self._api.limits.trades_page}
        if exchange_order_id:
            found = await self._pages({**params, "orderId": exchange_order_id, "fromId": 0}, symbols)
        elif since is None:
            found = await self._pages({**params, "fromId": 0}, symbols)
        else:
            found = await self._fills_since(params, to_millis(since), symbols)
        return [fill for fill in found if since is None or fill.executed_at >= since]

    async def candles(self, symbol: str, timeframe: str, limit: int) -> Sequence[Candle]:
        self._api.require_timeframe(timeframe)
        return await self._public.candles(symbol, timeframe, limit)

    async def _account(self, params: Params) -> AccountSnapshot:
        # The time that Binance tells is that of the last change, which may lie far back: the snapshot is as of when it
        # was asked for, so that it counts as newer than what the stream told before.
        asked_ms = await self._public.now_ms()
        return self._codec.account(await self._rest.get(self._api.paths.account, params), asked_ms)

    async def aclose(self) -> None:
        """The sockets belong to the process; only the account's own limits are the gateway's."""
        await self._rest.aclose()

    def _acted(self, body: bytes, symbols: Symbols) -> OrderReport:
        """The exchange did something, but an answer that can't be read doesn't say what."""
        try:
            return self._codec.order(body, symbols)
        except UnexpectedShape as error:
            raise OutcomeUnknown(error.message) from error

    # Paging through fills.

    async def _pages(self, params: Params, symbols: Symbols) -> list[Fill]:
        """All fills from ``fromId`` on, oldest first."""
        found: list[Fill] = []
        while True:
            page = self._codec.fills(await self._rest.get(self._api.paths.own_trades, params), symbols)
            found += page
            if len(page) < self._api.limits.trades_page:
                return found
            params = {**params, "fromId": int(page[-1].exchange_trade_id) + 1}

    async def _fills_since(self, params: Params, since_ms: int, symbols: Symbols) -> list[Fill]:
        """Looks for the first fill window by window, then goes on by id, which no window bounds."""
        now_ms, start = await self._public.now_ms(), since_ms
        while start <= now_ms:
            end = start + self._api.limits.trades_window_ms
            window = {**params, "startTime": start, "endTime": end}
            page = self._codec.fills(await self._rest.get(self._api.paths.own_trades, window), symbols)
            if page:
                return await self._pages({**params, "fromId": page[0].exchange_trade_id}, symbols)
            start = end + 1
        return []


def _named(spelling: str, client_order_id: str, exchange_order_id: str) -> Params:
    """An order by its one name: the exchange's id where it is given."""
    name = {"orderId": exchange_order_id} if exchange_order_id else {"origClientOrderId": client_order_id}
    return {"symbol": spelling, **name}
