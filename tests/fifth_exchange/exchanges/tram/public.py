"""Tram without a key, and the one way out to it."""

from collections.abc import Collection
from datetime import datetime
from urllib.parse import urlencode

from connections.events import PublicTrade, Quote
from connections.exchanges.call import Call, Purpose
from connections.exchanges.contract import DepthSnapshot
from connections.exchanges.network import Answer, Network
from connections.exchanges.public import VenuePublic
from connections.exchanges.server_clock import Sample
from connections.exchanges.wire import Symbols, decode
from connections.gateways import Candle, GatewayError
from desproject.lib.clock import to_millis

from . import codec
from .api import TramApi
from .refusals import refusal


class TramPublic(VenuePublic):
    """See VenuePublic and connections.exchanges.contract.PublicApi."""

    def __init__(self, api: TramApi, mode: str, network: Network) -> None:
        super().__init__(api, f"tram:{mode}", api.base(mode).rest, network)
        self.api: TramApi = api
        self.codec = codec.TramCodec(api)

    async def _ask_symbols(self) -> Symbols:
        return self.codec.symbols(await self.get(self.api.paths.markets))

    async def _ask_time(self) -> Sample:
        sent = self.network.clock.monotonic()
        body = await self.get(self.api.paths.clock)
        return Sample(sent, self.network.clock.monotonic(), codec.server_ms(body))

    async def depth(self, symbol: str) -> DepthSnapshot:
        return codec.depth(await self.get(self.api.paths.book, urlencode(await self._named(symbol))))

    async def quotes(self, symbols: Collection[str]) -> list[Quote]:
        table = await self.symbol_table()
        spellings = ",".join(sorted(map(table.spelling, symbols)))
        body = await self.get(self.api.paths.book, urlencode({"markets": spellings}))
        books: list[codec.Book] = decode(body, list[codec.Book])
        return [
            Quote(table.name(book.market), self._seen_ns(), *book.bids[0], *book.asks[0])
            for book in books
            if book.bids and book.asks
        ]

    async def trades(self, symbol: str) -> list[PublicTrade]:
        params = {**await self._named(symbol), "count": self.api.limits.page}
        return codec.trades(await self.get(self.api.paths.deals, urlencode(params)), symbol, self._seen_ns())

    async def candles(
        self, symbol: str, timeframe: str, limit: int, before: datetime | None = None
    ) -> list[Candle]:
        found: list[Candle] = []
        while len(found) < limit:
            page = min(limit - len(found), self.api.limits.page)
            params: dict[str, str | int] = {**await self._named(symbol), "every": timeframe, "count": page}
            end = found[0].opened_at if found else before
            if end is not None:
                params["before"] = to_millis(end)
            older = codec.candles(await self.get(self.api.paths.bars, urlencode(params)), symbol, timeframe)
            found = older + found
            if len(older) < page:
                break
        return found

    def _refusal(self, call: Call, answer: Answer) -> GatewayError:
        return refusal(answer, is_write=call.purpose is not Purpose.READ)

    async def _named(self, symbol: str) -> dict[str, str | int]:
        return {"market": (await self.symbol_table()).spelling(symbol)}
