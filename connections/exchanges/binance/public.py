"""A Binance venue without a key: its clock, symbols and books. One object serves all accounts of a process."""

from collections.abc import Collection
from datetime import datetime
from typing import Generic, TypeVar
from urllib.parse import urlencode

from connections.events import PublicTrade, Quote
from connections.exchanges.binance.api import WEIGHT, BinanceApi, order_budget
from connections.exchanges.binance.codec import BinanceCodec, read_candles, read_time
from connections.exchanges.binance.refusals import OrdersThrottled, refusal
from connections.exchanges.call import Call, Purpose
from connections.exchanges.contract import DepthSnapshot
from connections.exchanges.network import Answer, Network
from connections.exchanges.public import VenuePublic
from connections.exchanges.server_clock import Sample
from connections.exchanges.wire import Symbols, amount, price
from connections.gateways import Candle, GatewayError
from desproject.lib.clock import to_millis

Api = TypeVar("Api", bound=BinanceApi)
Codec = TypeVar("Codec", bound=BinanceCodec)
USED_WEIGHT = "X-MBX-USED-WEIGHT-1M"
ORDER_COUNT = "X-MBX-ORDER-COUNT-"
_MINUTE_MS = 60_000


class BinancePublic(VenuePublic, Generic[Api, Codec]):
    """See VenuePublic and connections.exchanges.contract.PublicApi."""

    def __init__(self, api: Api, codec: Codec, feed: str, base: str, network: Network) -> None:
        super().__init__(api, feed, base, network)
        self.api: Api = api
        self.codec = codec

    async def _ask_symbols(self) -> Symbols:
        return self.codec.symbols(await self.get(self.api.paths.exchange_info, self.api.exchange_info_query))

    async def _ask_time(self) -> Sample:
        sent = self.network.clock.monotonic()
        server_ms = read_time(await self.get(self.api.paths.time))
        return Sample(sent, self.network.clock.monotonic(), server_ms)

    async def depth(self, symbol: str) -> DepthSnapshot:
        spelling = (await self.symbol_table()).spelling(symbol)
        query = urlencode({"symbol": spelling, "limit": self.api.limits.depth_levels})
        return self.codec.depth(await self.get(self.api.paths.depth, query))

    async def candles(
        self, symbol: str, timeframe: str, limit: int, before: datetime | None = None
    ) -> list[Candle]:
        """The newest candles, or the newest opened before a moment, oldest first, page by page backwards."""
        spelling = (await self.symbol_table()).spelling(symbol)
        now_ms = await self.now_ms()
        found: list[Candle] = []
        while len(found) < limit:
            page = min(limit - len(found), self.api.limits.klines_page)
            params: dict[str, str | int] = {"symbol": spelling, "interval": timeframe, "limit": page}
            if end := found[0].opened_at if found else before:
                params["endTime"] = to_millis(end) - 1
            older = read_candles(await self.get(self.api.paths.klines, urlencode(params)), symbol, timeframe, now_ms)
            found = older + found
            if len(older) < page:
                break
        return found

    async def quotes(self, symbols: Collection[str]) -> list[Quote]:
        """One symbol alone costs less than a table of all."""
        table, query = await self.symbol_table(), ""
        wanted = {table.spelling(symbol) for symbol in symbols}
        if len(wanted) == 1:
            query = urlencode({"symbol": next(iter(wanted))})
        rows = self.codec.quotes(await self.get(self.api.paths.book_ticker, query))
        return [
            Quote(table.name(row.symbol), self._seen_ns(), row.bid, row.bid_size, row.ask, row.ask_size)
            for row in rows
            if row.symbol in wanted and row.bid > 0 and row.ask > 0
        ]

    async def trades(self, symbol: str) -> list[PublicTrade]:
        spelling = (await self.symbol_table()).spelling(symbol)
        query = urlencode({"symbol": spelling, "limit": self.api.limits.polled_trades})
        rows = self.codec.trades(await self.get(self.api.paths.trades, query))
        seen_ns = self._seen_ns()
        return [
            PublicTrade(
                symbol, seen_ns, row.trade_id, price(row.price), amount(row.quantity), row.executed_ms, row.first_id
            )
            for row in rows
        ]

    def _heard(self, call: Call, answer: Answer, sent: float) -> None:
        used = answer.headers.get(USED_WEIGHT, "")
        if used.isdigit() and not call.base:
            left = self.budgets.granted(self.api.budgets[WEIGHT].limit) - int(used)
            into_minute = self.clock.now_ms() % _MINUTE_MS if self.clock.is_known else 0
            self.budgets.of(call).heard(left, (_MINUTE_MS - into_minute) / 1000)
        if call.purpose is Purpose.PLACE:
            for name, (limit, seconds) in self.api.order_limits.items():
                placed = answer.headers.get(ORDER_COUNT + name, "")
                if placed.isdigit():
                    left = self.budgets.granted(limit) - int(placed)
                    call.sender.budgets[order_budget(name)].heard(left, seconds)

    def _refusal(self, call: Call, answer: Answer) -> GatewayError:
        return refusal(answer, call.purpose, self.clock.now_ms())

    async def _obey(self, call: Call, refused: GatewayError) -> None:
        """An account's order limit says nothing about the address."""
        if not isinstance(refused, OrdersThrottled):
            await super()._obey(call, refused)
