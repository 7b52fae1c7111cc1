"""What every venue's streams must bring to an engine, from the simulated exchange over real sockets to a real Redis."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from uuid import uuid4

import pytest
import redis.asyncio
from django.conf import settings

from accounts.tenancy import shard_of
from connections.events import (
    BalancesTold,
    BookState,
    CandleUpdate,
    FeedState,
    OrderTold,
    PublicTrade,
    Quote,
    StreamTold,
    UserEvent,
    user_stream,
)
from connections.exchanges import venue
from connections.exchanges.network import Network
from connections.gateways import Credentials, Side
from connections.prices import PriceCache
from connections.simulator.faults import SocketKind
from connections.simulator.server import Settings, SimulatorServer
from connections.streaming import user_socket
from connections.streaming.market import MarketStream
from connections.streaming.market_publisher import MarketPublisher
from connections.streaming.user import UserStream
from connections.streaming.user_accounts import AccountKey
from connections.streaming.user_publisher import UserPublisher
from connections.streaming.user_socket import UserSocket
from desproject.lib.clock import SYSTEM_CLOCK
from tests.conformance.exchange_cases import CASES, MORE_VENUES, Case
from tests.connections.conftest import BOB_KEY, KEY, deadline, strike
from tests.connections.streaming.conftest import QUICK, MarketReader, UserReader, until

ALICE = AccountKey(uuid4(), uuid4(), 1)
BOB = AccountKey(uuid4(), uuid4(), 1)
KEYS = {ALICE.connection_id: KEY, BOB.connection_id: BOB_KEY}


@pytest.fixture
async def simulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimulatorServer]:
    setup = Settings(
        symbols=("BTCUSDT",), perpetuals=("BTCUSDT",), won_markets=("KRW-BTC",), venues=MORE_VENUES
    )
    async with SimulatorServer(setup) as server:
        monkeypatch.setattr(settings.CONFIG, "simulator_url", server.rest_url)
        yield server


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    shared = Network()
    yield shared
    await shared.aclose()


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest, simulator: SimulatorServer, network: Network) -> Case:
    return CASES[request.param](simulator, network)


@pytest.fixture
def figures() -> Counter[str]:
    return Counter()


@pytest.fixture
async def bus_client(redis_server: str) -> AsyncIterator["redis.asyncio.Redis"]:
    client = redis.asyncio.Redis.from_url(redis_server)
    await client.flushdb()
    yield client
    await client.flushdb()
    await client.aclose()


class Market:
    """A running market stream and what it published."""

    def __init__(self, stream: MarketStream, reader: MarketReader) -> None:
        self.stream = stream
        self.reader = reader

    def ups(self) -> list[bool]:
        return [event.up for event in self.reader.of(FeedState)]

    def is_valid(self, symbol: str) -> bool:
        states = [event for event in self.reader.of(BookState) if event.symbol == symbol]
        return bool(states) and states[-1].valid


@pytest.fixture
async def market(
    case: Case, network: Network, bus_client: "redis.asyncio.Redis", figures: Counter[str]
) -> AsyncIterator[Market]:
    feed = f"{case.slug}:simulator"
    publisher = MarketPublisher(bus_client, feed, 1, figures)
    stream = MarketStream(
        feed, venue(case.slug), network, publisher, PriceCache(), timing=QUICK, figures=figures, clock=SYSTEM_CLOCK
    )
    found = Market(stream, MarketReader(bus_client, feed))
    running = asyncio.create_task(stream.run())
    yield found
    for task in (running, found.reader.task):
        task.cancel()
    await asyncio.gather(running, found.reader.task, return_exceptions=True)


async def test_quotes_trades_candles_and_a_valid_book_arrive_under_our_name(market: Market, case: Case) -> None:
    market.stream.want({case.symbol: {"1m"}})

    kinds = (Quote, PublicTrade, CandleUpdate) if case.streams_candles else (Quote, PublicTrade)
    for kind in kinds:
        await until(partial(market.reader.of, kind), kind.__name__)
        assert {event.symbol for event in market.reader.of(kind)} == {case.symbol}
    await until(lambda: market.is_valid(case.symbol), "a valid book")
    assert market.ups() == [True]


@pytest.mark.parametrize("case", ["binance_spot", "binance_usdm"], indirect=True)
async def test_the_book_follows_delta_by_delta_and_is_the_exchanges_own(
    market: Market, case: Case, simulator: SimulatorServer
) -> None:
    market.stream.want({case.symbol: set()})
    await until(lambda: market.is_valid(case.symbol), "a valid book")
    book, theirs = market.stream.books[case.symbol], case.exchange.markets[case.spelling].book
    began = book.last_id
    await until(lambda: book.last_id > began + 50, "fifty updates")
    assert (book.gaps, book.invalidations) == (0, 0)

    strike(simulator, "depth_gap", count=1)
    await until(lambda: book.gaps == 1, "the gap is seen")
    await until(lambda: book.valid, "valid again")
    bids, asks = book.top(1)
    assert bids[0][0] < asks[0][0]
    assert theirs.update_id > 0


async def test_a_cut_is_told_and_everything_comes_back(
    market: Market, case: Case, simulator: SimulatorServer
) -> None:
    market.stream.want({case.symbol: set()})
    await until(lambda: market.is_valid(case.symbol), "a valid book")
    strike(simulator, "ws_cut", socket=SocketKind.MARKET, abort=True)

    await until(lambda: market.ups()[-1:] == [True] and False in market.ups(), "down and up again")
    seen = len(market.reader.events)
    await until(lambda: any(isinstance(event, Quote) for event in market.reader.events[seen:]), "quotes again")
    await until(lambda: any(isinstance(event, PublicTrade) for event in market.reader.events[seen:]), "trades again")
    await until(lambda: market.is_valid(case.symbol), "a valid book again")


class Accounts:
    """A running user stream and what it published."""

    def __init__(self, stream: UserStream, reader: UserReader) -> None:
        self.stream = stream
        self.reader = reader

    def of(self, key: AccountKey, kind: type[UserEvent]) -> list[UserEvent]:
        return [event for event in self.reader.of(kind) if event.connection_id == key.connection_id]

    def is_up(self, key: AccountKey) -> bool:
        told = self.of(key, StreamTold)
        return bool(told) and isinstance(told[-1], StreamTold) and told[-1].up

    def orders(self, key: AccountKey) -> list[OrderTold]:
        return [event for event in self.of(key, OrderTold) if isinstance(event, OrderTold)]


@pytest.fixture
async def accounts(
    case: Case,
    network: Network,
    bus_client: "redis.asyncio.Redis",
    figures: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Accounts]:
    async def known_key(_: UserSocket, account: user_socket.Account) -> Credentials:
        return KEYS[account.key.connection_id]

    monkeypatch.setattr(UserSocket, "credentials", known_key)
    monkeypatch.setattr(user_socket, "BEAT_SECONDS", 0.1)
    publisher = UserPublisher(bus_client, figures, SYSTEM_CLOCK)
    stream = UserStream(
        f"{case.slug}:simulator", venue(case.slug), network, publisher, timing=QUICK, figures=figures,
        clock=SYSTEM_CLOCK,
    )  # fmt: skip
    shards = sorted({user_stream(shard_of(key.user_id)) for key in (ALICE, BOB)})
    found = Accounts(stream, UserReader(bus_client, shards))
    running = asyncio.create_task(stream.run())
    stream.want([ALICE, BOB])
    await until(lambda: found.is_up(ALICE) and found.is_up(BOB), "both accounts up")
    yield found
    for task in (running, found.reader.task):
        task.cancel()
    await asyncio.gather(running, found.reader.task, return_exceptions=True)


async def test_each_account_hears_its_own_fills_and_balances_only(accounts: Accounts, case: Case) -> None:
    for credentials, name in ((KEY, "alice-1"), (BOB_KEY, "bob-1")):
        await case.gateway(credentials).place_order(case.market_order(name), deadline())
    await until(lambda: accounts.of(ALICE, BalancesTold) and accounts.of(BOB, BalancesTold), "balances of both")

    for key, name in ((ALICE, "alice-1"), (BOB, "bob-1")):
        reports = accounts.orders(key)
        assert {(report.client_order_id, report.symbol) for report in reports} == {(name, case.symbol)}
        assert (reports[-1].status, reports[-1].filled_quantity) == ("filled", Decimal("0.01"))
        assert sum(report.fill.quantity for report in reports if report.fill) == Decimal("0.01")
        assert all(report.fill.fee > 0 for report in reports if report.fill)


async def test_a_cancel_is_told_by_the_orders_own_id(accounts: Accounts, case: Case) -> None:
    gateway = case.gateway(KEY)
    await gateway.place_order(case.resting_order(), deadline())
    await gateway.cancel_order(case.symbol, "order-1")

    await until(lambda: [report.status for report in accounts.orders(ALICE)] == ["working", "cancelled"], "both told")
    assert {report.client_order_id for report in accounts.orders(ALICE)} == {"order-1"}


async def test_the_balance_told_is_what_the_exchange_says_when_asked(accounts: Accounts, case: Case) -> None:
    gateway = case.gateway(KEY)
    await gateway.place_order(case.market_order(), deadline())
    await gateway.place_order(case.market_order("order-2", "0.005", Side.SELL), deadline())
    await until(lambda: accounts.orders(ALICE)[-1:] and accounts.orders(ALICE)[-1].client_order_id == "order-2", "both")
    snapshot = {row.asset: row.free + row.locked for row in (await gateway.account()).balances}

    def told() -> Decimal | None:
        found = [event for event in accounts.of(ALICE, BalancesTold) if isinstance(event, BalancesTold)]
        return next((free + locked for asset, free, locked in found[-1].balances if asset == case.quote), None)

    await until(lambda: told() == snapshot[case.quote], "the same balance")


async def test_after_a_cut_a_new_epoch_says_that_something_may_have_been_missed(
    accounts: Accounts, case: Case, simulator: SimulatorServer
) -> None:
    before = accounts.of(ALICE, StreamTold)[-1].epoch
    strike(simulator, "ws_cut", socket=SocketKind.USER, abort=True)

    await until(lambda: accounts.is_up(ALICE) and accounts.of(ALICE, StreamTold)[-1].epoch > before, "a new epoch")
    await case.gateway(KEY).place_order(case.market_order(), deadline())
    await until(lambda: accounts.orders(ALICE), "fills are heard again")
