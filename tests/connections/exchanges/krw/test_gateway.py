"""The gateways of the won exchanges against the simulated ones, over real HTTP."""

import dataclasses
from datetime import timedelta
from decimal import Decimal

import pytest

from connections.exchanges import venue
from connections.exchanges.krw.gateway import KrwGateway
from connections.exchanges.network import Network
from connections.gateways import (
    Banned,
    Credentials,
    DeadlinePassed,
    KeyRefused,
    OrderRejected,
    OrderType,
    OutcomeUnknown,
    ReportStatus,
    SendDeadline,
    Side,
    Throttled,
    TimeInForce,
    UnexpectedShape,
    UnknownOrder,
)
from connections.simulator.accounts import Account, Fees
from connections.simulator.matching import Side as BookSide
from connections.simulator.server import SimulatorServer
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.errors import InvalidInput
from tests.connections.conftest import deadline, strike
from tests.connections.exchanges.krw.conftest import key_at, limit_order, market_order


async def test_a_market_buy_gets_its_quantity_and_pays_its_fee_in_won(gateway: KrwGateway, account: Account) -> None:
    report = await gateway.place_order(market_order(), deadline())

    assert report.status is ReportStatus.FILLED
    assert (report.client_order_id, report.filled_quantity) == ("order-1", Decimal("0.01"))
    assert (report.type, report.price) == (OrderType.MARKET, None)
    assert sum(fill.quantity for fill in report.fills) == Decimal("0.01")
    assert {fill.fee_asset for fill in report.fills} == {"KRW"}
    paid = sum(fill.quantity * fill.price + fill.fee for fill in report.fills)
    assert account.balances["KRW"].free == Decimal(100_000_000) - paid
    assert account.balances["BTC"].free == Decimal("2.01")


async def test_a_market_buy_never_pays_above_its_bound(
    gateway: KrwGateway, account: Account, won: SimulatorServer, name: str
) -> None:
    best = (await gateway._public.depth("BTC/KRW")).asks[0][0]
    report = await gateway.place_order(market_order(quantity="1.1"), deadline())

    (order,) = account.orders.values()
    assert order.price is not None
    assert best <= order.price <= best * Decimal("1.005")
    assert order.price % 1000 == 0
    assert all(fill.price <= order.price for fill in report.fills)


async def test_what_a_market_buy_doesnt_find_within_its_bound_expires(
    gateway: KrwGateway, account: Account, won: SimulatorServer, name: str
) -> None:
    exchange = won.won[name].exchange
    exchange.clear("KRW-BTC")
    shown = [("BUY", "89000000"), ("SELL", "89001000"), ("SELL", "95000000")]
    exchange.quote("KRW-BTC", [(BookSide(side), Decimal(price), Decimal("0.004")) for side, price in shown])
    report = await gateway.place_order(market_order(), deadline())

    assert report.status is ReportStatus.EXPIRED
    assert report.filled_quantity == Decimal("0.004")
    assert account.balances["KRW"].locked == 0


async def test_a_market_sell_is_sent_by_its_quantity(gateway: KrwGateway, account: Account) -> None:
    report = await gateway.place_order(market_order(side=Side.SELL), deadline())

    assert report.status is ReportStatus.FILLED
    assert account.balances["BTC"].free == Decimal("1.99")
    assert all(fill.side is Side.SELL for fill in report.fills)


async def test_the_fees_of_an_orders_fills_add_up_to_what_the_exchange_took(
    gateway: KrwGateway, account: Account
) -> None:
    account.fees = Fees(Decimal("0.0005"), Decimal("0.0005"))
    report = await gateway.place_order(market_order(quantity="1.1"), deadline())

    assert len(report.fills) > 1
    taken = sum((fill.commission for fill in account.fills), Decimal(0))
    told = sum((fill.fee for fill in report.fills), Decimal(0))
    assert abs(told - taken) <= Decimal("1e-8") * len(report.fills)


async def test_a_resting_order_is_found_open_and_cancelled(gateway: KrwGateway) -> None:
    placed = await gateway.place_order(limit_order(), deadline())
    opened = await gateway.open_orders()
    cancelled = await gateway.cancel_order("BTC/KRW", "order-1")

    assert placed.status is ReportStatus.WORKING
    assert [(report.client_order_id, report.symbol, report.type) for report in opened] == [
        ("order-1", "BTC/KRW", OrderType.LIMIT)
    ]
    assert (cancelled.status, cancelled.client_order_id) == (ReportStatus.CANCELLED, "order-1")
    assert opened[0].exchange_order_id == placed.exchange_order_id == cancelled.exchange_order_id
    assert await gateway.open_orders() == []


