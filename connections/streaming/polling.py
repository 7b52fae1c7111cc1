"""Public data by REST while the sockets can't be had: best prices and trades, about once a second, once for all
tenants (STR-4).

Whoever polls tells live data or polled data, never both: an answer that comes when the sockets are back is thrown away.
Best prices of all symbols come by one request. Trades cost one for each symbol, and more than the venue's budget should
carry: of ``polled_symbols`` they are asked for, of the others it is said that they aren't told of, so that nobody makes
bars of nothing. Books are not polled: they stay invalid.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import structlog

from connections.events import PublicTrade, Quote
from connections.exchanges.contract import PublicApi
from desproject.lib.clock import Clock
from desproject.lib.errors import DomainError

log = structlog.get_logger(__name__)

# Rounds in a row without an answer, after which nothing is known any more.
GIVE_UP_AFTER = 3


class Polled(Protocol):
    """The stream that is polled for."""

    feed: str

    @property
    def is_up(self) -> bool: ...

    @property
    def wanted(self) -> Collection[str]:
        """The most important first."""

    def knows_trades(self, symbol: str) -> bool:
        """Whether a trade of the symbol was told before: then those since are news, else only the newest is."""

    def take_polled(self, event: Quote | PublicTrade) -> None:
        """Something that the exchange said by REST."""

    def on_polled(self, left_out: Sequence[str]) -> None:
        """From now on the data are polled ones; of those symbols only best prices."""

    def on_unpolled(self, reason: str) -> None:
        """REST can't be had either."""


class RestPolling:
    """Runs beside the sockets. ``is_on`` while what is told is polled."""

    def __init__(
        self,
        stream: Polled,
        public: Callable[[], PublicApi],
        *,
        symbols: int,
        after: float,
        every: float,
        figures: Counter[str],
        clock: Clock,
    ) -> None:
        self.is_on = False
        self._stream = stream
        self._public = public
        self._most = symbols
        self._after = after
        self._every = every
        self._figures = figures
        self._clock = clock
        self._failures = 0
        self._left_out: Sequence[str] = ()

    async def run(self) -> None:
        """Works until cancelled: idle while the sockets are up or nothing is wanted."""
        down_since: float | None = None
        while True:
            now = self._clock.monotonic()
            if not self._is_needed:
                down_since = None
                self.end()
            elif down_since is None:
                down_since = now
            elif now - down_since >= self._after:
                await self._round()
            await asyncio.sleep(max(self._every - (self._clock.monotonic() - now), self._every / 10))

    def end(self) -> None:
        """The sockets are back, or nothing is wanted: what is under way isn't told any more."""
        if self.is_on:
            log.info("polling_ended", feed=self._stream.feed)
        self.is_on, self._failures, self._left_out = False, 0, ()

    @property
    def _is_needed(self) -> bool:
        return bool(self._stream.wanted) and not self._stream.is_up

    async def _round(self) -> None:
        self._figures["poll_rounds"] += 1
        try:
            public = self._public()
            known = await public.symbols()
            symbols = [symbol for symbol in self._stream.wanted if symbol in known]
            if not symbols:
                return
            quotes = await public.quotes(symbols)
            self._tell(symbols[self._most :], quotes)
            for symbol in symbols[: self._most]:
                trades = await public.trades(symbol)
                self._tell(symbols[self._most :], trades if self._stream.knows_trades(symbol) else trades[-1:])
        except DomainError as error:
            self._on_failure(error)
        else:
            self._failures = 0

    def _tell(self, left_out: Sequence[str], events: Sequence[Quote | PublicTrade]) -> None:
        if not self._is_needed:
            return
        if not self.is_on or left_out != self._left_out:
            self.is_on, self._left_out = True, left_out
            log.warning("feed_polled", feed=self._stream.feed, left_out=len(left_out), alert="stream_degraded")
            self._stream.on_polled(left_out)
        for event in events:
            if event.symbol in self._stream.wanted:
                self._stream.take_polled(event)

    def _on_failure(self, error: DomainError) -> None:
        self._failures += 1
        self._figures["poll_failures"] += 1
        log.warning("poll_failed", feed=self._stream.feed, error=error.code, failures=self._failures)
        if self.is_on and self._failures >= GIVE_UP_AFTER:
            self.is_on, self._left_out = False, ()
            self._stream.on_unpolled("neither the stream nor REST can be had")
