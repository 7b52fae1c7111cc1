"""Strikes with every row of the fault matrix at every venue, over real sockets."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from uuid import uuid4

import pytest
import redis.asyncio
from _pytest.mark.structures import ParameterSet
from django.conf import settings

from accounts.tenancy import shard_of
from connections.books import MAX_SPREAD
from connections.events import BookState, PublicTrade, user_stream
from connections.exchanges import venue
from connections.exchanges.network import Network
from connections.gateways import Credentials
from connections.prices import PriceCache
from connections.simulator.server import Settings, SimulatorServer
from connections.streaming import kept_socket, user_socket
from connections.streaming.kept_socket import Timing
from connections.streaming.market import MarketStream
from connections.streaming.market_publisher import MarketPublisher
from connections.streaming.user import UserStream
from connections.streaming.user_accounts import AccountKey
from connections.streaming.user_publisher import UserPublisher
from connections.streaming.user_socket import UserSocket
from desproject.lib.clock import SYSTEM_CLOCK
from tests.conformance import fault_matrix
from tests.conformance.exchange_cases import CASES
from tests.conformance.fault_matrix import ACCOUNT, BINANCE, MARKET, PAGE, WON, Effect, Row, Seen
from tests.conformance.fault_strikes import HUGE_FRAME, AccountWorld, MarketWorld
from tests.connections.conftest import KEY
from tests.connections.streaming.conftest import MarketReader, UserReader, until
from tests.connections.streaming.meddler import Meddler

TIMING = Timing(longest_pause=0.2, silence=60, overlap=0.3, poll_after=0.2, poll_every=0.1)
ALICE = AccountKey(uuid4(), uuid4(), 1)


# The whole matrix takes minutes: else each row is struck at one of Binance's venues and one won exchange, by turns.
WHOLE = "FAULT_MATRIX" in os.environ
only_whole = pytest.mark.skipif(not WHOLE, reason="make fault-matrix strikes with every row at every venue")
same_everywhere = [] if WHOLE else [pytest.mark.database("embedded", reason="the same on any database")]


def cases(rows: tuple[Row, ...]) -> list[ParameterSet]:
    """Every row at every venue; all but some quick ones are for the slow tests."""
    found = []
    for number, row in enumerate(rows):
        by_turns = (BINANCE[number % 2], WON[number // 2 % 2])
        for slug in sorted(CASES):
            marks = [] if row.is_quick else [pytest.mark.system, *same_everywhere]
            if not row.is_quick and slug not in by_turns:
                marks.append(only_whole)
            found.append(pytest.param(row, slug, id=f"{row.name}-{slug}", marks=marks))
    return found


@pytest.fixture
async def simulator() -> AsyncIterator[SimulatorServer]:
    setup = Settings(symbols=("BTCUSDT",), perpetuals=("BTCUSDT",), won_markets=("KRW-BTC",), speed=4)
    async with SimulatorServer(setup) as server:
        yield server


@pytest.fixture(autouse=True)
async def clean_redis(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator["redis.asyncio.Redis"]:
    monkeypatch.setattr(kept_socket, "READY_SECONDS", 2.0)
    monkeypatch.setattr(kept_socket, "_MAX_FRAME", HUGE_FRAME)
    client = redis.asyncio.Redis.from_url(redis_server)
    await client.flushdb()
    yield client
    await client.aclose()


def silence_of(row: Row) -> Timing:
    """A frozen socket is found soon, others aren't taken for frozen on a busy machine."""
    return replace(TIMING, silence=1.5) if row.name == "frozen" else TIMING


@asynccontextmanager
async def market_world(
    slug: str, row: Row, simulator: SimulatorServer, client: "redis.asyncio.Redis", monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MarketWorld]:
    """One venue's stream at work, whole before anything is done to it."""
    network, figures, feed = Network(), Counter[str](), f"{slug}:simulator"
    async with Meddler(simulator.rest_url) as meddler:
        monkeypatch.setattr(settings.CONFIG, "simulator_url", meddler.url)
        stream = MarketStream(
            feed, venue(slug), network, MarketPublisher(client, feed, 1, figures), PriceCache(),
            timing=silence_of(row), figures=figures, clock=SYSTEM_CLOCK,
        )  # fmt: skip
        case = CASES[slug](simulator, network)
        world = MarketWorld(case, simulator, meddler, stream, MarketReader(client, feed), figures, monkeypatch)
        running = asyncio.create_task(stream.run())
        stream.want({case.symbol: set()})
        try:
            await until(lambda: world.is_whole(0), f"{slug} whole before")
            book = stream.books[case.symbol]
            began = book.last_id
            await until(lambda: book.last_id > began, f"{slug}: the stream has reached the snapshot")
            yield world
        finally:
            for task in (running, world.reader.task):
                task.cancel()
            await asyncio.gather(running, world.reader.task, return_exceptions=True)
            await network.aclose()


