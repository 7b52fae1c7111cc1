"""The Binance spot gateway against the simulated exchange, over real HTTP."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace

from connections.exchanges import venue
from connections.exchanges.binance_spot.api import API
from connections.exchanges.binance_spot.gateway import BinanceSpotGateway
from connections.exchanges.binance_spot.public import PublicSpot
from connections.exchanges.network import Network
from connections.gateways import (
    Banned,
    Credentials,
    DeadlinePassed,
    Fill,
    KeyRefused,
    OrderRejected,
    OrderType,
    OutcomeUnknown,
    ReportStatus,
    SendDeadline,
    Side,
    Throttled,
    UnexpectedShape,
    UnknownOrder,
    Unreachable,
)
from connections.simulator.server import SimulatorServer
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.errors import InvalidInput
from tests.connections.conftest import KEY, deadline, market_order, resting_order, strike

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


async def test_a_resting_order_is_found_open_and_cancelled(gateway: BinanceSpotGateway) -> None:
    placed = await gateway.place_order(resting_order(), deadline())
    opened = await gateway.open_orders()
    cancelled = await gateway.cancel_order("BTC/USDT", "order-1")

    assert placed.status is ReportStatus.WORKING
    assert [(report.client_order_id, report.symbol, report.type) for report in opened] == [
        ("order-1", "BTC/USDT", OrderType.LIMIT)
    ]
    assert (cancelled.status, cancelled.client_order_id) == (ReportStatus.CANCELLED, "order-1")
    assert (await gateway.order("BTC/USDT", "order-1")).status is ReportStatus.CANCELLED


async def test_a_post_only_order_that_would_take_is_rejected(gateway: BinanceSpotGateway) -> None:
    request = resting_order(price="100000")
    request = type(request)("p-1", "BTC/USDT", Side.BUY, OrderType.POST_ONLY, Decimal("0.01"), Decimal(100000))

    with pytest.raises(OrderRejected) as caught:
        await gateway.place_order(request, deadline())

    assert caught.value.exchange_code == "-2010"


async def test_a_filter_failure_is_a_rejection_with_the_exchanges_code(gateway: BinanceSpotGateway) -> None:
    with pytest.raises(OrderRejected, match="LOT_SIZE") as caught:
        await gateway.place_order(market_order(quantity="0.000001"), deadline())

    assert caught.value.exchange_code == "-1013"


async def test_too_little_money_is_a_rejection(gateway: BinanceSpotGateway) -> None:
    with pytest.raises(OrderRejected, match="insufficient balance"):
        await gateway.place_order(market_order(quantity="100"), deadline())


async def test_a_duplicate_id_is_looked_up_and_never_a_rejection(gateway: BinanceSpotGateway) -> None:
    await gateway.place_order(resting_order(), deadline())

    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(resting_order(), deadline())


async def test_an_unknown_order_is_said_to_be_unknown(gateway: BinanceSpotGateway) -> None:
    with pytest.raises(UnknownOrder):
        await gateway.order("BTC/USDT", "never-seen")
    with pytest.raises(UnknownOrder):
        await gateway.cancel_order("BTC/USDT", "never-seen")


async def test_an_untraded_symbol_is_refused_before_anything_is_sent(
    gateway: BinanceSpotGateway, simulator: SimulatorServer
) -> None:
    with pytest.raises(InvalidInput):
        await gateway.rules("BTCUSDT")
    with pytest.raises(InvalidInput):
        await gateway.order("DOGE/USDT", "order-1")
    assert simulator.spot.requests["GET " + ORDER_PATH] == 0


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


async def test_the_account_is_complete_and_exact(gateway: BinanceSpotGateway) -> None:
    await gateway.place_order(resting_order(), deadline())
    snapshot = await gateway.account()

    balances = {row.asset: row for row in snapshot.balances}
    assert snapshot.complete
    assert (balances["USDT"].free, balances["USDT"].locked) == (Decimal(999500), Decimal(500))
    assert abs(snapshot.as_of - datetime.now(UTC)) < timedelta(seconds=5)


async def test_permissions_are_told(gateway: BinanceSpotGateway) -> None:
    permissions = await gateway.permissions()

    assert (permissions.can_read, permissions.can_trade, permissions.can_withdraw) == (True, True, False)


@pytest.mark.parametrize(
    "credentials",
    [Credentials(KEY.api_key, "wrong-secret"), Credentials("unknown-key-0123456789", "x"), Credentials("short", "x")],
    ids=["signature", "unknown", "format"],
)
async def test_a_key_that_is_no_good_is_refused(
    simulator: SimulatorServer, network: Network, credentials: Credentials
) -> None:
    gateway = venue("binance_spot").gateway(credentials, "simulator", network)

    with pytest.raises(KeyRefused):
        await gateway.account()
    with pytest.raises(KeyRefused):
        await gateway.place_order(market_order(), deadline())


async def test_candles_come_oldest_first_and_only_the_last_is_open(gateway: BinanceSpotGateway) -> None:
    candles = await gateway.candles("BTC/USDT", "1m", 5)

    assert len(candles) == 5
    assert [candle.opened_at for candle in candles] == sorted(candle.opened_at for candle in candles)
    assert [candle.closed for candle in candles] == [True, True, True, True, False]


async def test_more_candles_than_a_page_holds(gateway: BinanceSpotGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    small_pages = replace(API, limits=replace(API.limits, klines_page=10))
    monkeypatch.setattr("connections.exchanges.binance_spot.public.API", small_pages)

    candles = await gateway.candles("BTC/USDT", "1m", 25)

    opened = [candle.opened_at for candle in candles]
    assert len(opened) == len(set(opened)) == 25
    assert opened == sorted(opened)


# Deadlines.


async def test_nothing_is_sent_past_the_deadline(gateway: BinanceSpotGateway, simulator: SimulatorServer) -> None:
    await gateway.rules("BTC/USDT")

    with pytest.raises(DeadlinePassed):
        await gateway.place_order(market_order(), SendDeadline(SYSTEM_CLOCK.monotonic()))

    assert simulator.spot.order_requests == 0


async def test_the_deadline_is_looked_at_right_before_writing(
    gateway: BinanceSpotGateway, simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline passes after signing, while the socket is being had."""
    await gateway.account()
    monkeypatch.setattr(gateway, "_window_ms", lambda _deadline: 3000)

    with pytest.raises(DeadlinePassed):
        await gateway.place_order(market_order(), SendDeadline(SYSTEM_CLOCK.monotonic() - 0.001))

    assert simulator.spot.order_requests == 0


