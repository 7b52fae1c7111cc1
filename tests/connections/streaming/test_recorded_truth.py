"""Books and trades against recordings of the real exchanges: true where the recording is whole, and every message that
is taken out, doubled or moved in it is found before a strategy sees a book that isn't so."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import pairwise
from typing import NoReturn, cast

import pytest
import redis.asyncio
import structlog

from connections.books import OrderBook
from connections.events import FeedState, PublicTrade, Quote
from connections.exchanges import venue
from connections.exchanges.binance_spot import VENUE as SPOT
from connections.exchanges.binance_spot.codec import SpotCodec
from connections.exchanges.binance_spot.venue import spot_market_dialect
from connections.exchanges.contract import DepthDelta, DepthSnapshot, MarketFrame, WholeDepth
from connections.exchanges.krw.market_stream import KrwMarketDialect
from connections.exchanges.network import Network
from connections.exchanges.upbit import VENUE as UPBIT
from connections.exchanges.wire import Symbols
from connections.gateways import SymbolRules
from connections.prices import PriceCache
from connections.streaming import market
from connections.streaming.kept_socket import Timing
from connections.streaming.market import MarketStream
from connections.streaming.market_publisher import MarketPublisher
from connections.whole_books import BEHIND_MS, WholeBook
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.money import ZERO
from tests.connections.streaming.recording import binance_lines, needs_binance, needs_upbit, upbit_frames

SYMBOL, FEED = "BTC/USDT", "binance_spot:live"
RULES = SymbolRules(SYMBOL, "BTC", "USDT", ZERO, ZERO, ZERO, ZERO, ZERO)
DIALECT = spot_market_dialect(SPOT.versions.shipped, "", Symbols([("BTCUSDT", RULES)]))
DELTAS_AFTER_THE_SNAPSHOT = 3449

Steps = Iterator[tuple[OrderBook, DepthDelta]]


def recorded(kind: bytes) -> list[MarketFrame]:
    frames = [DIALECT.read(line, 0) for line in binance_lines() if kind in line[:60]]
    return [frame for frame in frames if frame is not None]


def snapshot() -> DepthSnapshot:
    return SpotCodec(SPOT.versions.shipped).depth(binance_lines()[7])


def deltas() -> list[DepthDelta]:
    return [frame for frame in recorded(b"@depth") if isinstance(frame, DepthDelta)]


def steps() -> Steps:
    """The book before each of the recording's deltas that follow the snapshot, and that delta; then it is applied."""
    book = OrderBook(SYMBOL)
    book.on_snapshot(snapshot())
    for delta in deltas():
        if delta.last_id > book.last_id:
            yield book, delta
            book.on_delta(delta)


def twin(book: OrderBook) -> OrderBook:
    """The same book for a plant. It shares the levels: what isn't to be believed is found before any is changed."""
    made = copy(book)
    made._buffer = deque()
    return made


@needs_binance
def test_after_every_delta_the_top_is_the_last_best_price_that_was_told() -> None:
    book, best, checked = OrderBook(SYMBOL), deque[tuple[int, bytes]](), 0
    for number, line in enumerate(binance_lines(), 1):
        frame = SpotCodec(SPOT.versions.shipped).depth(line) if number == 8 else DIALECT.read(line, 0)
        if isinstance(frame, Quote):
            best.append((int(line.partition(b'"u":')[2].partition(b",")[0]), line))
        elif isinstance(frame, DepthSnapshot):
            book.on_snapshot(frame)  # and the one delta before it that reaches beyond it
            assert book.last_id > frame.last_id
        elif isinstance(frame, DepthDelta):
            book.on_delta(frame)
        if book.valid and isinstance(frame, DepthDelta | DepthSnapshot):
            while len(best) > 1 and best[1][0] <= book.last_id:
                best.popleft()
            told = DIALECT.read(best[0][1], 0)
            assert best[0][0] <= book.last_id
            assert isinstance(told, Quote)
            assert book.top(1) == (((told.bid, told.bid_size),), ((told.ask, told.ask_size),))
            checked += 1

    assert checked == DELTAS_AFTER_THE_SNAPSHOT
    assert (book.valid, book.gaps, book.repeats, book.invalidations) == (True, 0, 0, 0)


@needs_binance
def test_each_removed_delta_is_found_by_the_next_one() -> None:
    story = [(twin(book), delta) for book, delta in steps()]
    found = 0
    for (book, _), (_, following) in pairwise(story):
        book.on_delta(following)
        assert (book.valid, book.gaps, book.top(1)) == (False, 1, ((), ()))
        found += 1

    assert found == DELTAS_AFTER_THE_SNAPSHOT - 1


@needs_binance
def test_each_delta_that_comes_before_its_predecessor_is_found_and_nothing_is_believed_until_a_snapshot() -> None:
    story = [(twin(book), delta) for book, delta in steps()]
    for (book, delta), (_, following) in pairwise(story):
        book.on_delta(following)
        assert not book.valid
        book.on_delta(delta)
        assert (book.valid, book.needs_snapshot) == (False, True)


