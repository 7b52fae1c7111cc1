"""Streams of the won exchanges: whole books, candles that never close, a private socket for each account."""

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
    MarketEvent,
    OrderTold,
    PublicTrade,
    Quote,
    StreamTold,
    user_stream,
)
from connections.exchanges import venue
from connections.exchanges.network import Network
from connections.gateways import Credentials, ReportStatus
from connections.prices import PriceCache
from connections.simulator.control import AccountSpec, KeySpec
from connections.simulator.faults import SocketKind
from connections.simulator.matching import Side
from connections.simulator.server import Settings, SimulatorServer
from connections.streaming import market as market_module
from connections.streaming import user_socket as user_module
from connections.streaming.market import MarketStream
from connections.streaming.market_publisher import MarketPublisher
from connections.streaming.user import UserStream
from connections.streaming.user_accounts import AccountKey
from connections.streaming.user_publisher import UserPublisher
from desproject.lib.clock import SYSTEM_CLOCK
from tests.connections.conftest import deadline, strike
from tests.connections.exchanges.krw.conftest import WON_VENUES, limit_order, market_order
from tests.connections.streaming.conftest import QUICK, MarketReader, UserReader, until

ALICE = AccountKey(uuid4(), uuid4(), 1)
BOB = AccountKey(uuid4(), uuid4(), 1)
MONEY = {"KRW": "100000000", "BTC": "2"}


@pytest.fixture(params=WON_VENUES)
def name(request: pytest.FixtureRequest) -> str:
    """The venue's slug."""
    found: str = request.param
    return found


@pytest.fixture
def keys(name: str) -> dict[object, Credentials]:
    return {
        account.connection_id: Credentials(f"{who}-{name}-key-0123456789", f"{who}-{name}-secret-0123456789")
        for account, who in ((ALICE, "alice"), (BOB, "bob"))
    }


@pytest.fixture
async def won(
    monkeypatch: pytest.MonkeyPatch, keys: dict[object, Credentials], name: str
) -> AsyncIterator[SimulatorServer]:
    accounts = tuple(
        AccountSpec(key.api_key, key.api_secret, balances=dict(MONEY), exchange=name) for key in keys.values()
    )
    async with SimulatorServer(Settings(symbols=(), won_markets=("KRW-BTC", "KRW-ETH"), accounts=accounts)) as server:
        monkeypatch.setattr(settings.CONFIG, "simulator_url", server.rest_url)
        yield server


class Market:
    """A market stream at work and what it published."""

    def __init__(self, stream: MarketStream, reader: MarketReader) -> None:
        self.stream = stream
        self.reader = reader
        self.task = asyncio.create_task(stream.run())

    def heard(self, kind: type[MarketEvent], symbol: str) -> bool:
        return any(isinstance(event, kind) and event.symbol == symbol for event in self.reader.events)

    def valid(self, symbol: str = "BTC/KRW") -> bool:
        book = self.stream.books.get(symbol)
        return book is not None and book.valid


class Users:
    """A user stream at work and what it published."""

    def __init__(self, stream: UserStream, reader: UserReader) -> None:
        self.stream = stream
        self.reader = reader
        self.task = asyncio.create_task(stream.run())

    def of(self, key: AccountKey, kind: type) -> list:  # type: ignore[type-arg]
        events = [event for event in self.reader.events if isinstance(event, kind)]
        return [event for event in events if event.connection_id == key.connection_id]

    def ups(self, key: AccountKey) -> list[bool]:
        """How the account came and went, heart beats left out."""
        told = [event.up for event in self.of(key, StreamTold)]
        return [up for index, up in enumerate(told) if index == 0 or up != told[index - 1]]


