"""Binance spot without a key: its clock, symbols and books. One object serves all accounts of a process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar
from urllib.parse import urlencode

import structlog

from connections.exchanges.binance_spot.api import API
from connections.exchanges.binance_spot.codec import Symbols, read_candles, read_depth, read_symbols, read_time
from connections.exchanges.binance_spot.refusals import DEFAULT_PAUSE, OrdersThrottled, Purpose, refusal
from connections.exchanges.contract import DepthSnapshot
from connections.exchanges.network import Answer, Network, Request
from connections.exchanges.server_clock import Sample, ServerClock
from connections.gateways import (
    Banned,
    Candle,
    DeadlinePassed,
    GatewayError,
    NothingHappened,
    OutcomeUnknown,
    SendDeadline,
    SymbolRules,
    Throttled,
    Unreachable,
)

log = structlog.get_logger(__name__)

T = TypeVar("T")
SYMBOLS_SECONDS = 3600.0
READ_SECONDS = 10.0
# An order is answered in milliseconds; past this it is better asked for.
WRITE_SECONDS = 5.0
_READ_PAUSES = (0.2, 0.6)
_LONGEST_WAIT = 2.0
_REREAD_SECONDS = 30.0
# A clock measured over a slow way is measured again, so often at most.
_CLOCK_TRIES = 3
_QUICK_SECONDS = 0.25


class PublicSpot:
    """What everybody may ask. Also the one way out for signed requests, so that limits are obeyed in one place."""

    def __init__(self, mode: str, network: Network) -> None:
        self.network = network
        self.base = API.base(mode).rest
        self.clock = ServerClock(network.clock)
        self.used_weight = 0
        self._symbols: Symbols | None = None
        self._symbols_read_at = 0.0
        self._symbols_lock = asyncio.Lock()
        self._rereading: asyncio.Task[None] | None = None
        self._clock_lock = asyncio.Lock()

    async def aclose(self) -> None:
        """Ends what it does beside the work."""
        if self._rereading is not None:
            self._rereading.cancel()
            await asyncio.gather(self._rereading, return_exceptions=True)

    async def symbols(self) -> Mapping[str, SymbolRules]:
        """The filters of every traded symbol, by DES's name."""
        return (await self.symbol_table()).rules

    async def symbol_table(self) -> Symbols:
        """Read by whoever comes first, and again each hour, beside the work: no order waits for that."""
        if self._symbols is None:
            async with self._symbols_lock:
                if self._symbols is None:
                    await self._read_symbols()
        elif self._is_table_old() and (self._rereading is None or self._rereading.done()):
            self._rereading = asyncio.create_task(self._reread_symbols(), name="symbols")
        assert self._symbols is not None  # noqa: S101  # read above, and never unset
        return self._symbols

    def _is_table_old(self) -> bool:
        return self.network.clock.monotonic() - self._symbols_read_at >= SYMBOLS_SECONDS

    async def _read_symbols(self) -> None:
        query = urlencode({"showPermissionSets": "false"})
        self._symbols = read_symbols(await self.get(API.paths.exchange_info, query))
        self._symbols_read_at = self.network.clock.monotonic()

    async def _reread_symbols(self) -> None:
        """The old table serves on where a new one can't be had."""
        try:
            await self._read_symbols()
        except GatewayError as error:
            log.warning("symbols_not_read_again", base=self.base, error=error.code)
            await asyncio.sleep(_REREAD_SECONDS)

    async def depth(self, symbol: str) -> DepthSnapshot:
        spelling = (await self.symbol_table()).spelling(symbol)
        query = urlencode({"symbol": spelling, "limit": API.limits.depth_levels})
        return read_depth(await self.get(API.paths.depth, query))

    async def candles(self, symbol: str, timeframe: str, limit: int) -> list[Candle]:
        """The newest candles, oldest first, page by page backwards."""
        spelling = (await self.symbol_table()).spelling(symbol)
        now_ms = await self.now_ms()
        found: list[Candle] = []
        while len(found) < limit:
            page = min(limit - len(found), API.limits.klines_page)
            params: dict[str, str | int] = {"symbol": spelling, "interval": timeframe, "limit": page}
            if found:
                params["endTime"] = int(found[0].opened_at.timestamp() * 1000) - 1
            older = read_candles(await self.get(API.paths.klines, urlencode(params)), symbol, timeframe, now_ms)
            found = older + found
            if len(older) < page:
                break
        return found

    async def now_ms(self) -> int:
        if not self.clock.is_known:
            await self.resync_clock()
        return self.clock.now_ms()

    async def resync_clock(self) -> None:
        """Several callers at once measure once."""
        asked = self.network.clock.monotonic()
        async with self._clock_lock:
            if self.clock.measured_since(asked):
                return
            samples = [await self._ask_time()]
            while samples[-1].seconds > _QUICK_SECONDS and len(samples) < _CLOCK_TRIES:
                samples.append(await self._ask_time())
            self.clock.measured(min(samples, key=lambda sample: sample.seconds))
            log.info("exchange_clock_measured", base=self.base, skew_ms=round(self.clock.skew_ms or 0))

    async def _ask_time(self) -> Sample:
        sent = self.network.clock.monotonic()
        server_ms = read_time(await self.get(API.paths.time))
        return Sample(sent, self.network.clock.monotonic(), server_ms)

    async def get(self, path: str, query: str = "") -> bytes:
        """A public read, tried a few times. Raises GatewayError."""
        return await self.read(lambda: self.send("GET", path, query, Purpose.READ))

    async def read(self, once: Callable[[], Awaitable[T]]) -> T:
        """Tries a read again after a moment where nothing happened, unless the exchange asks for a long pause."""
        for pause in _READ_PAUSES:
            try:
                return await once()
            except DeadlinePassed:
                raise
            except NothingHappened as error:
                wait = max(error.retry_after or 0, pause)
                if wait > _LONGEST_WAIT:
                    raise
                await asyncio.sleep(wait)
        return await once()

    async def send(
        self,
        method: str,
        path: str,
        query: str,
        purpose: Purpose,
        *,
        api_key: str = "",
        deadline: SendDeadline | None = None,
    ) -> bytes:
        """Sends once; the body of a success. Raises GatewayError."""
        url = f"{self.base}{path}?{query}" if query else f"{self.base}{path}"
        headers = {"X-MBX-APIKEY": api_key} if api_key else {}
        seconds = READ_SECONDS if purpose is Purpose.READ else WRITE_SECONDS
        try:
            answer = await self.network.send(Request(method, url, headers, seconds, deadline))
        except OutcomeUnknown as error:
            if purpose is Purpose.READ:
                raise Unreachable(error.message) from None
            raise
        return self._body(answer, purpose)

    def _body(self, answer: Answer, purpose: Purpose) -> bytes:
        if (used := answer.headers.get("X-MBX-USED-WEIGHT-1M", "")).isdigit():
            self.used_weight = int(used)
        if 200 <= answer.status < 300:
            return answer.body
        error = refusal(answer, purpose, self.clock.now_ms())
        if isinstance(error, Throttled) and not isinstance(error, OrdersThrottled):
            pause = error.retry_after or DEFAULT_PAUSE
            self.network.shut(self.base, pause, banned=isinstance(error, Banned))
        raise error