@needs_binance
def test_each_doubled_delta_is_counted_and_changes_nothing() -> None:
    book, before = OrderBook(SYMBOL), 0
    book.on_snapshot(snapshot())
    for delta in [delta for delta in deltas() if delta.last_id > book.last_id]:
        book.on_delta(delta)
        before, top = book.repeats, book.top(3)
        book.on_delta(delta)
        assert (book.valid, book.repeats, book.top(3)) == (True, before + 1, top)

    assert before + 1 == DELTAS_AFTER_THE_SNAPSHOT


# Trades.


class Heard:
    """A market stream that is told frames, with a valid book, and what it would publish."""

    def __init__(self) -> None:
        self.figures = Counter[str]()
        publisher = MarketPublisher(cast(redis.asyncio.Redis, None), FEED, 1, self.figures)
        self.lost = self._collect(publisher)
        self.stream = MarketStream(
            FEED, venue("binance_spot"), Network(), publisher, PriceCache(), timing=Timing(1, 1), figures=self.figures,
            clock=SYSTEM_CLOCK,
        )  # fmt: skip
        self.stream.want({SYMBOL: ()})
        self.stream._book(SYMBOL, whole=False)
        self.book = self.stream.books[SYMBOL]
        self.book.on_snapshot(snapshot())

    @staticmethod
    def _collect(publisher: MarketPublisher) -> list[FeedState]:
        found: list[FeedState] = []
        publisher.put = lambda event: found.append(event) if isinstance(event, FeedState) else None  # type: ignore
        return found


def trades() -> list[PublicTrade]:
    return [frame for frame in recorded(b"@trade") if isinstance(frame, PublicTrade)]


def _no_line(*_: object) -> NoReturn:
    raise structlog.DropEvent


def removed(told: Sequence[PublicTrade]) -> list[PublicTrade]:
    return [told[0], *told[2:]]


def swapped(told: Sequence[PublicTrade]) -> list[PublicTrade]:
    return [told[0], told[2], told[1], *told[3:]]


def doubled(told: Sequence[PublicTrade]) -> list[PublicTrade]:
    return [told[0], told[1], told[1], *told[2:]]


@needs_binance
async def test_no_trade_of_the_recording_is_missed_or_told_twice() -> None:
    heard = Heard()
    for trade in trades():
        heard.stream.take(trade)

    assert (heard.figures["trade_gaps"], heard.figures["trades_repeated"], heard.lost) == (0, 0, [])
    assert heard.book.valid


@needs_binance
@pytest.mark.parametrize(
    ("plant", "figure", "others"),
    [
        (removed, "trade_gaps", {"trades_repeated": 0}),
        (swapped, "trade_gaps", {"trades_repeated": 1}),
        (doubled, "trades_repeated", {"trade_gaps": 0}),
    ],
)
async def test_each_trade_that_is_removed_swapped_or_doubled_is_found(
    plant: Callable[[Sequence[PublicTrade]], list[PublicTrade]],
    figure: str,
    others: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(market, "log", structlog.get_logger(processors=[_no_line]))
    told, heard = trades(), Heard()
    for at in range(len(told) - 3):
        heard.stream._forget_trades(SYMBOL)
        before = heard.figures.copy()
        heard.book.valid = True
        for trade in plant(told[at : at + 4]):
            heard.stream.take(trade)
        changed = heard.figures - before
        assert changed[figure] == 1, at
        assert {name: changed[name] for name in others} == others
        assert heard.book.valid == (plant is doubled)

    assert len(heard.lost) == heard.figures["trade_gaps"]
    assert all(state.symbol == SYMBOL and state.up and "missing" in state.reason for state in heard.lost)


# Upbit: books come whole, without a number.


def upbit_books() -> list[WholeDepth]:
    markets = ("LAMB", "WAVES")
    rules = [(f"KRW-{base}", SymbolRules(f"{base}/KRW", base, "KRW", ZERO, ZERO, ZERO, ZERO, ZERO)) for base in markets]
    dialect = KrwMarketDialect(UPBIT.versions.shipped, "", Symbols(rules))
    frames = [dialect.read(frame, time.time_ns()) for frame in upbit_frames()]
    return [frame for frame in frames if isinstance(frame, WholeDepth) and frame.symbol == "LAMB/KRW"]


@needs_upbit
def test_each_book_of_upbit_that_comes_before_an_older_one_is_found() -> None:
    told = upbit_books()
    found = 0
    for earlier, later in pairwise(told):
        if earlier.as_of_ms == later.as_of_ms:
            continue
        book = WholeBook(earlier.symbol)
        book.on_whole(later)
        book.on_whole(earlier)
        assert (book.valid, book.gaps) == (False, 1)
        assert "back in time" in book.reason
        found += 1

    assert found > 10


@needs_upbit
def test_each_book_of_upbit_that_the_stream_leaves_standing_is_found_stale_by_the_exchanges_answer() -> None:
    told = upbit_books()
    found = 0
    for at, stale in enumerate(told):
        now = next((book for book in told[at:] if book.as_of_ms > stale.as_of_ms + BEHIND_MS), None)
        if now is None or (now.bids[:1], now.asks[:1]) == (stale.bids[:1], stale.asks[:1]):
            continue
        book = WholeBook(stale.symbol)
        book.on_whole(stale)
        book.begin_refresh()
        book.on_snapshot(DepthSnapshot(now.as_of_ms, now.bids, now.asks))
        assert not book.valid
        assert "behind" in book.reason
        book.on_whole(now)
        assert book.valid
        found += 1

    assert found > 10