async def test_the_exchange_doesnt_act_on_a_request_that_arrives_past_the_deadline(
    gateway: BinanceSpotGateway, simulator: SimulatorServer
) -> None:
    await gateway.account()
    strike(simulator, "delay", path=ORDER_PATH, method="POST", seconds=0.5)

    with pytest.raises(DeadlinePassed):
        await gateway.place_order(market_order(), deadline(0.3))

    assert simulator.exchange.orders_placed == 0


# Time.


async def test_a_skewed_exchange_clock_is_measured_and_corrected(
    gateway: BinanceSpotGateway, simulator: SimulatorServer
) -> None:
    strike(simulator, "clock_skew", milliseconds=90_000)

    await gateway.place_order(market_order(), deadline())

    assert public_of(gateway).clock.skew_ms == pytest.approx(90_000, abs=1000)


@pytest.mark.parametrize("skew", [-70_000, 70_000])
async def test_a_clock_that_jumps_later_is_measured_again_and_the_order_placed_once(
    gateway: BinanceSpotGateway, simulator: SimulatorServer, skew: int
) -> None:
    await gateway.account()
    strike(simulator, "clock_skew", milliseconds=skew)

    report = await gateway.place_order(market_order(), deadline())

    assert report.status is ReportStatus.FILLED
    assert simulator.exchange.orders_placed == 1
    assert simulator.spot.order_requests == 2


# Trouble.


async def test_an_accepted_order_without_an_answer_is_unknown_and_found_by_its_id(
    gateway: BinanceSpotGateway, simulator: SimulatorServer
) -> None:
    strike(simulator, "accept_then_timeout", path=ORDER_PATH, method="POST", count=1, seconds=0.05)

    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(market_order(), deadline())

    assert (await gateway.order("BTC/USDT", "order-1")).status is ReportStatus.FILLED


async def test_a_connection_cut_after_sending_is_unknown(
    gateway: BinanceSpotGateway, simulator: SimulatorServer
) -> None:
    strike(simulator, "drop_before", path=ORDER_PATH, method="POST", count=1)

    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(market_order(), deadline())

    assert simulator.spot.order_requests == 1


@pytest.mark.parametrize(("status", "code"), [(500, -1000), (503, -1006), (504, -1007), (502, 0), (400, -1006)])
async def test_server_trouble_leaves_the_outcome_of_a_write_unknown(
    gateway: BinanceSpotGateway, simulator: SimulatorServer, status: int, code: int
) -> None:
    strike(simulator, "http_error", path=ORDER_PATH, status=status, code=code)

    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(market_order(), deadline())
    with pytest.raises(OutcomeUnknown):
        await gateway.cancel_order("BTC/USDT", "order-1")


