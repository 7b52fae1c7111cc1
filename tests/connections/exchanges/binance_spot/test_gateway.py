"""The Binance spot gateway against the simulated exchange, over real HTTP."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace

from connections.exchanges.binance.public import BinancePublic
from connections.exchanges.binance_spot.api import SpotApi
from connections.exchanges.binance_spot.codec import SpotCodec
from connections.exchanges.binance_spot.gateway import BinanceSpotGateway
from connections.gateways import (
    Credentials,
    DeadlinePassed,
    Fill,
    OrderRejected,
    ReportStatus,
    SendDeadline,
)
from connections.simulator.server import SimulatorServer
from desproject.lib.clock import SYSTEM_CLOCK
from tests.connections.conftest import deadline, market_order, resting_order, strike

ORDER_PATH = "/api/v3/order"


async def test_a_market_order_comes_back_filled_with_its_fills(gateway: BinanceSpotGateway) -> None:
    report = await gateway.place_order(market_order(), deadline())

    assert report.status is ReportStatus.FILLED
    assert report.client_order_id == "order-1"
    assert report.filled_quantity == sum(fill.quantity for fill in report.fills) == Decimal("0.01")
    assert all(fill.liquidity == "taker" and fill.fee > 0 for fill in report.fills)
    assert report.price is None


async def test_the_fills_of_the_answer_are_those_that_the_account_lists(gateway: BinanceSpotGateway) -> None:
    report = await gateway.place_order(market_order(), deadline())

    listed = await gateway.fills("BTC/USDT", None, report.exchange_order_id)
    assert [told(fill) for fill in listed] == [told(fill) for fill in report.fills]


async def test_a_filter_failure_is_a_rejection_with_the_exchanges_code(gateway: BinanceSpotGateway) -> None:
    with pytest.raises(OrderRejected, match="LOT_SIZE") as caught:
        await gateway.place_order(market_order(quantity="0.000001"), deadline())

    assert caught.value.exchange_code == "-1013"


async def test_rules_are_the_exchanges_filters_and_read_once(
    gateway: BinanceSpotGateway, simulator: SimulatorServer
) -> None:
    rules = await gateway.rules("BTC/USDT")
    await gateway.rules("ETH/USDT")

    assert (rules.base, rules.quote, rules.price_step, rules.quantity_step) == (
        "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"),
    )  # fmt: skip
    assert (rules.min_notional, rules.market_max_quantity) == (Decimal(5), Decimal(120))
    assert simulator.spot.requests["GET /api/v3/exchangeInfo"] == 1


async def test_a_filter_failure_has_the_symbols_read_anew_once_a_minute_at_most(
    gateway: BinanceSpotGateway, simulator: SimulatorServer
) -> None:
    public = public_of(gateway)
    await gateway.rules("BTC/USDT")
    public._symbols_read_at -= 61

    for number in range(3):
        with pytest.raises(OrderRejected, match="LOT_SIZE"):
            await gateway.place_order(market_order(f"order-{number}", quantity="0.000001"), deadline())
        if public._rereading is not None:
            await public._rereading

    assert simulator.spot.requests["GET /api/v3/exchangeInfo"] == 2


async def test_the_account_is_complete_and_exact(gateway: BinanceSpotGateway) -> None:
    await gateway.place_order(resting_order(), deadline())
    snapshot = await gateway.account()

    balances = {row.asset: row for row in snapshot.balances}
    assert snapshot.complete
    assert (balances["USDT"].free, balances["USDT"].locked) == (Decimal(999500), Decimal(500))
    assert abs(snapshot.as_of - datetime.now(UTC)) < timedelta(seconds=5)


async def test_more_candles_than_a_page_holds(gateway: BinanceSpotGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    public = public_of(gateway)
    monkeypatch.setattr(public, "api", with_limits(public.api, klines_page=10))

    candles = await gateway.candles("BTC/USDT", "1m", 25)

    opened = [candle.opened_at for candle in candles]
    assert len(opened) == len(set(opened)) == 25
    assert opened == sorted(opened)


async def test_the_deadline_is_looked_at_right_before_writing(
    gateway: BinanceSpotGateway, simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline passes after signing, while the socket is being had."""
    await gateway.account()
    monkeypatch.setattr(gateway._rest, "_window_ms", lambda _deadline: 3000)

    with pytest.raises(DeadlinePassed):
        await gateway.place_order(market_order(), SendDeadline(SYSTEM_CLOCK.monotonic() - 0.001))

    assert simulator.spot.order_requests == 0