async def test_an_order_that_may_not_rest_says_at_once_what_it_got(gateway: KrwGateway) -> None:
    request = dataclasses.replace(limit_order(), time_in_force=TimeInForce.IOC)
    report = await gateway.place_order(request, deadline())

    assert (report.status, report.time_in_force) == (ReportStatus.EXPIRED, TimeInForce.IOC)


async def test_a_post_only_order_that_would_take_is_rejected_though_the_exchange_took_it(gateway: KrwGateway) -> None:
    request = dataclasses.replace(limit_order(price="99000000"), type=OrderType.POST_ONLY)
    with pytest.raises(OrderRejected):
        await gateway.place_order(request, deadline())

    report = await gateway.order("BTC/KRW", "order-1")
    assert (report.status, report.type) == (ReportStatus.CANCELLED, OrderType.POST_ONLY)
    assert not report.filled_quantity


async def test_a_post_only_order_that_rests_is_working(gateway: KrwGateway) -> None:
    report = await gateway.place_order(dataclasses.replace(limit_order(), type=OrderType.POST_ONLY), deadline())

    assert (report.status, report.type) == (ReportStatus.WORKING, OrderType.POST_ONLY)


async def test_fills_are_listed_by_order_and_since_a_time(gateway: KrwGateway) -> None:
    began = SYSTEM_CLOCK.now() - timedelta(seconds=2)
    report = await gateway.place_order(market_order(), deadline())
    await gateway.place_order(limit_order("order-2"), deadline())

    of_order = await gateway.fills("BTC/KRW", None, report.exchange_order_id)
    assert list(of_order) == list(report.fills)
    assert list(await gateway.fills("BTC/KRW", began)) == list(report.fills)
    assert not await gateway.fills("BTC/KRW", SYSTEM_CLOCK.now() + timedelta(minutes=1))


async def test_the_account_tells_what_is_free_and_what_is_locked_fee_included(
    gateway: KrwGateway, account: Account
) -> None:
    account.fees = Fees(Decimal("0.0005"), Decimal("0.0005"))
    await gateway.place_order(limit_order(), deadline())

    held = {balance.asset: balance for balance in (await gateway.account()).balances}
    assert held["KRW"].locked == Decimal("500250")
    assert held["KRW"].free + held["KRW"].locked == Decimal(100_000_000)


async def test_rules_know_the_steps_of_each_price(gateway: KrwGateway) -> None:
    rules = await gateway.rules("BTC/KRW")

    assert (rules.base, rules.quote, rules.min_notional) == ("BTC", "KRW", Decimal(5000))
    assert rules.quantity_step == Decimal("0.00000001")
    assert rules.price_step_at(Decimal(89_886_000)) == 1000
    assert rules.price_step_at(Decimal(12)) < 1


async def test_a_symbol_that_isnt_traded_is_refused_by_field(gateway: KrwGateway) -> None:
    with pytest.raises(InvalidInput) as caught:
        await gateway.rules("BTC/USDT")

    assert "symbol" in caught.value.fields


async def test_candles_come_oldest_first_over_pages(gateway: KrwGateway) -> None:
    candles = await gateway.candles("BTC/KRW", "1m", 250)

    opened = [candle.opened_at for candle in candles]
    assert len(candles) == 250
    assert opened == sorted(set(opened))
    assert all(candle.closed for candle in candles[:-1])


# Refusals.


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (limit_order(price="50000500"), "invalid_price_bid"),
        (dataclasses.replace(limit_order(), quantity=Decimal("0.00001")), "under_min_total_bid"),
        (dataclasses.replace(limit_order(), quantity=Decimal(10)), "insufficient_funds_bid"),
        (dataclasses.replace(market_order(side=Side.SELL), quantity=Decimal(3)), "insufficient_funds_ask"),
    ],
)
async def test_what_breaks_a_filter_is_rejected_for_good(gateway: KrwGateway, request_: object, code: str) -> None:
    with pytest.raises(OrderRejected) as caught:
        await gateway.place_order(request_, deadline())  # type: ignore[arg-type]

    assert caught.value.exchange_code == code


async def test_an_id_is_used_up_even_by_a_refused_order(gateway: KrwGateway, account: Account) -> None:
    with pytest.raises(OrderRejected):
        await gateway.place_order(limit_order(price="50000500"), deadline())

    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(limit_order(), deadline())
    with pytest.raises(UnknownOrder):
        await gateway.order("BTC/KRW", "order-1")
    assert not account.orders


