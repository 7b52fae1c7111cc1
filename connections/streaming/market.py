"""A feed's public data: one socket for all symbols that anybody wants (or one an address, where the venue spreads them
over several), its books kept, everything published once."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from math import inf

import structlog
from websockets.exceptions import ConnectionClosed

from connections.books import OrderBook
from connections.events import BookState, CandleUpdate, FeedState, PublicTrade, Quote
from connections.exchanges.api_file import ApiFile
from connections.exchanges.contract import (
    Alive,
    Confirmed,
    DepthDelta,
    Ending,
    MarketDialect,
    MarketFrame,
    PublicApi,
    Refused,
    Venue,
    WholeDepth,
)
from connections.exchanges.network import Network
from connections.gateways import UnexpectedShape
from connections.prices import PriceCache
from connections.streaming.kept_socket import (
    UNBOUNDED,
    Address,
    KeptSocket,
    OnAlert,
    SocketReader,
    SocketSlots,
    Timing,
    unheard,
)
from connections.streaming.market_publisher import MarketPublisher
from connections.streaming.polling import RestPolling
from connections.whole_books import WholeBook
from desproject.lib.clock import Clock
from desproject.lib.errors import DomainError

log = structlog.get_logger(__name__)

TOP_LEVELS = 10
BOOK_SECONDS = 0.25
# A quote that didn't change is told again: who came later has none.
REPEAT_SECONDS = 5.0
RESYNC_SECONDS = 300.0
QUIET_SECONDS = 1.5
# A whole book that wasn't told for so long is compared with the exchange's own by REST.
CHECK_QUIET_SECONDS = 5.0
# Best prices that differ from a book for so long, while no delta of it comes, show that it stands still.
STANDING_SECONDS = 1.0
# For such a book the socket is replaced, so often at most.
_REPLACE_SECONDS = 60.0
_SNAPSHOT_PAUSE = 0.3
_SNAPSHOT_RETRY = 1.0
_STREAMS_A_MESSAGE = 200
_MAX_BUFFERED = 50_000

Symbols = Mapping[str, Collection[str]]


class MarketStream:
    """Runs while this process holds the feed's lease. ``want`` may change what is wanted at any time."""

    def __init__(
        self,
        feed: str,
        venue: Venue,
        network: Network,
        publisher: MarketPublisher,
        prices: PriceCache,
        *,
        timing: Timing,
        figures: Counter[str],
        clock: Clock,
        slots: SocketSlots = UNBOUNDED,
        on_alert: OnAlert = unheard,
    ) -> None:
        self.feed = feed
        self.books: dict[str, OrderBook] = {}
        self.wanted: Symbols = {}
        # Set, and replaced by a fresh one, with every change of ``wanted``.
        self.change = asyncio.Event()
        self.max_streams = venue.capabilities.streams_per_market_socket
        self.dialects: Sequence[MarketDialect] = ()
        self._venue = venue
        self._mode = feed.rpartition(":")[2]
        # What each socket goes by, of the versions of the exchange's API (ADR 24).
        self._apis: dict[int, ApiFile] = {}
        self._network = network
        self._publisher = publisher
        self._prices = prices
        self._figures = figures
        self._clock = clock
        self._last_trade: dict[str, int] = {}
        # Symbols of which a trade came by the present socket, where the next one has the next number.
        self._unbroken: set[str] = set()
        self._numbers_trades = venue.capabilities.numbers_trades
        self._last_candle: dict[tuple[str, str], int] = {}
        self._told: dict[str, float] = {}
        self._moved_books: set[str] = set()
        self._refresh_at: dict[str, float] = {}
        self._patient_until: dict[str, float] = {}
        self._unknown: set[str] = set()
        # Of books whose top isn't the best price told: the newest delta, and since when.
        self._differing: dict[str, tuple[int, float]] = {}
        self._replaced_at = -inf
        self.sockets = tuple(
            KeptSocket(
                f"market {feed}" if not part else f"market {feed} {part + 1}", partial(self._address, part),
                partial(self._session, part), on_up=self._on_up, on_down=self._on_down, timing=timing,
                figures=figures, clock=clock, on_alert=on_alert, slots=slots,
            )
            for part in range(venue.capabilities.market_sockets)
        )  # fmt: skip
        self._polling = RestPolling(
            self, self._public, symbols=venue.capabilities.polled_symbols, after=timing.poll_after,
            every=timing.poll_every, figures=figures, clock=clock,
        )  # fmt: skip

    def read_anew(self, symbol: str) -> None:
        """Gives up the symbol's book, however right it looks: somebody doubts its price."""
        if (book := self.books.get(symbol)) is not None:
            self._distrust(book, "read anew: its price is in doubt")

    def want(self, symbols: Symbols) -> None:
        """Says which symbols, with which candles, are wanted from now on: where not all fit, the first of them."""
        now = {symbol: set(timeframes) for symbol, timeframes in symbols.items()}
        if now == self.wanted and list(now) == list(self.wanted):
            return
        self.wanted = now
        self._unknown &= now.keys()
        for symbol in self.books.keys() - now.keys():
            self._forget(symbol)
        self._prices.keep_only(self.feed, now)
        changed, self.change = self.change, asyncio.Event()
        changed.set()

    def keep_up(self) -> None:
        """Replaces the sockets that go by another version of the exchange's API than they should by now, beside the
        old ones: nothing is missed."""
        api = self._venue.versions.of(self._mode)
        for part, socket in enumerate(self.sockets):
            if socket.session is not None and self._apis[part] is not api:
                socket.session.ending.set()

    @property
    def is_up(self) -> bool:
        """Whether everything is heard."""
        return all(socket.is_up for socket in self.sockets)

    @property
    def is_polled(self) -> bool:
        """Whether REST stands in for the sockets."""
        return self._polling.is_on

    async def run(self) -> None:
        """Works until cancelled. While nothing is wanted there is no socket."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_sockets())
            group.create_task(self._tell_books())
            group.create_task(self._fetch_snapshots())
            group.create_task(self._polling.run())
            group.create_task(self._publisher.run())

    async def _keep_sockets(self) -> None:
        while True:
            while not self.wanted:
                await self.change.wait()
            running = [asyncio.create_task(socket.run()) for socket in self.sockets]
            try:
                await self._while_wanted(running)
            finally:
                ended = zip(self.sockets, running, strict=True)
                results = await asyncio.gather(*(socket.stop(task) for socket, task in ended), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            self._on_down("nothing is wanted")

    async def _while_wanted(self, running: "list[asyncio.Task[None]]") -> None:
        while self.wanted and not any(task.done() for task in running):
            changed = asyncio.create_task(self.change.wait())
            try:
                await asyncio.wait({*running, changed}, return_when="FIRST_COMPLETED")
            finally:
                changed.cancel()

    def _public(self) -> PublicApi:
        return self._venue.public(self._mode, self._network)

    async def _address(self, part: int) -> Address:
        self._apis[part] = self._venue.versions.of(self._mode)
        self.dialects = await self._venue.market_dialects(self._mode, self._network)
        return Address(self.dialects[part].url, self.dialects[part].lifetime, {})

    def _session(self, part: int, reader: SocketReader) -> "MarketSession":
        return MarketSession(self, reader, self.dialects[part])

    # What sessions ask and tell.

    def wanted_streams(self, dialect: MarketDialect) -> set[str]:
        """The venue's streams for all that is wanted; unknown symbols are left out, and what no socket can carry."""
        streams: set[str] = set()
        for symbol in self.wanted:
            try:
                more = set(dialect.streams(symbol, self.wanted[symbol]))
            except DomainError:
                self._report_unknown(symbol)
                continue
            if len(streams | more) > self.max_streams:
                log.error("too_many_streams", feed=self.feed, symbol=symbol, limit=self.max_streams)
                break
            streams |= more
            self._book(symbol, whole=dialect.whole_books)
        return streams

    def take(self, frame: MarketFrame) -> None:
        """One thing that the primary socket said. A symbol that isn't wanted any more may still be told of."""
        self._figures["market_frames"] += 1
        if self._polling.is_on:  # of one socket of several: old and new would mix
            return
        if isinstance(frame, Confirmed | Alive | Refused | Ending) or frame.symbol not in self.wanted:
            return
        if isinstance(frame, DepthDelta):
            self._on_delta(frame)
        elif isinstance(frame, WholeDepth):
            self._on_whole(frame)
        elif isinstance(frame, PublicTrade):
            self._on_trade(frame)
        elif isinstance(frame, CandleUpdate):
            self._on_candle(frame)
        elif isinstance(frame, Quote):
            self._on_quote(frame)

    def take_over(self, frame: MarketFrame) -> None:
        """What a successor heard while the socket before it still counted: some of it is no news any more."""
        if not self._is_known(frame):
            self.take(frame)

    def _is_known(self, frame: MarketFrame) -> bool:
        if isinstance(frame, PublicTrade):
            return frame.trade_id <= self._last_trade.get(frame.symbol, -1)
        if isinstance(frame, WholeDepth | DepthDelta):
            book = self.books.get(frame.symbol)
            if book is None or not book.valid:
                return False
            return frame.as_of_ms < book.last_id if isinstance(frame, WholeDepth) else frame.last_id <= book.last_id
        return False

    def on_unreadable(self) -> None:
        """A frame of another shape than the venue documents: it is left out."""
        self._figures["market_frames_unreadable"] += 1

    def _on_quote(self, quote: Quote) -> None:
        self._told[quote.symbol] = self._clock.monotonic()
        self._tell(quote)

    def _on_trade(self, trade: PublicTrade) -> None:
        """Each is told once, though two sockets overlap during a renewal. Where the venue numbers them without a hole,
        one that didn't come shows by the next: what is made of trades begins anew, and nothing else that this socket
        said of the symbol is believed."""
        last = self._last_trade.get(trade.symbol, -1)
        if trade.trade_id <= last:
            self._figures["trades_repeated"] += 1
            return
        first = trade.trade_id if trade.first_id is None else trade.first_id
        if first > last + 1 and trade.symbol in self._unbroken:
            self._on_trades_missing(trade.symbol, f"trades {last + 1} to {first - 1} are missing")
        elif first <= last:
            self._on_trades_missing(trade.symbol, f"trades {first} to {last} are told twice, in a sum with others")
        self._last_trade[trade.symbol] = trade.trade_id
        if self._numbers_trades:
            self._unbroken.add(trade.symbol)
        self._tell(trade)

    def _on_trades_missing(self, symbol: str, reason: str) -> None:
        self._figures["trade_gaps"] += 1
        log.warning("trades_missing", feed=self.feed, symbol=symbol, reason=reason)
        self._publisher.put(FeedState(symbol, time.time_ns(), up=True, reason=reason))
        if (book := self.books.get(symbol)) is not None:
            self._distrust(book, reason)

    def _on_candle(self, candle: CandleUpdate) -> None:
        key = (candle.symbol, candle.timeframe)
        if candle.opened_ms <= self._last_candle.get(key, -1):
            return
        if candle.closed:
            self._last_candle[key] = candle.opened_ms
        self._tell(candle)

    def _tell(self, event: Quote | PublicTrade | CandleUpdate) -> None:
        self._prices.take(self.feed, event)
        self._publisher.put(event)

    def _on_up(self) -> None:
        if not self.is_up:
            return
        self._polling.end()
        self._unbroken.clear()
        self._patient_until = dict.fromkeys(self.books, self._clock.monotonic() + QUIET_SECONDS)
        self._tell_feed(up=True, reason="")

    def _on_down(self, reason: str) -> None:
        self._unbroken.clear()
        for book in self.books.values():
            self._distrust(book, "the stream is down")
        self._tell_feed(up=False, reason=reason)

    def _tell_feed(self, *, up: bool, reason: str, polled: bool = False) -> None:
        self._publisher.put(FeedState("", time.time_ns(), up, reason, polled))

    def knows_trades(self, symbol: str) -> bool:
        """See polling.Polled."""
        return symbol in self._last_trade

    def take_polled(self, event: Quote | PublicTrade) -> None:
        """See polling.Polled."""
        if isinstance(event, PublicTrade):
            if event.trade_id > self._last_trade.get(event.symbol, -1):  # most of an answer is known
                self._on_trade(event)
        else:
            self._on_quote(event)

    def on_polled(self, left_out: Sequence[str]) -> None:
        """See polling.Polled."""
        self._unbroken.clear()
        self._tell_feed(up=True, reason="polled by REST: the stream can't be had", polled=True)
        for symbol in left_out:
            self._publisher.put(FeedState(symbol, time.time_ns(), False, "only best prices are polled", True))

    def on_unpolled(self, reason: str) -> None:
        """See polling.Polled."""
        self._tell_feed(up=False, reason=reason)

    def _forget(self, symbol: str) -> None:
        for known in (self.books, self._told, self._refresh_at, self._patient_until, self._differing):
            known.pop(symbol, None)
        self._moved_books.discard(symbol)
        self._forget_trades(symbol)

    def _forget_trades(self, symbol: str) -> None:
        self._last_trade.pop(symbol, None)
        self._unbroken.discard(symbol)

    def _report_unknown(self, symbol: str) -> None:
        if symbol not in self._unknown:
            self._unknown.add(symbol)
            log.warning("unknown_symbol_wanted", feed=self.feed, symbol=symbol)

    # Books.

    def _book(self, symbol: str, *, whole: bool) -> None:
        if symbol not in self.books:
            self.books[symbol] = WholeBook(symbol) if whole else OrderBook(symbol)
            self._patient_until[symbol] = self._clock.monotonic() + QUIET_SECONDS

    def _on_whole(self, depth: WholeDepth) -> None:
        """A book that comes whole brings the quote with it."""
        book = self.books.get(depth.symbol)
        if not isinstance(book, WholeBook):
            return
        was_valid, before = book.valid, book.top(1)
        book.on_whole(depth)
        self._refresh_at[depth.symbol] = self._clock.monotonic() + CHECK_QUIET_SECONDS
        if not book.valid:
            if was_valid:
                self._tell_invalid(book)
            return
        self._moved_books.add(depth.symbol)
        if not was_valid or book.top(1) != before:
            self._tell_quote(book)

    def _on_delta(self, delta: DepthDelta) -> None:
        book = self.books.get(delta.symbol)
        if book is None:
            return
        was_valid = book.valid
        book.on_delta(delta)
        if book.valid:
            self._moved_books.add(delta.symbol)
        elif was_valid:
            self._tell_invalid(book)

    def _distrust(self, book: OrderBook, reason: str) -> None:
        if book.valid:
            book.invalidate(reason)
            self._tell_invalid(book)
        else:
            book.invalidate(reason)

    def _tell_invalid(self, book: OrderBook) -> None:
        """At once: strategies must not see it a moment longer."""
        self._moved_books.discard(book.symbol)
        self._figures["books_invalidated"] += 1
        log.warning("book_invalid", feed=self.feed, symbol=book.symbol, reason=book.reason)
        self._publisher.put(BookState(book.symbol, time.time_ns(), valid=False, reason=book.reason))

    async def _tell_books(self) -> None:
        """The top of moved books a few times a second, and quotes that have long not changed."""
        while True:
            await asyncio.sleep(BOOK_SECONDS)
            for symbol in self._moved_books:
                self._tell_valid(self.books[symbol])
            self._moved_books.clear()
            if self.is_up:
                self._repeat_quotes()
                self._find_standing_books()

    def _find_standing_books(self) -> None:
        """A book of which no delta comes any more shows no gap; but its best prices, told apart from it, move on."""
        now = self._clock.monotonic()
        for symbol, book in self.books.items():
            price = self._prices.get(self.feed, symbol)
            if not book.valid or price is None or book.best() == (price.bid, price.ask):
                self._differing.pop(symbol, None)
                continue
            last_id, since = self._differing.setdefault(symbol, (book.last_id, now))
            if last_id != book.last_id:
                self._differing[symbol] = (book.last_id, now)
            elif now - since >= STANDING_SECONDS:
                del self._differing[symbol]
                self._figures["books_standing"] += 1
                self._distrust(book, "it stands still while prices move")
                self._replace_sockets(now)

    def _replace_sockets(self, now: float) -> None:
        """Beside the old ones, which tell all but that book."""
        if now - self._replaced_at < _REPLACE_SECONDS:
            return
        self._replaced_at = now
        for socket in self.sockets:
            if socket.session is not None:
                socket.session.ending.set()

    def _tell_valid(self, book: OrderBook) -> None:
        bids, asks = book.top(TOP_LEVELS)
        self._publisher.put(BookState(book.symbol, time.time_ns(), valid=True, reason="", bids=bids, asks=asks))

    def _repeat_quotes(self) -> None:
        now = self._clock.monotonic()
        for symbol, book in self.books.items():
            if now - self._told.get(symbol, 0) < REPEAT_SECONDS or not book.valid:
                continue
            self._tell_quote(book)

    def _tell_quote(self, book: OrderBook) -> None:
        (bid, *_), (ask, *_) = book.top(1)
        self._on_quote(Quote(book.symbol, time.time_ns(), bid[0], bid[1], ask[0], ask[1]))

    async def _fetch_snapshots(self) -> None:
        """One after the other, so that many symbols don't spend the request budget at once."""
        while True:
            await asyncio.sleep(0.05)
            if not self.is_up:
                continue
            for symbol in list(self.books):
                await self._fetch_if_due(symbol)

    async def _fetch_if_due(self, symbol: str) -> None:
        book, now = self.books.get(symbol), self._clock.monotonic()
        if book is None or not self.is_up:
            return
        if book.valid and now >= self._refresh_at[symbol]:
            book.begin_refresh()
            self._refresh_at[symbol] = now + _refresh_seconds(book)
        # A snapshot from before the subscription would leave a hole; where no delta comes the market is quiet.
        if book.needs_snapshot and (book.is_buffering or now >= self._patient_until.get(symbol, 0)):
            await self._fetch(symbol, book)

    async def _fetch(self, symbol: str, book: OrderBook) -> None:
        """Gets a snapshot; a book that was not valid and now is, is told at once."""
        was_valid = book.valid
        try:
            snapshot = await self._public().depth(symbol)
        except DomainError as error:
            log.warning("book_snapshot_failed", feed=self.feed, symbol=symbol, error=error.code)
            await asyncio.sleep(max(getattr(error, "retry_after", None) or 0, _SNAPSHOT_RETRY))
            return
        if self.books.get(symbol) is not book or not self.is_up:
            return
        book.on_snapshot(snapshot)
        self._figures["book_snapshots"] += 1
        if book.valid and not was_valid:
            self._refresh_at[symbol] = self._clock.monotonic() + _refresh_seconds(book)
            self._tell_valid(book)
            self._told.pop(symbol, None)
            self._repeat_quotes()
        elif was_valid and not book.valid:
            self._tell_invalid(book)
        await asyncio.sleep(_SNAPSHOT_PAUSE)