@pytest.fixture
async def market(
    won: SimulatorServer, network: Network, bus_client: "redis.asyncio.Redis", figures: Counter[str], name: str
) -> AsyncIterator[Market]:
    feed = f"{name}:simulator"
    publisher = MarketPublisher(bus_client, feed, 7, figures)
    stream = MarketStream(
        feed, venue(name), network, publisher, PriceCache(), timing=QUICK, figures=figures, clock=SYSTEM_CLOCK
    )
    found = Market(stream, MarketReader(bus_client, feed))
    yield found
    tasks = [found.task, found.reader.task]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def users(
    won: SimulatorServer,
    network: Network,
    bus_client: "redis.asyncio.Redis",
    figures: Counter[str],
    name: str,
    keys: dict[object, Credentials],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Users]:
    async def known_key(_: user_module.UserSocket, account: user_module.Account) -> Credentials:
        return keys[account.key.connection_id]

    monkeypatch.setattr(user_module.UserSocket, "credentials", known_key)
    monkeypatch.setattr(user_module, "BEAT_SECONDS", 0.1)
    publisher = UserPublisher(bus_client, figures, SYSTEM_CLOCK)
    stream = UserStream(
        f"{name}:simulator", venue(name), network, publisher, timing=QUICK, figures=figures, clock=SYSTEM_CLOCK
    )
    streams = sorted({user_stream(shard_of(key.user_id)) for key in (ALICE, BOB)})
    found = Users(stream, UserReader(bus_client, streams))
    yield found
    tasks = [found.task, found.reader.task]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# Public.


async def test_books_quotes_and_trades_of_all_wanted_symbols_arrive(market: Market) -> None:
    market.stream.want({"BTC/KRW": {"1m"}, "ETH/KRW": set()})

    for symbol in ("BTC/KRW", "ETH/KRW"):
        for kind in (Quote, PublicTrade, BookState):
            await until(partial(market.heard, kind, symbol), f"{kind.__name__} of {symbol}")
    state = next(event for event in market.reader.of(BookState) if event.valid)
    assert state.bids[0][0] < state.asks[0][0]


async def test_candles_are_told_as_they_grow_where_the_exchange_has_them(market: Market, name: str) -> None:
    if name == "bithumb":
        pytest.skip("this exchange streams no candles: bars are made of trades")
    market.stream.want({"BTC/KRW": {"1m"}})

    await until(lambda: market.reader.of(CandleUpdate), "a candle")
    assert not any(candle.closed for candle in market.reader.of(CandleUpdate))


async def test_the_book_is_the_exchanges_own(market: Market, won: SimulatorServer, name: str) -> None:
    market.stream.want({"BTC/KRW": set()})
    await until(market.valid, "a valid book")
    own = won.won[name].exchange.markets["KRW-BTC"].book

    def agrees() -> bool:
        (bids, asks), book = market.stream.books["BTC/KRW"].top(5), own
        return list(bids) == book.depth(Side.BUY, 5) and list(asks) == book.depth(Side.SELL, 5)

    await until(agrees, "the same top as the exchange's")
    assert market.stream.books["BTC/KRW"].gaps == 0


async def test_symbols_come_and_go_on_the_same_socket(
    market: Market, won: SimulatorServer, figures: Counter[str]
) -> None:
    market.stream.want({"BTC/KRW": set()})
    await until(market.valid, "the first book")
    market.stream.want({"ETH/KRW": set()})
    await until(lambda: market.valid("ETH/KRW"), "the new symbol's book")

    def hears_only_the_new() -> bool:
        newest = market.reader.of(Quote)[-20:]
        return len(newest) == 20 and {event.symbol for event in newest} == {"ETH/KRW"}

    await until(hears_only_the_new, "quotes of the new symbol only")
    assert figures["connects"] == 1