# Time.


async def test_a_skewed_exchange_clock_is_measured_and_corrected(
    gateway: BinanceSpotGateway, simulator: SimulatorServer
) -> None:
    strike(simulator, "clock_skew", milliseconds=90_000)

    await gateway.place_order(market_order(), deadline())

    assert public_of(gateway).clock.skew_ms == pytest.approx(90_000, abs=1000)


# Fills.


async def test_fills_are_found_page_by_page(gateway: BinanceSpotGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of the size that the exchange gives: many fills, few a page."""
    for number in range(7):
        await gateway.place_order(market_order(f"order-{number}"), deadline())
    every = await gateway.fills("BTC/USDT", None)
    monkeypatch.setattr(gateway, "_api", with_limits(gateway._api, trades_page=3))

    since = every[2].executed_at
    paged = await gateway.fills("BTC/USDT", None)
    recent = await gateway.fills("BTC/USDT", since)
    old = await gateway.fills("BTC/USDT", datetime.now(UTC) - timedelta(days=3))

    assert len(every) >= 7
    assert list(paged) == list(every) == list(old)
    assert list(recent) == [fill for fill in every if fill.executed_at >= since]


async def test_requests_stopped_at_the_last_moment_leave_no_socket_behind(
    gateway: BinanceSpotGateway, simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.account()
    monkeypatch.setattr(gateway._rest, "_window_ms", lambda _deadline: 3000)

    async def stopped() -> None:
        with pytest.raises(DeadlinePassed):
            await gateway.place_order(market_order(), SendDeadline(SYSTEM_CLOCK.monotonic() - 1))

    await asyncio.gather(*(stopped() for _ in range(5)))
    await asyncio.sleep(0.05)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        await asyncio.gather(*(stopped() for _ in range(5)))
    await asyncio.sleep(0.05)

    assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert simulator.spot.order_requests == 0


async def test_an_old_symbol_table_serves_while_a_new_one_is_read(
    gateway: BinanceSpotGateway, simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.rules("BTC/USDT")
    monkeypatch.setattr("connections.exchanges.public.SYMBOLS_SECONDS", 0.0)
    strike(simulator, "delay", path="/api/v3/exchangeInfo", seconds=5)

    async with asyncio.timeout(2):
        assert (await gateway.place_order(market_order(), deadline())).status is ReportStatus.FILLED
    async with asyncio.timeout(5):
        while simulator.spot.requests["GET /api/v3/exchangeInfo"] < 2:
            await asyncio.sleep(0.01)


async def test_a_slowly_measured_clock_is_measured_again(
    gateway: BinanceSpotGateway, simulator: SimulatorServer
) -> None:
    strike(simulator, "delay", path="/api/v3/time", seconds=0.4, count=1)

    await gateway.place_order(market_order(), deadline())

    assert simulator.spot.requests["GET /api/v3/time"] == 2
    assert abs(public_of(gateway).clock.now_ms() - time.time() * 1000) < 250


def test_a_gateway_never_shows_its_key() -> None:
    assert "secret" not in repr(Credentials("key", "secret"))


def told(fill: Fill) -> tuple[object, ...]:
    return (fill.exchange_trade_id, fill.side, fill.quantity, fill.price, fill.fee, fill.fee_asset, fill.liquidity)


def with_limits(api: SpotApi, **limits: int) -> SpotApi:
    return replace(api, limits=replace(api.limits, **limits))


def public_of(gateway: BinanceSpotGateway) -> BinancePublic[SpotApi, SpotCodec]:
    return gateway._public