def _refresh_seconds(book: OrderBook) -> float:
    """When a book is next fetched by REST, if the stream brings nothing: one that comes whole is only compared."""
    return CHECK_QUIET_SECONDS if isinstance(book, WholeBook) else RESYNC_SECONDS


class MarketSession:
    """One market socket. Until it is promoted, what it says is kept."""

    def __init__(self, stream: MarketStream, reader: SocketReader, dialect: MarketDialect) -> None:
        self.ready = asyncio.Event()
        self.ending = asyncio.Event()
        self._stream = stream
        self._dialect = dialect
        self._reader = reader
        self._subscribed: set[str] = set()
        self._unanswered: set[int] = set()
        self._request_id = 0
        self._is_primary = False
        self._is_retired = False
        self._kept: list[MarketFrame] = []
        self._malformed = 0
        self._is_synchronised = False

    async def run(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            subscribing = asyncio.create_task(self._keep_subscribed())
            stack.callback(subscribing.cancel)
            async for frame in self._reader.frames(may_be_silent=lambda: not self._subscribed):
                self._read(frame)

    def promote(self) -> None:
        self._is_primary = True
        kept, self._kept = self._kept, []
        for frame in kept:
            self._stream.take_over(frame)

    def retire(self) -> None:
        self._is_retired = True

    def _read(self, frame: bytes) -> None:
        try:
            found = self._dialect.read(frame, time.time_ns())
        except UnexpectedShape as error:
            self._malformed += 1
            self._stream.on_unreadable()
            if self._malformed == 1:
                log.error("frame_unreadable", stream=self._dialect.url, error=error.message)
            return
        if found is None:
            return
        if isinstance(found, Confirmed | Refused):
            self._answered(found)
        elif isinstance(found, Alive):
            self._unanswered.clear()
            self._check_ready()
        elif isinstance(found, Ending):
            self.ending.set()
        elif self._is_primary and not self._is_retired:
            self._stream.take(found)
        elif not self._is_retired and len(self._kept) < _MAX_BUFFERED:
            self._kept.append(found)

    def _answered(self, answer: Confirmed | Refused) -> None:
        if isinstance(answer, Refused):
            log.error("subscription_refused", stream=self._dialect.url, reason=answer.reason)
        if answer.request_id is not None:
            self._unanswered.discard(answer.request_id)
        self._check_ready()

    def _check_ready(self) -> None:
        if self._is_synchronised and not self._unanswered:
            self.ready.set()

    async def _keep_subscribed(self) -> None:
        """Adds and ends streams as they are wanted; ends with the socket."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                change = self._stream.change
                await self._synchronise()
                self._is_synchronised = True
                self._check_ready()
                await change.wait()

    async def _synchronise(self) -> None:
        wanted = self._stream.wanted_streams(self._dialect)
        missing, unwanted = sorted(wanted - self._subscribed), sorted(self._subscribed - wanted)
        self._subscribed = wanted
        if self._dialect.states_all:
            if missing or unwanted:
                await self._send(self._dialect.subscribe, sorted(wanted))
            return
        for start in range(0, len(missing), _STREAMS_A_MESSAGE):
            await self._send(self._dialect.subscribe, missing[start : start + _STREAMS_A_MESSAGE])
        for start in range(0, len(unwanted), _STREAMS_A_MESSAGE):
            await self._send(self._dialect.unsubscribe, unwanted[start : start + _STREAMS_A_MESSAGE])

    async def _send(self, message: Callable[[int, Collection[str]], str], streams: Collection[str]) -> None:
        self._request_id += 1
        self._unanswered.add(self._request_id)
        await self._reader.send(message(self._request_id, streams))
        # One message less than allowed: pongs count too.
        pause = 1 / (self._dialect.messages_a_second - 1)
        if self._dialect.probe:
            await self._reader.send(self._dialect.probe)
            pause *= 2
        await asyncio.sleep(pause)
