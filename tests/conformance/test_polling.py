"""Every venue while its sockets can't be had: polled by REST, said so, never mixed with what is live (STR-4)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import redis.asyncio
from django.conf import settings

from connections.events import BookState, FeedState, PublicTrade, Quote
from connections.exchanges import venue
from connections.exchanges.network import Network
from connections.prices import PriceCache
from connections.simulator.server import Settings, SimulatorServer
from connections.streaming.kept_socket import Timing
from connections.streaming.market import MarketStream
from connections.streaming.market_publisher import MarketPublisher
from desproject.lib.clock import SYSTEM_CLOCK
from tests.conformance.exchange_cases import CASES, Case
from tests.connections.streaming.conftest import MarketReader, until
from tests.connections.streaming.meddler import Meddler

TIMING = Timing(longest_pause=0.2, silence=60, overlap=0.3, poll_after=0.2, poll_every=0.1)


@pytest.fixture
async def simulator() -> AsyncIterator[SimulatorServer]:
    setup = Settings(symbols=("BTCUSDT",), perpetuals=("BTCUSDT",), won_markets=("KRW-BTC",), speed=4)
    async with SimulatorServer(setup) as server:
        yield server


@pytest.fixture
async def meddler(simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Meddler]:
    async with Meddler(simulator.rest_url) as between:
        monkeypatch.setattr(settings.CONFIG, "simulator_url", between.url)
        yield between


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    shared = Network()
    yield shared
    await shared.aclose()


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest, simulator: SimulatorServer, meddler: Meddler, network: Network) -> Case:
    return CASES[request.param](simulator, network)


class Polled:
    """A market stream whose sockets are turned away at first, and what it published."""

    def __init__(self, stream: MarketStream, reader: MarketReader, symbol: str, figures: Counter[str]) -> None:
        self.stream = stream
        self.reader = reader
        self.symbol = symbol
        self.figures = figures

    def states(self) -> list[tuple[bool, bool]]:
        """How the feed came and went: (up, polled)."""
        return [(event.up, event.polled) for event in self.reader.of(FeedState) if not event.symbol]

    def has_since(self, kind: type[Quote | PublicTrade], since: int) -> bool:
        return any(isinstance(event, kind) for event in self.reader.events[since:])


@pytest.fixture
async def polled(
    case: Case, meddler: Meddler, network: Network, redis_server: str
) -> AsyncIterator[Polled]:
    meddler.refuses_sockets = True
    client, figures, feed = redis.asyncio.Redis.from_url(redis_server), Counter[str](), f"{case.slug}:simulator"
    await client.flushdb()
    stream = MarketStream(
        feed, venue(case.slug), network, MarketPublisher(client, feed, 1, figures), PriceCache(), timing=TIMING,
        figures=figures, clock=SYSTEM_CLOCK,
    )  # fmt: skip
    found = Polled(stream, MarketReader(client, feed), case.symbol, figures)
    running = asyncio.create_task(stream.run())
    stream.want({case.symbol: set()})
    yield found
    for task in (running, found.reader.task):
        task.cancel()
    await asyncio.gather(running, found.reader.task, return_exceptions=True)
    await client.aclose()


async def test_prices_and_trades_are_polled_until_the_stream_is_back_and_never_mixed(
    polled: Polled, meddler: Meddler
) -> None:
    await until(lambda: polled.has_since(Quote, 0) and len(polled.reader.of(PublicTrade)) > 1, "polled data")
    assert polled.states() == [(True, True)]
    assert polled.stream.is_polled
    assert not any(state.valid for state in polled.reader.of(BookState))
    assert meddler.struck["socket_refused"] > 0

    meddler.refuses_sockets = False
    await until(lambda: polled.states()[1:] == [(True, False)], "the stream is back")
    rounds, since = polled.figures["poll_rounds"], len(polled.reader.events)
    await until(lambda: polled.has_since(Quote, since) and polled.has_since(PublicTrade, since), "live data")
    await until(lambda: any(state.valid for state in polled.reader.of(BookState)), "a valid book")
    assert (polled.stream.is_polled, polled.figures["poll_rounds"]) == (False, rounds)
    first, *_ = trades = polled.reader.of(PublicTrade)
    assert first.trade_id > min(trade.trade_id for trade in await polled.stream._public().trades(polled.symbol))
    ids = [trade.trade_id for trade in trades]
    assert all(before < after for before, after in pairwise(ids))


@pytest.mark.parametrize("case", ["binance_usdm", "upbit"], indirect=True)
async def test_where_rest_is_away_too_the_feed_is_down_and_comes_back_by_itself(
    polled: Polled, meddler: Meddler
) -> None:
    await until(lambda: polled.states() == [(True, True)], "polled")
    meddler.refuses_requests = True
    await until(lambda: polled.states()[1:] == [(False, False)], "nothing can be had", seconds=20)
    meddler.refuses_requests = False
    await until(lambda: polled.states()[2:] == [(True, True)], "polled again")
    assert polled.figures["poll_failures"] >= 3


@pytest.mark.parametrize("case", ["binance_spot"], indirect=True)
async def test_symbols_beyond_the_budget_are_said_to_have_best_prices_only(
    polled: Polled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polled.stream._polling, "_most", 0)
    await until(lambda: [event for event in polled.reader.of(FeedState) if event.symbol], "the symbol left out")
    await until(lambda: polled.has_since(Quote, 0), "its best prices")

    (left_out,) = [event for event in polled.reader.of(FeedState) if event.symbol]
    assert (left_out.symbol, left_out.up, left_out.polled) == (polled.symbol, False, True)
    assert not polled.reader.of(PublicTrade)


@pytest.mark.parametrize("case", ["binance_usdm"], indirect=True)
async def test_while_one_of_two_sockets_is_missing_what_the_other_says_isnt_mixed_in(
    polled: Polled, meddler: Meddler
) -> None:
    meddler.refused_path = "/market"
    await until(lambda: polled.stream.is_polled, "polled")
    heard, rounds, quotes = (
        polled.figures["market_frames"], polled.figures["poll_rounds"], len(polled.reader.of(Quote)),
    )  # fmt: skip
    await until(lambda: polled.figures["market_frames"] > heard + 100, "a hundred frames of the other socket")

    assert polled.stream.is_polled
    assert len(polled.reader.of(Quote)) - quotes <= polled.figures["poll_rounds"] - rounds + 1
    assert not any(state.valid for state in polled.reader.of(BookState))