async def test_an_unknown_order_is_said_to_be_unknown(gateway: KrwGateway) -> None:
    with pytest.raises(UnknownOrder):
        await gateway.order("BTC/KRW", "never-sent")
    with pytest.raises(UnknownOrder):
        await gateway.cancel_order("BTC/KRW", "never-sent")


async def test_an_order_that_has_ended_cant_be_cancelled(gateway: KrwGateway) -> None:
    await gateway.place_order(market_order(), deadline())

    with pytest.raises(UnknownOrder):
        await gateway.cancel_order("BTC/KRW", "order-1")


@pytest.mark.parametrize("change", ["key", "secret"])
async def test_a_wrong_key_is_refused(won: SimulatorServer, network: Network, name: str, change: str) -> None:
    right = key_at(name)
    wrong = Credentials("nobody", right.api_secret) if change == "key" else Credentials(right.api_key, "other")
    gateway = venue(name).gateway(wrong, "simulator", network)

    with pytest.raises(KeyRefused):
        await gateway.account()
    with pytest.raises(KeyRefused):
        await gateway.place_order(market_order(), deadline())


@pytest.mark.parametrize("may", [True, False])
async def test_permissions_are_found_by_trying(gateway: KrwGateway, account: Account, may: bool) -> None:
    account.permissions.can_withdraw = may

    found = await gateway.permissions()
    assert (found.can_read, found.can_trade, found.can_withdraw) == (True, True, may)


async def test_a_key_that_may_not_trade_is_refused(gateway: KrwGateway, account: Account) -> None:
    account.permissions.can_trade = False

    with pytest.raises(KeyRefused):
        await gateway.place_order(market_order(side=Side.SELL), deadline())


# What goes wrong on the way.


async def test_no_answer_to_an_order_is_an_unknown_outcome_that_a_look_up_settles(
    gateway: KrwGateway, won: SimulatorServer
) -> None:
    strike(won, "accept_then_timeout", method="POST", count=1)
    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(limit_order(), deadline())

    assert (await gateway.order("BTC/KRW", "order-1")).status is ReportStatus.WORKING


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_a_failing_server_leaves_an_order_unknown_and_a_read_to_be_tried_again(
    gateway: KrwGateway, won: SimulatorServer, status: int
) -> None:
    strike(won, "http_error", method="POST", count=1, status=status)
    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(limit_order(), deadline())

    strike(won, "http_error", path="/v1/accounts", count=1, status=status)
    assert (await gateway.account()).balances


async def test_an_unreadable_answer_to_an_order_is_an_unknown_outcome(
    gateway: KrwGateway, won: SimulatorServer
) -> None:
    strike(won, "malformed", method="POST", count=1, status=200)

    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(limit_order(), deadline())


async def test_an_unreadable_answer_to_a_read_has_a_name(gateway: KrwGateway, won: SimulatorServer) -> None:
    strike(won, "malformed", path="/v1/accounts", count=1, status=200)

    with pytest.raises(UnexpectedShape):
        await gateway.account()


async def test_past_its_deadline_an_order_isnt_sent(gateway: KrwGateway, account: Account) -> None:
    await gateway.rules("BTC/KRW")

    with pytest.raises(DeadlinePassed):
        await gateway.place_order(limit_order(), SendDeadline(SYSTEM_CLOCK.monotonic() - 1))
    assert not account.received


async def test_one_accounts_limit_doesnt_stop_reads_of_the_market(gateway: KrwGateway, won: SimulatorServer) -> None:
    strike(won, "http_error", method="POST", count=1, status=429, message="too_many_requests")
    with pytest.raises(Throttled):
        await gateway.place_order(limit_order(), deadline())
    with pytest.raises(Throttled):
        await gateway.place_order(limit_order("order-2"), deadline())

    assert await gateway.candles("BTC/KRW", "1m", 1)


async def test_a_ban_stops_everything_for_as_long_as_it_says(
    gateway: KrwGateway, won: SimulatorServer, name: str
) -> None:
    await gateway.rules("BTC/KRW")
    strike(won, "http_error", path="/v1/accounts", count=1, status=418, message="blocked for 90 seconds")
    with pytest.raises(Banned) as caught:
        await gateway.account()
    asked = won.won[name].requests.total()

    with pytest.raises(Banned):
        await gateway.order("BTC/KRW", "order-1")
    assert caught.value.retry_after == 90
    assert won.won[name].requests.total() == asked


def test_no_gateway_shows_its_key(name: str) -> None:
    key = key_at(name)
    shown = repr(vars(venue(name).gateway(key, "live", Network())))

    assert key.api_key not in shown
    assert key.api_secret not in shown
