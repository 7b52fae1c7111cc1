"""What a Binance account can do at every venue: orders, fills and candles. What a venue adds is in its own folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from connections.budget.urgency import Urgency, urgency_of, working_at
from connections.exchanges.binance.account_rest import AccountRest, Params
from connections.exchanges.binance.codec import Symbols
from connections.exchanges.binance.public import BinancePublic
from connections.exchanges.call import Purpose
from connections.gateways import (
    Candle,
    Credentials,
    Fill,
    OrderReport,
    OrderRequest,
    OutcomeUnknown,
    SendDeadline,
    SymbolRules,
    UnexpectedShape,
)
from desproject.lib.clock import to_millis
from desproject.lib.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class OrderWire:
    """Where and in which shape a venue takes orders and tells of them."""

    order: str
    open_orders: str
    fills: str
    fills_page: int
    fills_window_ms: int
    max_recv_window_ms: int
    timeframes: tuple[str, ...]
    order_params: Callable[[OrderRequest, Symbols], Params]
    read_order: Callable[[bytes, Symbols], OrderReport]
    read_orders: Callable[[bytes, Symbols], list[OrderReport]]
    read_fills: Callable[[bytes, Symbols], list[Fill]]


class BinanceGateway:
    """The part of connections.gateways.Gateway that all venues of Binance share."""

    def __init__(self, credentials: Credentials, public: BinancePublic, wire: OrderWire) -> None:
        self._rest = AccountRest(credentials, public, wire.max_recv_window_ms)
        self._public = public
        self._wire = wire

    async def rules(self, symbol: str) -> SymbolRules:
        found = (await self._public.symbols()).get(symbol)
        if found is None:
            raise InvalidInput("this symbol isn't traded here", fields={"symbol": ["not traded on this exchange"]})
        return found

    async def place_order(self, request: OrderRequest, deadline: SendDeadline) -> OrderReport:
        with working_at(urgency_of(Urgency.ENTRY)):
            symbols = await self._public.symbol_table()
            params = self._wire.order_params(request, symbols)
            return self._acted(await self._rest.place(self._wire.order, params, deadline), symbols)

    async def cancel_order(self, symbol: str, client_order_id: str, exchange_order_id: str = "") -> OrderReport:
        with working_at(Urgency.EXIT):
            symbols = await self._public.symbol_table()
            params = _named(symbols.spelling(symbol), client_order_id, exchange_order_id)
            return self._acted(await self._rest.change("DELETE", self._wire.order, params, Purpose.CANCEL), symbols)

    async def order(self, symbol: str, client_order_id: str, exchange_order_id: str = "") -> OrderReport:
        symbols = await self._public.symbol_table()
        params = _named(symbols.spelling(symbol), client_order_id, exchange_order_id)
        return self._wire.read_order(await self._rest.get(self._wire.order, params), symbols)

    async def open_orders(self) -> Sequence[OrderReport]:
        symbols = await self._public.symbol_table()
        return self._wire.read_orders(await self._rest.get(self._wire.open_orders, {}), symbols)

    async def fills(self, symbol: str, since: datetime | None, exchange_order_id: str = "") -> Sequence[Fill]:
        symbols = await self._public.symbol_table()
        params: Params = {"symbol": symbols.spelling(symbol), "limit": self._wire.fills_page}
        if exchange_order_id:
            found = await self._pages({**params, "orderId": exchange_order_id, "fromId": 0}, symbols)
        elif since is None:
            found = await self._pages({**params, "fromId": 0}, symbols)
        else:
            found = await self._fills_since(params, to_millis(since), symbols)
        return [fill for fill in found if since is None or fill.executed_at >= since]

    async def candles(self, symbol: str, timeframe: str, limit: int) -> Sequence[Candle]:
        if timeframe not in self._wire.timeframes:
            allowed = ", ".join(self._wire.timeframes)
            raise InvalidInput("unknown timeframe", fields={"timeframe": [f"one of {allowed}"]})
        return await self._public.candles(symbol, timeframe, limit)

    async def aclose(self) -> None:
        """The sockets belong to the process; only the account's own limits are the gateway's."""
        await self._rest.aclose()

    def _acted(self, body: bytes, symbols: Symbols) -> OrderReport:
        """The exchange did something, but an answer that can't be read doesn't say what."""
        try:
            return self._wire.read_order(body, symbols)
        except UnexpectedShape as error:
            raise OutcomeUnknown(error.message) from error

    # Paging through fills.

    async def _pages(self, params: Params, symbols: Symbols) -> list[Fill]:
        """All fills from ``fromId`` on, oldest first."""
        found: list[Fill] = []
        while True:
            page = self._wire.read_fills(await self._rest.get(self._wire.fills, params), symbols)
            found += page
            if len(page) < self._wire.fills_page:
                return found
            params = {**params, "fromId": int(page[-1].exchange_trade_id) + 1}

    async def _fills_since(self, params: Params, since_ms: int, symbols: Symbols) -> list[Fill]:
        """Looks for the first fill window by window, then goes on by id, which no window bounds."""
        now_ms, start = await self._public.now_ms(), since_ms
        while start <= now_ms:
            end = start + self._wire.fills_window_ms
            window = {**params, "startTime": start, "endTime": end}
            page = self._wire.read_fills(await self._rest.get(self._wire.fills, window), symbols)
            if page:
                return await self._pages({**params, "fromId": page[0].exchange_trade_id}, symbols)
            start = end + 1
        return []


def _named(spelling: str, client_order_id: str, exchange_order_id: str) -> Params:
    """An order by its one name: the exchange's id where it is given."""
    name = {"orderId": exchange_order_id} if exchange_order_id else {"origClientOrderId": client_order_id}
    return {"symbol": spelling, **name}
