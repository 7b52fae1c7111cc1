"""As many accounts on one user-data socket as Binance allows, and more than that."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
import redis.asyncio
from django.conf import settings

from accounts.tenancy import SHARDS
from connections.events import OrderTold, StreamTold, user_stream
from connections.exchanges import venue
from connections.exchanges.network import Network
from connections.gateways import Credentials
from connections.simulator.control import AccountSpec
from connections.simulator.faults import SocketKind
from connections.simulator.server import Settings, SimulatorServer
from connections.streaming import user_socket
from connections.streaming.user import UserStream
from connections.streaming.user_accounts import AccountKey
from connections.streaming.user_publisher import UserPublisher
from connections.streaming.user_socket import UserSocket
from desproject.lib.clock import SYSTEM_CLOCK
from tests.connections.conftest import deadline, market_order, strike
from tests.connections.streaming.conftest import FEED, QUICK, UserReader, until

MANY = 1000


class Crowd:
    """A user stream with many accounts, and what it published."""

    def __init__(self, stream: UserStream, reader: UserReader, credentials: dict[UUID, Credentials]) -> None:
        self.stream = stream
        self.reader = reader
        self.credentials = credentials
        self.keys = [AccountKey(connection, uuid4(), 1) for connection in credentials]

    def epochs(self) -> dict[UUID, int]:
        """The newest one of each account that is heard."""
        return {told.connection_id: told.epoch for told in self.reader.of(StreamTold) if told.up}


@pytest.fixture
async def crowd(
    network: Network, bus_client: "redis.asyncio.Redis", figures: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Crowd, SimulatorServer]]:
    credentials = {uuid4(): Credentials(f"crowd-key-{n:010}", f"crowd-secret-{n:010}") for n in range(MANY)}
    accounts = tuple(
        AccountSpec(key.api_key, key.api_secret, balances={"USDT": "10000"}) for key in credentials.values()
    )

    async def known_key(_: UserSocket, account: user_socket.Account) -> Credentials:
        return credentials[account.key.connection_id]

    monkeypatch.setattr(UserSocket, "credentials", known_key)
    async with SimulatorServer(Settings(symbols=("BTCUSDT",), accounts=accounts)) as server:
        monkeypatch.setattr(settings.CONFIG, "simulator_url", server.rest_url)
        stream = UserStream(
            FEED, venue("binance_spot"), network, UserPublisher(bus_client, figures, SYSTEM_CLOCK), timing=QUICK,
            figures=figures, clock=SYSTEM_CLOCK,
        )  # fmt: skip
        found = Crowd(stream, UserReader(bus_client, [user_stream(shard) for shard in range(SHARDS)]), credentials)
        running = asyncio.create_task(stream.run())
        yield found, server
        for task in (running, found.reader.task):
            task.cancel()
        await asyncio.gather(running, found.reader.task, return_exceptions=True)


async def test_a_thousand_accounts_are_heard_on_one_socket_also_after_a_cut(
    crowd: tuple[Crowd, SimulatorServer], network: Network
) -> None:
    many, simulator = crowd
    many.stream.want(many.keys)
    await until(lambda: len(many.epochs()) == MANY, "a thousand accounts", seconds=60)
    before = many.epochs()
    assert simulator.sockets.count()[SocketKind.USER] == 1

    strike(simulator, "ws_cut", socket=SocketKind.USER, abort=True)
    await until(lambda: all(many.epochs()[key] > before[key] for key in before), "new epochs", seconds=60)
    last = many.keys[-1]
    gateway = venue("binance_spot").gateway(many.credentials[last.connection_id], "simulator", network)
    await gateway.place_order(market_order(), deadline())
    await until(lambda: many.reader.of(OrderTold), "the fill")
    assert {told.connection_id for told in many.reader.of(OrderTold)} == {last.connection_id}
    assert simulator.sockets.count()[SocketKind.USER] == 1


async def test_more_accounts_than_a_socket_carries_get_another_one_and_nobody_moves(
    crowd: tuple[Crowd, SimulatorServer],
) -> None:
    many, simulator = crowd
    many.stream._most = 2
    many.stream.want(many.keys[:3])
    await until(lambda: len(many.epochs()) == 3, "three accounts")
    before = many.epochs()
    assert simulator.sockets.count()[SocketKind.USER] == 2

    many.stream.want([*many.keys[1:3], *many.keys[3:5]])
    await until(lambda: len(many.epochs()) == 5, "two more")
    assert simulator.sockets.count()[SocketKind.USER] == 2
    assert {key: many.epochs()[key] for key in before} == before
    many.stream.want(many.keys[2:3])
    await until(lambda: simulator.sockets.count()[SocketKind.USER] == 1, "a socket that nobody needs is closed")
