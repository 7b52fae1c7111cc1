"""A won exchange without a key: its markets, books and candles. One object serves all accounts of a process."""

import re
from collections.abc import Collection
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode

from connections.events import PublicTrade, Quote
from connections.exchanges.call import Call
from connections.exchanges.contract import DepthSnapshot
from connections.exchanges.krw.api import KrwApi
from connections.exchanges.krw.codec import KrwCodec
from connections.exchanges.krw.refusals import refusal
from connections.exchanges.network import Answer, Network
from connections.exchanges.public import VenuePublic
from connections.exchanges.server_clock import DateClock, Sample
from connections.exchanges.wire import Symbols
from connections.gateways import Candle, GatewayError
from desproject.lib.clock import to_millis

REMAINING = "Remaining-Req"
_LEFT = re.compile(r"sec=(\d+)")


class KrwPublic(VenuePublic):
    """See VenuePublic and connections.exchanges.contract.PublicApi."""

    def __init__(self, slug: str, api: KrwApi, mode: str, network: Network) -> None:
        super().__init__(api, f"{slug}:{mode}", api.base(mode).rest, network)
        self.clock: DateClock = DateClock(network.clock)
        self.api: KrwApi = api
        self.codec = KrwCodec(api)

    async def _ask_symbols(self) -> Symbols:
        return self.codec.symbols(await self.get(self.api.paths.markets))

    async def depth(self, symbol: str) -> DepthSnapshot:
        spelling = (await self.symbol_table()).spelling(symbol)
        return self.codec.depth(await self.get(self.api.paths.orderbook, urlencode({"markets": spelling})))

    async def quotes(self, symbols: Collection[str]) -> list[Quote]:
        table = await self.symbol_table()
        spellings = ",".join(sorted(table.spelling(symbol) for symbol in symbols))
        books = self.codec.books(await self.get(self.api.paths.orderbook, urlencode({"markets": spellings})))
        return [
            Quote(table.name(spelling), self._seen_ns(), *book.bids[0], *book.asks[0])
            for spelling, book in books
            if book.bids and book.asks
        ]

    async def trades(self, symbol: str) -> list[PublicTrade]:
        spelling = (await self.symbol_table()).spelling(symbol)
        query = urlencode({"market": spelling, "count": self.api.limits.trades_page})
        body = await self.get(self.api.paths.trades, query)
        return self.codec.trades(body, symbol, self._seen_ns())

    async def candles(
        self, symbol: str, timeframe: str, limit: int, before: datetime | None = None
    ) -> list[Candle]:
        """The newest candles, or the newest opened before a moment, oldest first, page by page backwards."""
        spelling = (await self.symbol_table()).spelling(symbol)
        path = self.api.paths.candles.format(unit=self.api.candle_units[timeframe])
        found: list[Candle] = []
        while len(found) < limit:
            page = min(limit - len(found), self.api.limits.candles_page)
            params: dict[str, str | int] = {"market": spelling, "count": page}
            end = found[0].opened_at if found else before
            if end is not None:
                params["to"] = self._moment(end)
            body = await self.get(path, urlencode(params), self.api.paths.candles)
            older = self.codec.candles(body, symbol, timeframe, _SECONDS[timeframe], self.network.clock.now())
            # Whether the end itself counts differs between documents and versions.
            fresh = [candle for candle in older if end is None or candle.opened_at < end]
            found = fresh + found
            if len(older) < page or not fresh:
                break
        return found

    def _moment(self, moment: datetime) -> str:
        formats = self.api.formats
        return moment.astimezone(timezone(timedelta(hours=formats.moment_offset_hours))).strftime(formats.moment)

    async def _ask_time(self) -> Sample:
        raise NotImplementedError("no request of this exchange tells its time")

    async def now_ms(self) -> int:
        """The exchange's, as far as its answers have told."""
        return self.stamp_ms()

    async def resync_clock(self) -> None:
        """Each answer measures it."""

    def stamp_ms(self) -> int:
        """The time that a request carries; ours before the exchange has answered anything."""
        return self.clock.now_ms() if self.clock.is_known else to_millis(self.network.clock.now())

    def _heard(self, call: Call, answer: Answer, sent: float) -> None:
        """``Remaining-Req: group=order; min=1800; sec=7``: what is left of this second. ``Date``: of public answers,
        which may come from a store on the way, only the first one is believed."""
        if (date_ms := _date_ms(answer.headers.get("Date", ""))) and (call.sender.tenant or not self.clock.is_known):
            self.clock.heard(date_ms, sent, self.network.clock.monotonic())
        found = _LEFT.search(answer.headers.get(REMAINING, ""))
        if found is not None:
            self.budgets.of(call).heard(int(found[1]), 1.0)

    def _refusal(self, call: Call, answer: Answer) -> GatewayError:
        return refusal(answer, call.purpose)


_SECONDS = {
    "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "4h": 14_400,
    "1d": 86_400,
}  # fmt: skip


def _date_ms(header: str) -> int | None:
    try:
        return to_millis(parsedate_to_datetime(header))
    except ValueError:
        return None
