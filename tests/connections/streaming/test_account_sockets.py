"""Accounts with an address each: it is kept alive, replaced when it ends, and a refused key is told."""

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
from connections.events import OrderTold, StreamTold, user_stream
from connections.exchanges import venue
from connections.exchanges.binance_usdm.user_stream import UsdmUserDialect
from connections.exchanges.network import Network
from connections.gateways import Credentials, OrderRequest, OrderType, Side
from connections.simulator.control import AccountSpec
from connections.simulator.faults import SocketKind
from connections.simulator.server import Settings, SimulatorServer
from connections.streaming import user_socket
from connections.streaming.kept_socket import SocketSlots
from connections.streaming.user import UserStream
from connections.streaming.user_accounts import AccountKey
from connections.streaming.user_publisher import UserPublisher
from connections.streaming.user_socket import UserSocket
from desproject.lib.clock import SYSTEM_CLOCK
from tests.connections.conftest import BOB_KEY, KEY, deadline, strike
from tests.connections.streaming.conftest import QUICK, UserReader, until

ALICE = AccountKey(uuid4(), uuid4(), 1)
BOB = AccountKey(uuid4(), uuid4(), 1)
STRANGER = AccountKey(uuid4(), uuid4(), 1)
KEYS = {
    ALICE.connection_id: KEY, BOB.connection_id: BOB_KEY,
    STRANGER.connection_id: Credentials("nobodys-key-0123456789", "x"),
}  # fmt: skip
LISTEN_KEY = "/fapi/v1/listenKey"


class Running:
    def __init__(self, stream: UserStream, reader: UserReader, figures: Counter[str]) -> None:
        self.stream = stream
        self.figures = figures
        self.reader = reader
        self.task = asyncio.create_task(stream.run())

    def told(self, key: AccountKey) -> list[StreamTold]:
        return [event for event in self.reader.of(StreamTold) if event.connection_id == key.connection_id]

    def is_up(self, key: AccountKey) -> bool:
        return bool(self.told(key)) and self.told(key)[-1].up

    def orders(self, key: AccountKey) -> list[OrderTold]:
        return [event for event in self.reader.of(OrderTold) if event.connection_id == key.connection_id]


@pytest.fixture
async def simulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimulatorServer]:
    accounts = tuple(
        AccountSpec(key.api_key, key.api_secret, balances={"USDT": "10000"}, exchange="binance_usdm")
        for key in (KEY, BOB_KEY)
    )
    async with SimulatorServer(Settings(symbols=(), perpetuals=("BTCUSDT",), accounts=accounts)) as server:
        monkeypatch.setattr(settings.CONFIG, "simulator_url", server.rest_url)
        yield server


@pytest.fixture
async def running(
    simulator: SimulatorServer,
    network: Network,
    bus_client: "redis.asyncio.Redis",
    figures: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Running]:
    async def known_key(_: UserSocket, account: user_socket.Account) -> Credentials:
        return KEYS[account.key.connection_id]

    monkeypatch.setattr(UserSocket, "credentials", known_key)
    monkeypatch.setattr(user_socket, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(UsdmUserDialect, "keep_alive_seconds", 0.1)
    publisher = UserPublisher(bus_client, figures, SYSTEM_CLOCK)
    stream = UserStream(
        "binance_usdm:simulator", venue("binance_usdm"), network, publisher, timing=QUICK, figures=figures,
        clock=SYSTEM_CLOCK,
    )  # fmt: skip
    shards = sorted({user_stream(shard_of(key.user_id)) for key in (ALICE, BOB, STRANGER)})
    found = Running(stream, UserReader(bus_client, shards), figures)
    yield found
    for task in (found.task, found.reader.task):
        task.cancel()
    await asyncio.gather(found.task, found.reader.task, return_exceptions=True)


async def place(network: Network, client_order_id: str, credentials: Credentials = KEY) -> None:
    request = OrderRequest(client_order_id, "BTC/USDT:USDT", Side.BUY, OrderType.MARKET, Decimal("0.01"))
    await venue("binance_usdm").gateway(credentials, "simulator", network).place_order(request, deadline())


async def test_an_address_is_kept_alive(running: Running, simulator: SimulatorServer) -> None:
    running.stream.want([ALICE])
    await until(lambda: simulator.usdm.requests[f"PUT {LISTEN_KEY}"] >= 2, "two keep-alives")

    assert simulator.usdm.requests[f"POST {LISTEN_KEY}"] == 1
    assert running.is_up(ALICE)


async def test_an_address_that_expired_is_replaced_and_a_new_epoch_begins(
    running: Running, simulator: SimulatorServer, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UsdmUserDialect, "keep_alive_seconds", 600.0)
    running.stream.want([ALICE])
    await until(lambda: running.is_up(ALICE), "up")
    before = running.told(ALICE)[-1].epoch

    simulator.usdm.events.expire_keys(simulator.usdm.exchange.now_ms() + 61 * 60_000)
    await until(lambda: running.is_up(ALICE) and running.told(ALICE)[-1].epoch > before, "a new epoch")

    await place(network, "after")
    await until(lambda: running.orders(ALICE), "orders are heard again")


async def test_a_key_that_the_exchange_forgot_is_replaced_beside_the_old_socket(
    running: Running, simulator: SimulatorServer, network: Network
) -> None:
    running.stream.want([ALICE])
    await until(lambda: running.is_up(ALICE), "up")
    simulator.usdm.events.keys.close(KEY.api_key)

    await until(lambda: simulator.usdm.requests[f"POST {LISTEN_KEY}"] >= 2, "a second address")
    await until(lambda: running.figures["renewals"] >= 1, "the renewal")
    await place(network, "renewed")
    await until(lambda: running.orders(ALICE), "orders are heard on it")


async def test_one_account_that_is_refused_or_cut_disturbs_no_other(
    running: Running, simulator: SimulatorServer, network: Network
) -> None:
    running.stream.want([ALICE, STRANGER])
    await until(lambda: running.is_up(ALICE) and running.told(STRANGER), "both told")

    assert not any(event.up for event in running.told(STRANGER))
    running.stream.want([ALICE, BOB])
    await until(lambda: running.is_up(BOB), "bob up")
    assert len({event.epoch for event in running.told(ALICE) if event.up}) == 1

    running.stream.want([BOB])
    await until(lambda: not running.is_up(ALICE), "alice told that it is over")
    await place(network, "bobs", BOB_KEY)
    await until(lambda: running.orders(BOB), "bob hears on")


async def test_more_sockets_than_allowed_are_refused_told_and_tried_again(
    running: Running, simulator: SimulatorServer
) -> None:
    slots = SocketSlots(1)
    running.stream._make = partial(running.stream._make, slots=slots)
    running.stream.want([ALICE])
    await until(lambda: running.is_up(ALICE), "alice up")
    running.stream.want([ALICE, BOB])
    await until(lambda: any("STREAM_SOCKETS" in told.reason for told in running.told(BOB)), "bob is told")
    assert simulator.sockets.count()[SocketKind.USER] == slots.taken == 1

    running.stream.want([BOB])
    await until(lambda: running.is_up(BOB), "bob up once there is room")
    assert slots.taken == 1


async def test_trouble_with_the_address_is_tried_again(running: Running, simulator: SimulatorServer) -> None:
    strike(simulator, "http_error", path=LISTEN_KEY, method="POST", status=502, count=1)
    running.stream.want([ALICE])

    await until(lambda: running.is_up(ALICE), "up at the second try")
