"""Public data from the simulated exchange's socket to Redis, through cuts, gaps, silence and renewals."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest
import redis.asyncio

from connections.events import BookState, CandleUpdate, FeedState, MarketEvent, PublicTrade, Quote
from connections.exchanges import venue
from connections.exchanges.network import Network
from connections.prices import PriceCache
from connections.simulator.faults import SocketKind
from connections.simulator.server import SimulatorServer
from connections.streaming import market as market_module
from connections.streaming.kept_socket import Timing
from connections.streaming.market import MarketStream
from connections.streaming.market_publisher import MarketPublisher
from desproject.lib.clock import SYSTEM_CLOCK
from tests.connections.conftest import strike
from tests.connections.streaming.conftest import FEED, QUICK, MarketReader, until

WANTED = {"BTC/USDT": {"1s"}, "ETH/USDT": {"1m"}}


class Running:
    """A stream at work and what it published."""

    def __init__(self, stream: MarketStream, reader: MarketReader, prices: PriceCache) -> None:
        self.stream = stream
        self.reader = reader
        self.prices = prices
        self.task = asyncio.create_task(stream.run())

    def valid(self, symbol: str) -> bool:
        book = self.stream.books.get(symbol)
        return book is not None and book.valid

    def told(self, kind: type[MarketEvent], symbol: str, since: int = 0) -> Callable[[], bool]:
        """Whether something of the kind was published of the symbol after the first ``since`` events."""
        return lambda: any(isinstance(event, kind) and event.symbol == symbol for event in self.reader.events[since:])

    def ups(self) -> list[bool]:
        return [event.up for event in self.reader.events if isinstance(event, FeedState)]


@pytest.fixture
def timing() -> Timing:
    return QUICK


@pytest.fixture
async def running(
    simulator: SimulatorServer,
    network: Network,
    bus_client: "redis.asyncio.Redis",
    figures: Counter[str],
    timing: Timing,
) -> AsyncIterator[Running]:
    prices = PriceCache()
    publisher = MarketPublisher(bus_client, FEED, 7, figures)
    stream = MarketStream(
        FEED, venue("binance_spot"), network, publisher, prices, timing=timing, figures=figures, clock=SYSTEM_CLOCK
    )
    found = Running(stream, MarketReader(bus_client), prices)
    yield found
    tasks = [found.task, found.reader.task]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_quotes_trades_candles_and_books_of_all_wanted_symbols_arrive(running: Running) -> None:
    running.stream.want(WANTED)

    for symbol in WANTED:
        for kind in (Quote, PublicTrade, BookState, CandleUpdate):
            await until(running.told(kind, symbol), f"{kind.__name__} of {symbol}")
    assert running.ups() == [True]
    assert {event.timeframe for event in running.reader.of(CandleUpdate) if event.symbol == "BTC/USDT"} == {"1s"}


async def test_where_not_all_fit_what_is_wanted_first_is_streamed(running: Running) -> None:
    running.stream.max_streams = 4
    running.stream.want({"ETH/USDT": {"1m"}, "BTC/USDT": ()})

    await until(running.told(Quote, "ETH/USDT"), "quotes of the first symbol")
    running.stream.want({"BTC/USDT": (), "ETH/USDT": {"1m"}})
    await until(running.told(Quote, "BTC/USDT"), "quotes of what is first now")


async def test_entries_are_numbered_without_a_hole_under_the_leases_epoch(running: Running) -> None:
    running.stream.want(WANTED)
    await until(lambda: len(running.reader.batches) > 30, "thirty entries")

    assert {batch.epoch for batch in running.reader.batches} == {7}
    assert [batch.sequence for batch in running.reader.batches] == list(range(1, len(running.reader.batches) + 1))


async def test_books_become_valid_and_carry_their_top(running: Running) -> None:
    running.stream.want(WANTED)
    await until(lambda: any(event.valid for event in running.reader.of(BookState)), "a valid book")

    state = next(event for event in running.reader.of(BookState) if event.valid)
    assert len(state.bids) == len(state.asks) == market_module.TOP_LEVELS
    assert state.bids[0][0] < state.asks[0][0]


async def test_the_book_follows_the_exchanges_own(running: Running, simulator: SimulatorServer) -> None:
    running.stream.want(WANTED)
    await until(lambda: running.valid("BTC/USDT"), "a valid book")
    await asyncio.sleep(1.5)

    book = running.stream.books["BTC/USDT"]
    assert (book.gaps, running.stream.books["ETH/USDT"].gaps) == (0, 0)
    assert simulator.exchange.markets["BTCUSDT"].book.update_id - book.last_id < 500


async def test_symbols_come_and_go_on_the_same_socket(
    running: Running, simulator: SimulatorServer, figures: Counter[str]
) -> None:
    running.stream.want({"BTC/USDT": {"1s"}})
    await until(lambda: running.reader.of(Quote), "quotes")
    running.stream.want({"ETH/USDT": set()})
    await until(lambda: running.valid("ETH/USDT"), "the new symbol's book")
    running.reader.events.clear()
    await until(lambda: len(running.reader.of(Quote)) > 5, "more quotes")

    assert {event.symbol for event in running.reader.of(Quote)} == {"ETH/USDT"}
    assert figures["connects"] == 1
    assert simulator.sockets.count()[SocketKind.MARKET] == 1
    assert "BTC/USDT" not in running.stream.books
    assert running.prices.get(FEED, "BTC/USDT") is None


async def test_an_unknown_symbol_hurts_no_other(running: Running) -> None:
    running.stream.want({"BTC/USDT": set(), "NOPE/USDT": {"1m"}})

    await until(lambda: running.valid("BTC/USDT"), "the known symbol's book")


async def test_when_nothing_is_wanted_there_is_no_socket(running: Running, simulator: SimulatorServer) -> None:
    running.stream.want(WANTED)
    await until(lambda: running.reader.of(Quote), "quotes")
    running.stream.want({})

    await until(lambda: simulator.sockets.count()[SocketKind.MARKET] == 0, "the socket's end")
    await until(lambda: running.ups() == [True, False], "the news of it")


@pytest.mark.parametrize("abort", [False, True], ids=["closed", "aborted"])
async def test_after_a_cut_everything_is_subscribed_again_and_trades_go_on(
    running: Running, simulator: SimulatorServer, figures: Counter[str], abort: bool
) -> None:
    running.stream.want(WANTED)
    await until(lambda: all(running.valid(symbol) for symbol in WANTED), "valid books")
    strike(simulator, "ws_cut", abort=abort)
    await until(lambda: running.ups() == [True, False, True], "down and up again")
    seen = len(running.reader.events)

    await until(lambda: all(running.valid(symbol) for symbol in WANTED), "valid books again")
    for symbol in WANTED:
        await until(running.told(Quote, symbol, seen), f"quotes of {symbol} again")
    assert (figures["cuts"], figures["reconnects"]) == (1, 1)


async def test_books_are_distrusted_at_once_when_the_socket_is_cut(
    running: Running, simulator: SimulatorServer
) -> None:
    running.stream.want(WANTED)
    await until(lambda: all(running.valid(symbol) for symbol in WANTED), "valid books")
    await until(lambda: {event.symbol for event in running.reader.of(BookState) if event.valid} == set(WANTED), "news")
    strike(simulator, "ws_cut")
    await until(lambda: running.ups()[1:2] == [False], "the news of the cut")

    told = [event for event in running.reader.of(BookState) if not event.valid]
    assert {event.symbol for event in told} == set(WANTED)


async def test_a_swallowed_delta_is_noticed_told_and_repaired(
    running: Running, simulator: SimulatorServer, figures: Counter[str]
) -> None:
    running.stream.want({"BTC/USDT": set()})
    await until(lambda: running.valid("BTC/USDT"), "a valid book")
    strike(simulator, "depth_gap", symbol="BTCUSDT", count=1, after=2)

    await until(lambda: any("missing" in event.reason for event in running.reader.of(BookState)), "the news of the gap")
    await until(lambda: running.valid("BTC/USDT"), "a valid book again")
    assert running.stream.books["BTC/USDT"].gaps == 1
    assert figures["cuts"] == 0


async def test_a_book_in_doubt_is_given_up_at_once_and_read_anew(
    running: Running, simulator: SimulatorServer, figures: Counter[str]
) -> None:
    running.stream.want({"BTC/USDT": set()})
    await until(lambda: running.valid("BTC/USDT"), "a valid book")
    before = figures["book_snapshots"]
    running.stream.read_anew("BTC/USDT")
    assert not running.valid("BTC/USDT")
    await until(lambda: any("in doubt" in event.reason for event in running.reader.of(BookState)), "the news of it")
    await until(lambda: running.valid("BTC/USDT"), "a valid book again")
    assert figures["book_snapshots"] == before + 1


class TestSilence:
    @pytest.fixture
    def timing(self) -> Timing:
        return Timing(longest_pause=0.2, silence=1.0)

    async def test_a_silent_socket_is_replaced(
        self, running: Running, simulator: SimulatorServer, figures: Counter[str]
    ) -> None:
        running.stream.want(WANTED)
        await until(lambda: running.reader.of(Quote), "quotes")
        strike(simulator, "ws_freeze", seconds=30)

        await until(lambda: running.ups() == [True, False, True], "another socket")
        assert figures["cuts"] == 1


class TestRenewal:
    @pytest.fixture
    def timing(self) -> Timing:
        return Timing(longest_pause=0.2, silence=60, overlap=0.3, lifetime=1.0)

    async def test_sockets_are_renewed_without_a_gap(
        self, running: Running, simulator: SimulatorServer, figures: Counter[str]
    ) -> None:
        running.stream.want({"BTC/USDT": {"1s"}})
        await until(lambda: figures["renewals"] >= 3, "three renewals", seconds=20)

        ids = [event.trade_id for event in running.reader.of(PublicTrade)]
        assert len(ids) > 10
        assert all(after - before == 1 for before, after in pairwise(ids))
        assert running.stream.books["BTC/USDT"].gaps == 0
        assert running.ups() == [True]
        assert figures["cuts"] == 0
        assert simulator.sockets.count()[SocketKind.MARKET] <= 2


async def test_an_exchange_that_is_away_is_tried_for_ever(
    running: Running, simulator: SimulatorServer, figures: Counter[str]
) -> None:
    running.stream.want(WANTED)
    await until(lambda: running.reader.of(Quote), "quotes")
    await simulator.stop()
    await until(lambda: figures["connect_failures"] >= 12, "twelve tries")
    assert figures["reconnect_alerts"] == 1
    simulator.settings.port = simulator._port
    await simulator.start()

    await until(lambda: running.ups() == [True, False, True], "up again")
