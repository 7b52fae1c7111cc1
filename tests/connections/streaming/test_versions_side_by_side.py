"""Two versions of one exchange on real sockets: side by side, switched and changed while everything runs (CON-7)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis.asyncio
from django.conf import settings

from connections.events import BookState, FeedState, Quote
from connections.exchanges.binance_spot import VENUE
from connections.exchanges.network import Network
from connections.gateways import ReportStatus, UnexpectedShape
from connections.prices import PriceCache
from connections.simulator.server import Settings, SimulatorServer
from connections.streaming.market import MarketStream
from connections.streaming.market_publisher import MarketPublisher
from desproject.lib.clock import SYSTEM_CLOCK
from tests.connections.conftest import BOB_KEY, KEY, account_of, deadline, market_order, resting_order
from tests.connections.exchanges.second_version import NAMES, SecondVersion, mapping, operators_folder
from tests.connections.streaming.conftest import FEED, QUICK, MarketReader, until

ALICE, BOB = replace(KEY, connection="alices"), replace(BOB_KEY, connection="bobs")


@pytest.fixture
async def simulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimulatorServer]:
    setup = Settings(symbols=("BTCUSDT",), accounts=(account_of(KEY), account_of(BOB_KEY)), venues=(SecondVersion,))
    async with SimulatorServer(setup) as server:
        monkeypatch.setattr(settings.CONFIG, "simulator_url", server.rest_url)
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with operators_folder(tmp_path) as made:
        yield made


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    VENUE.versions.look()


async def test_accounts_trade_by_different_versions_at_the_same_time(
    simulator: SimulatorServer, network: Network, folder: Path
) -> None:
    write(folder, "switch.toml", '[canary]\nversion = "v4"\nconnections = ["alices"]')
    alice, bob = (VENUE.gateway(credentials, "simulator", network) for credentials in (ALICE, BOB))

    reports = await asyncio.gather(*(each.place_order(market_order(), deadline()) for each in (alice, bob)))

    assert [(report.status, report.filled_quantity) for report in reports] == [
        (ReportStatus.FILLED, reports[0].quantity)
    ] * 2
    assert (await alice.account()).balances[0].asset == (await bob.account()).balances[0].asset
    asked = ("POST /v4/orders", "GET /v4/wallet", "POST /api/v3/order", "GET /api/v3/account")
    assert [simulator.spot.requests[each] for each in asked] == [1, 1, 1, 1]


async def test_an_order_of_one_version_is_cancelled_by_the_other(
    simulator: SimulatorServer, network: Network, folder: Path
) -> None:
    placed = await VENUE.gateway(ALICE, "simulator", network).place_order(resting_order(), deadline())

    write(folder, "switch.toml", 'version = "v4"')
    report = await VENUE.gateway(ALICE, "simulator", network).cancel_order("BTC/USDT", placed.client_order_id)

    assert report.status is ReportStatus.CANCELLED
    assert simulator.spot.requests["DELETE /v4/orders"] == 1


async def test_a_name_that_the_exchange_changes_is_followed_by_a_changed_file(
    simulator: SimulatorServer, network: Network, folder: Path
) -> None:
    write(folder, "switch.toml", 'version = "v4"')
    (second,) = (front for front in simulator.more if isinstance(front, SecondVersion))
    changed = {**NAMES, "balances": "purse"}
    second.names.update(changed)
    with pytest.raises(UnexpectedShape):
        await VENUE.gateway(ALICE, "simulator", network).account()

    write(folder, "v4.toml", mapping(changed))

    assert (await VENUE.gateway(ALICE, "simulator", network).account()).balances


async def test_a_running_stream_changes_over_without_a_gap(
    simulator: SimulatorServer, network: Network, folder: Path, bus_client: "redis.asyncio.Redis"
) -> None:
    """The successor is up before the old socket goes: nobody is told of an end."""
    figures: Counter[str] = Counter()
    publisher = MarketPublisher(bus_client, FEED, 7, figures)
    stream = MarketStream(
        FEED, VENUE, network, publisher, PriceCache(), timing=QUICK, figures=figures, clock=SYSTEM_CLOCK
    )
    reader = MarketReader(bus_client)
    running = asyncio.create_task(stream.run())
    try:
        stream.want({"BTC/USDT": {"1m"}})
        await until(lambda: any(event.valid for event in reader.of(BookState)), "a valid book")
        stream.keep_up()
        assert figures["renewals"] == 0

        write(folder, "switch.toml", 'version = "v4"')
        stream.keep_up()
        await until(lambda: figures["renewals"], "the socket's successor")
        told = len(reader.events)
        await until(lambda: any(isinstance(event, Quote) for event in reader.events[told:]), "a quote by it")

        assert simulator.spot.requests["GET /v4/stream"] == 1
        assert [event.up for event in reader.of(FeedState)] == [True]
        assert stream.books["BTC/USDT"].gaps == 0
        stream.keep_up()
        await asyncio.sleep(0)
        assert stream.sockets[0].session is not None
        assert not stream.sockets[0].session.ending.is_set()
    finally:
        for task in (running, reader.task):
            task.cancel()
        await asyncio.gather(running, reader.task, return_exceptions=True)