async def test_an_overloaded_exchange_did_nothing(gateway: BinanceSpotGateway, simulator: SimulatorServer) -> None:
    strike(simulator, "http_error", path=ORDER_PATH, status=503, code=-1008)

    with pytest.raises(Unreachable):
        await gateway.place_order(market_order(), deadline())


async def test_an_unreadable_answer_to_an_order_leaves_it_unknown(
    gateway: BinanceSpotGateway, simulator: SimulatorServer
) -> None:
    strike(simulator, "malformed", path=ORDER_PATH, status=200, payload='{"orderId": "not a number"}')

    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(market_order(), deadline())


async def test_an_unreadable_answer_to_a_read_is_named(gateway: BinanceSpotGateway, simulator: SimulatorServer) -> None:
    strike(simulator, "malformed", path="/api/v3/account", status=200)

    with pytest.raises(UnexpectedShape):
        await gateway.account()


async def test_reads_are_tried_again(gateway: BinanceSpotGateway, simulator: SimulatorServer) -> None:
    strike(simulator, "http_error", path="/api/v3/account", status=502, count=2)

    assert (await gateway.account()).balances


async def test_orders_are_not_tried_again(gateway: BinanceSpotGateway, simulator: SimulatorServer) -> None:
    strike(simulator, "http_error", path=ORDER_PATH, status=502)

    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(market_order(), deadline())

    assert simulator.spot.order_requests == 1


async def test_no_connection_means_that_nothing_happened(
    gateway: BinanceSpotGateway, simulator: SimulatorServer
) -> None:
    await gateway.account()
    await simulator.stop()

    with pytest.raises(Unreachable):
        await gateway.place_order(market_order(), deadline())
    with pytest.raises(Unreachable):
        await gateway.account()


@pytest.mark.parametrize(("status", "kind"), [(429, Throttled), (418, Banned)])
async def test_past_the_limit_no_request_of_the_process_goes_out(
    gateway: BinanceSpotGateway, simulator: SimulatorServer, network: Network, status: int, kind: type[Throttled]
) -> None:
    await gateway.account()
    strike(simulator, "http_error", path="/api/v3/account", status=status, code=-1003, retry_after=30, count=1)
    with pytest.raises(kind) as caught:
        await gateway.account()
    seen = sum(simulator.spot.requests.values())

    with pytest.raises(kind) as again:
        await venue("binance_spot").gateway(KEY, "simulator", network).place_order(market_order(), deadline())

    assert (caught.value.retry_after, sum(simulator.spot.requests.values())) == (30, seen)
    assert again.value.retry_after == pytest.approx(30, abs=5)


async def test_too_many_orders_of_one_account_stop_only_its_orders(
    gateway: BinanceSpotGateway, simulator: SimulatorServer
) -> None:
    strike(simulator, "http_error", path=ORDER_PATH, status=429, code=-1015, retry_after=7, count=1)
    with pytest.raises(Throttled):
        await gateway.place_order(market_order(), deadline())

    with pytest.raises(Throttled):
        await gateway.place_order(market_order(), deadline())

    assert simulator.spot.order_requests == 1
    assert (await gateway.account()).complete


# Fills.


async def test_fills_are_found_page_by_page(gateway: BinanceSpotGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of the size that the exchange gives: many fills, few a page."""
    for number in range(7):
        await gateway.place_order(market_order(f"order-{number}"), deadline())
    every = await gateway.fills("BTC/USDT", None)
    small_pages = replace(API, limits=replace(API.limits, trades_page=3))
    monkeypatch.setattr("connections.exchanges.binance_spot.gateway.API", small_pages)

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
    monkeypatch.setattr(gateway, "_window_ms", lambda _deadline: 3000)

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
    monkeypatch.setattr("connections.exchanges.binance_spot.public.SYMBOLS_SECONDS", 0.0)
    strike(simulator, "delay", path="/api/v3/exchangeInfo", seconds=5)

    async with asyncio.timeout(2):
        assert (await gateway.place_order(market_order(), deadline())).status is ReportStatus.FILLED
    assert simulator.spot.requests["GET /api/v3/exchangeInfo"] == 2


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


def public_of(gateway: BinanceSpotGateway) -> PublicSpot:
    return gateway._public