def assert_seen(world: MarketWorld, effect: Effect, since: int) -> None:
    """What was told since then is what the matrix says."""
    slug, states = world.case.slug, world.states(since)
    invalid = [event for event in world.reader.events[since:] if isinstance(event, BookState) and not event.valid]
    down = [state for state in states if not state.symbol and not state.up]
    polled = [state for state in states if state.polled and state.up]
    lost = [state for state in states if state.symbol]
    told = {"invalid": bool(invalid), "down": bool(down), "polled": bool(polled), "lost": bool(lost)}
    expected = {
        Seen.NOTHING: dict.fromkeys(told, False),
        Seen.BOOK: {"invalid": True, "down": False, "polled": False, "lost": False},
        Seen.LOST: {"invalid": True, "down": False, "polled": False, "lost": True},
        Seen.DOWN: {"invalid": True, "down": True, "lost": False},
        Seen.POLLED: {"invalid": True, "down": True, "polled": True, "lost": False},
    }[effect.seen]
    assert {name: told[name] for name in expected} == expected, slug


def assert_never_a_lie(world: MarketWorld) -> None:
    """No book that can't be was ever told, and no trade twice."""
    for event in world.reader.of(BookState):
        if event.valid:
            (bid, _), (ask, _) = event.bids[0], event.asks[0]
            assert bid < ask <= bid * (1 + MAX_SPREAD), world.case.slug
    ids = [trade.trade_id for trade in world.reader.of(PublicTrade)]
    assert all(before < after for before, after in pairwise(ids)), world.case.slug


async def strike_market(
    slug: str, row: Row, simulator: SimulatorServer, client: "redis.asyncio.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    async with market_world(slug, row, simulator, client, monkeypatch) as world:
        effect = row.effect(slug)
        await until(lambda: not world.stream._moved_books, "nothing on its way")
        since, before = len(world.reader.events), {name: world.count(name) for name in effect.counted}
        await row.strike(world)
        for name in effect.counted:
            await until(partial(world.has_counted, name, before[name]), f"{slug}: {name} counted")
        after = len(world.reader.events)
        await until(lambda: world.is_whole(after), f"{slug} whole again")
        assert_seen(world, effect, since)
        assert_never_a_lie(world)


@pytest.mark.parametrize(("row", "slug"), cases(MARKET))
async def test_public_data(
    row: Row,
    slug: str,
    simulator: SimulatorServer,
    clean_redis: "redis.asyncio.Redis",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await strike_market(slug, row, simulator, clean_redis, monkeypatch)


# User data.


@asynccontextmanager
async def account_world(
    slug: str, row: Row, simulator: SimulatorServer, client: "redis.asyncio.Redis", monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AccountWorld]:
    """One account's stream at work, heard before anything is done to it."""

    async def known_key(_: UserSocket, __: user_socket.Account) -> Credentials:
        return KEY

    monkeypatch.setattr(UserSocket, "credentials", known_key)
    monkeypatch.setattr(user_socket, "BEAT_SECONDS", 0.1)
    network, figures = Network(), Counter[str]()
    async with Meddler(simulator.rest_url) as meddler:
        monkeypatch.setattr(settings.CONFIG, "simulator_url", meddler.url)
        stream = UserStream(
            f"{slug}:simulator", venue(slug), network, UserPublisher(client, figures, SYSTEM_CLOCK),
            timing=silence_of(row), figures=figures, clock=SYSTEM_CLOCK,
        )  # fmt: skip
        reader = UserReader(client, [user_stream(shard_of(ALICE.user_id))])
        world = AccountWorld(CASES[slug](simulator, network), simulator, meddler, reader, figures)
        running = asyncio.create_task(stream.run())
        stream.want([ALICE])
        try:
            await until(world.epochs, f"{slug}: the account is heard")
            yield world
        finally:
            for task in (running, reader.task):
                task.cancel()
            await asyncio.gather(running, reader.task, return_exceptions=True)
            await network.aclose()


@pytest.mark.parametrize(("row", "slug"), cases(ACCOUNT))
async def test_user_data(
    row: Row,
    slug: str,
    simulator: SimulatorServer,
    clean_redis: "redis.asyncio.Redis",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with account_world(slug, row, simulator, clean_redis, monkeypatch) as world:
        effect, before = row.effect(slug), Counter({name: world.count(name) for name in row.effect(slug).counted})
        epoch = max(world.epochs())
        await row.strike(world)
        for name in effect.counted:
            await until(partial(world.has_counted, name, before[name]), f"{slug}: {name} counted")
        if effect.seen is Seen.EPOCH:
            await until(lambda: max(world.epochs()) > epoch, f"{slug}: a new epoch")
        await world.trade()
        await until(lambda: world.hears_fills_of(world.orders[-1]), f"{slug}: fills are heard")
        if effect.seen is Seen.NOTHING:
            assert max(world.epochs()) == epoch
            assert all(world.hears_fills_of(name) for name in world.orders)


def test_the_page_says_what_the_rows_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == fault_matrix.page() + "\n", "python -m tests.conformance.fault_matrix"