async def test_a_stream_that_stops_telling_of_a_symbol_makes_its_book_invalid(
    market: Market, won: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exchange's book by REST goes on; the stream's stays where it was."""
    monkeypatch.setattr(market_module, "CHECK_QUIET_SECONDS", 0.2)
    market.stream.want({"BTC/KRW": set()})
    await until(market.valid, "a valid book")
    strike(won, "depth_gap", symbol="KRW-BTC")

    def found() -> bool:
        told = [event for event in market.reader.of(BookState) if not event.valid]
        return any("behind" in event.reason for event in told)

    await until(found, "the stale book", seconds=20)
    won.control.clear_faults()
    await until(market.valid, "the book valid by the stream's own news")


async def test_a_cut_stream_comes_back_with_its_books(market: Market, won: SimulatorServer) -> None:
    market.stream.want({"BTC/KRW": set()})
    await until(market.valid, "a valid book")
    strike(won, "ws_cut", socket=SocketKind.MARKET, abort=True)
    await until(lambda: not market.valid(), "the book invalid")

    await until(market.valid, "the book valid again")


# Private.


async def test_each_account_has_a_socket_of_its_own_and_hears_only_its_own(
    users: Users, won: SimulatorServer, network: Network, name: str, keys: dict[object, Credentials]
) -> None:
    users.stream.want([ALICE, BOB])
    await until(lambda: users.ups(ALICE) == users.ups(BOB) == [True], "both accounts up")
    gateway = venue(name).gateway(keys[ALICE.connection_id], "simulator", network)
    await gateway.place_order(market_order(), deadline())

    await until(lambda: any(event.status == ReportStatus.FILLED for event in users.of(ALICE, OrderTold)), "the fill")
    await until(lambda: users.of(ALICE, BalancesTold), "the balances")
    assert won.sockets.count()[SocketKind.USER] == 2
    assert not users.of(BOB, OrderTold)


async def test_what_the_socket_tells_of_an_order_is_what_the_gateway_tells(
    users: Users, network: Network, name: str, keys: dict[object, Credentials]
) -> None:
    users.stream.want([ALICE])
    await until(lambda: users.ups(ALICE) == [True], "the account up")
    gateway = venue(name).gateway(keys[ALICE.connection_id], "simulator", network)
    report = await gateway.place_order(market_order(quantity="1.0"), deadline())
    await until(lambda: any(event.status == ReportStatus.FILLED for event in users.of(ALICE, OrderTold)), "the fill")

    heard = {event.fill.exchange_trade_id: event.fill for event in users.of(ALICE, OrderTold) if event.fill}
    assert set(heard) == {fill.exchange_trade_id for fill in report.fills}
    for fill in report.fills:
        told = heard[fill.exchange_trade_id]
        assert (told.quantity, told.price, told.fee_asset) == (fill.quantity, fill.price, "KRW")
        assert abs(told.fee - fill.fee) <= Decimal("1e-8")


async def test_a_cancelled_order_is_heard(
    users: Users, network: Network, name: str, keys: dict[object, Credentials]
) -> None:
    users.stream.want([ALICE])
    await until(lambda: users.ups(ALICE) == [True], "the account up")
    gateway = venue(name).gateway(keys[ALICE.connection_id], "simulator", network)
    await gateway.place_order(limit_order(), deadline())
    await gateway.cancel_order("BTC/KRW", "order-1")

    def statuses() -> list[str]:
        return [event.status for event in users.of(ALICE, OrderTold)]

    await until(lambda: ReportStatus.CANCELLED in statuses(), "the cancellation")
    assert statuses()[0] == ReportStatus.WORKING
    assert {event.client_order_id for event in users.of(ALICE, OrderTold)} == {"order-1"}


async def test_one_accounts_refused_key_leaves_the_others_alone(
    users: Users, won: SimulatorServer, keys: dict[object, Credentials]
) -> None:
    won.control.change_key(KeySpec(keys[BOB.connection_id].api_key, enabled=False))
    users.stream.want([ALICE, BOB])
    await until(lambda: users.ups(ALICE) == [True], "alice up")
    assert True not in users.ups(BOB)
    won.control.change_key(KeySpec(keys[BOB.connection_id].api_key, enabled=True))

    await until(lambda: users.ups(BOB)[-1:] == [True], "bob up once his key works")
    assert users.ups(ALICE) == [True]


async def test_a_changed_key_opens_a_socket_anew_and_an_account_that_goes_closes_its_own(
    users: Users, won: SimulatorServer, keys: dict[object, Credentials]
) -> None:
    users.stream.want([ALICE])
    await until(lambda: users.ups(ALICE) == [True], "alice up")
    keys[ALICE.connection_id] = keys[BOB.connection_id]
    users.stream.want([AccountKey(ALICE.connection_id, ALICE.user_id, 2)])
    await until(lambda: users.ups(ALICE) == [True, False, True], "alice up by her new key")
    users.stream.want([])

    await until(lambda: won.sockets.count()[SocketKind.USER] == 0, "no socket left")
    assert users.ups(ALICE)[-1] is False


async def test_after_a_cut_an_account_is_heard_under_a_new_epoch(users: Users, won: SimulatorServer) -> None:
    users.stream.want([ALICE])
    await until(lambda: users.ups(ALICE) == [True], "alice up")
    strike(won, "ws_cut", socket=SocketKind.USER, abort=True)

    await until(lambda: users.ups(ALICE) == [True, False, True], "alice up again")
    assert len({event.epoch for event in users.of(ALICE, StreamTold) if event.up}) == 2
