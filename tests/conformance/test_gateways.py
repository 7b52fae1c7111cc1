"""What every gateway must keep to, against the simulated exchange, over real HTTP. A venue is tested by its case."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from connections.exchanges import venue
from connections.exchanges.network import Network
from connections.gateways import (
    Banned,
    Credentials,
    DeadlinePassed,
    Gateway,
    KeyRefused,
    MarginType,
    NotOffered,
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
    Unreachable,
)
from connections.simulator.matching import Side as SimSide
from connections.simulator.server import SimulatorServer
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.errors import InvalidInput
from tests.conformance.exchange_cases import CASES, Case
from tests.connections.conftest import BOB_KEY, KEY, deadline, strike

_POSITIONS = {slug for slug in CASES if venue(slug).capabilities.positions}
_EXPIRES = {slug for slug in CASES if venue(slug).capabilities.request_expiry}
_NUMBERED = {"binance_spot", "binance_usdm"}
# A request carries its own expiry; refusals have Binance's numbers.
with_expiry = pytest.mark.parametrize("case", sorted(_EXPIRES), indirect=True)
with_numbers = pytest.mark.parametrize("case", sorted(_NUMBERED), indirect=True)
with_positions = pytest.mark.parametrize("case", sorted(_POSITIONS), indirect=True)
without_positions = pytest.mark.parametrize("case", sorted(CASES.keys() - _POSITIONS), indirect=True)


# Orders and the account.


async def test_a_resting_order_is_found_open_and_cancelled(gateway: Gateway, case: Case) -> None:
    placed = await gateway.place_order(case.resting_order(), deadline())
    opened = await gateway.open_orders()
    cancelled = await gateway.cancel_order(case.symbol, "order-1")

    assert placed.status is ReportStatus.WORKING
    assert [(report.client_order_id, report.symbol, report.type) for report in opened] == [
        ("order-1", case.symbol, OrderType.LIMIT)
    ]
    assert (cancelled.status, cancelled.client_order_id) == (ReportStatus.CANCELLED, "order-1")
    assert (await gateway.order(case.symbol, "order-1")).status is ReportStatus.CANCELLED


async def test_an_order_placed_elsewhere_is_asked_for_and_cancelled_by_the_exchanges_id(
    gateway: Gateway, case: Case
) -> None:
    placed = await gateway.place_order(case.resting_order(), deadline())
    asked = await gateway.order(case.symbol, "", placed.exchange_order_id)
    cancelled = await gateway.cancel_order(case.symbol, "", placed.exchange_order_id)

    assert (asked.status, asked.client_order_id) == (ReportStatus.WORKING, "order-1")
    assert (cancelled.status, cancelled.exchange_order_id) == (ReportStatus.CANCELLED, placed.exchange_order_id)


async def test_a_partial_fill_is_told_listed_and_stays_after_the_cancel(gateway: Gateway, case: Case) -> None:
    best = case.best(SimSide.BUY)
    price = best + (await gateway.rules(case.symbol)).price_step_at(best)
    await gateway.place_order(case.limit_order(price, quantity="0.02"), deadline())
    await case.gateway(BOB_KEY).place_order(case.market_order("bobs", "0.008", Side.SELL), deadline())

    partly = await gateway.order(case.symbol, "order-1")
    cancelled = await gateway.cancel_order(case.symbol, "order-1")
    (fill,) = await gateway.fills(case.symbol, None, partly.exchange_order_id)

    assert (partly.status, partly.filled_quantity) == (ReportStatus.PARTIALLY_FILLED, Decimal("0.008"))
    assert (cancelled.status, cancelled.filled_quantity) == (ReportStatus.CANCELLED, Decimal("0.008"))
    assert (fill.symbol, fill.side, fill.quantity, fill.price) == (case.symbol, Side.BUY, Decimal("0.008"), price)
    assert (fill.liquidity, fill.fee > 0) == ("maker" if case.tells_liquidity else "", True)


async def test_a_market_order_is_answered_filled_and_its_fills_are_listed(gateway: Gateway, case: Case) -> None:
    report = await gateway.place_order(case.market_order(), deadline())

    fills = await gateway.fills(case.symbol, None, report.exchange_order_id)
    assert (report.status, report.filled_quantity, report.price) == (ReportStatus.FILLED, Decimal("0.01"), None)
    assert sum(fill.quantity for fill in fills) == Decimal("0.01")
    assert {fill.liquidity for fill in fills} == {"taker"}


@pytest.mark.parametrize("time_in_force", [TimeInForce.IOC, TimeInForce.FOK])
async def test_what_finds_nobody_at_once_ends_without_a_fill(
    gateway: Gateway, case: Case, time_in_force: TimeInForce
) -> None:
    request = replace(case.resting_order(), time_in_force=time_in_force)

    report = await gateway.place_order(request, deadline())

    assert (report.status, report.filled_quantity) == (ReportStatus.EXPIRED, Decimal(0))


async def test_a_post_only_order_rests_or_is_rejected(gateway: Gateway, case: Case) -> None:
    resting = replace(case.resting_order(), type=OrderType.POST_ONLY)
    taking = replace(case.limit_order(case.best(SimSide.SELL), "order-2"), type=OrderType.POST_ONLY)

    report = await gateway.place_order(resting, deadline())
    with pytest.raises(OrderRejected):
        await gateway.place_order(taking, deadline())

    assert (report.type, report.status) == (OrderType.POST_ONLY, ReportStatus.WORKING)


async def test_too_little_money_is_a_rejection(gateway: Gateway, case: Case) -> None:
    with pytest.raises(OrderRejected, match="insufficient") as caught:
        await gateway.place_order(case.limit_order(case.resting_price, quantity=case.too_much), deadline())

    assert caught.value.exchange_code == case.too_much_code


async def test_a_quantity_off_the_step_is_a_rejection(gateway: Gateway, case: Case) -> None:
    with pytest.raises(OrderRejected) as caught:
        await gateway.place_order(case.market_order(quantity=case.off_step_quantity), deadline())

    assert caught.value.exchange_code == case.off_step_code


async def test_a_duplicate_id_is_looked_up_and_never_a_rejection(gateway: Gateway, case: Case) -> None:
    await gateway.place_order(case.resting_order(), deadline())

    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(case.resting_order(), deadline())


async def test_an_unknown_order_is_said_to_be_unknown(gateway: Gateway, case: Case) -> None:
    with pytest.raises(UnknownOrder):
        await gateway.order(case.symbol, "never-seen")
    with pytest.raises(UnknownOrder):
        await gateway.cancel_order(case.symbol, "never-seen")


async def test_an_untraded_symbol_is_refused_before_anything_is_sent(
    gateway: Gateway, case: Case
) -> None:
    with pytest.raises(InvalidInput):
        await gateway.rules(case.spelling)
    with pytest.raises(InvalidInput):
        await gateway.order("DOGE/USDT:USDT", "order-1")
    assert case.front.requests["GET " + case.order_path] == 0


async def test_rules_are_the_exchanges_filters_and_read_once(gateway: Gateway, case: Case) -> None:
    rules = await gateway.rules(case.symbol)
    await gateway.rules(case.symbol)

    instrument = case.instrument
    assert (rules.symbol, rules.base, rules.quote) == (case.symbol, "BTC", case.quote)
    assert case.front.requests["GET " + case.info_path] == 1
    if not case.tells_filters:
        return
    assert (rules.price_step, rules.quantity_step) == (instrument.tick, instrument.lot)
    assert (rules.min_quantity, rules.max_quantity) == (instrument.min_quantity, instrument.max_quantity)
    assert (rules.min_notional, rules.market_max_quantity) == (
        instrument.min_notional, instrument.max_market_quantity,
    )  # fmt: skip


async def test_the_account_is_complete_and_knows_what_an_open_order_locks(gateway: Gateway, case: Case) -> None:
    await gateway.place_order(case.resting_order(), deadline())
    snapshot = await gateway.account()

    (quote,) = [row for row in snapshot.balances if row.asset == case.quote]
    assert snapshot.complete
    assert (quote.free + quote.locked, quote.locked) == (Decimal(case.money[case.quote]), case.locked_by_resting)
    assert abs(snapshot.as_of - datetime.now(UTC)) < timedelta(seconds=5)


async def test_permissions_are_told(gateway: Gateway, case: Case) -> None:
    permissions = await gateway.permissions()

    assert (permissions.can_read, permissions.can_trade, permissions.can_withdraw) == (True, True, False)


@pytest.mark.parametrize(
    "credentials",
    [Credentials(KEY.api_key, "wrong-secret"), Credentials("unknown-key-0123456789", "x"), Credentials("short", "x")],
    ids=["signature", "unknown", "format"],
)
async def test_a_key_that_is_no_good_is_refused(
    case: Case, network: Network, credentials: Credentials
) -> None:
    gateway = venue(case.slug).gateway(credentials, "simulator", network)

    with pytest.raises(KeyRefused):
        await gateway.account()
    with pytest.raises(KeyRefused):
        await gateway.place_order(case.market_order(), deadline())


async def test_candles_come_oldest_first_and_only_the_last_is_open(gateway: Gateway, case: Case) -> None:
    candles = await gateway.candles(case.symbol, "1m", 5)

    assert len(candles) == 5
    assert [candle.opened_at for candle in candles] == sorted(candle.opened_at for candle in candles)
    assert [candle.closed for candle in candles[:-1]] == [True, True, True, True]
    if case.tells_empty_candles:  # else the newest may be that of the last minute in which something was traded
        assert not candles[-1].closed


# What is polled where streams can't be had.


async def test_a_polled_quote_is_the_top_of_the_book(gateway: Gateway, case: Case, network: Network) -> None:
    public = venue(case.slug).public("simulator", network)

    (quote,) = await public.quotes([case.symbol])
    depth = await public.depth(case.symbol)

    assert (quote.symbol, quote.bid, quote.ask) == (case.symbol, case.best(SimSide.BUY), case.best(SimSide.SELL))
    assert ((quote.bid, quote.bid_size), (quote.ask, quote.ask_size)) == (depth.bids[0], depth.asks[0])


async def test_polled_trades_come_oldest_first_with_what_was_traded(
    gateway: Gateway, case: Case, network: Network
) -> None:
    public = venue(case.slug).public("simulator", network)
    before = {trade.trade_id for trade in await public.trades(case.symbol)}
    await gateway.place_order(case.market_order(), deadline())

    told = await public.trades(case.symbol)

    ids = [trade.trade_id for trade in told]
    assert ids == sorted(set(ids))
    fresh = [trade for trade in told if trade.trade_id not in before]
    assert sum(trade.quantity for trade in fresh) == Decimal("0.01")
    assert {trade.symbol for trade in fresh} == {case.symbol}


# Deadlines.


async def test_nothing_is_sent_past_the_deadline(gateway: Gateway, case: Case) -> None:
    await gateway.rules(case.symbol)

    with pytest.raises(DeadlinePassed):
        await gateway.place_order(case.market_order(), SendDeadline(SYSTEM_CLOCK.monotonic()))

    assert case.front.order_requests == 0


@with_expiry
async def test_the_exchange_doesnt_act_on_a_request_that_arrives_past_the_deadline(
    gateway: Gateway, case: Case, simulator: SimulatorServer
) -> None:
    await gateway.account()
    strike(simulator, "delay", path=case.order_path, method="POST", seconds=0.5)

    with pytest.raises(DeadlinePassed):
        await gateway.place_order(case.market_order(), deadline(0.3))

    assert case.exchange.orders_placed == 0


@with_expiry
@pytest.mark.parametrize("skew", [-70_000, 70_000])
async def test_a_clock_that_jumps_later_is_measured_again_and_the_order_placed_once(
    gateway: Gateway, case: Case, simulator: SimulatorServer, skew: int
) -> None:
    await gateway.account()
    strike(simulator, "clock_skew", milliseconds=skew)

    report = await gateway.place_order(case.market_order(), deadline())

    assert report.status is ReportStatus.FILLED
    assert case.exchange.orders_placed == 1
    assert case.front.order_requests == 2


# Trouble.


async def test_an_accepted_order_without_an_answer_is_unknown_and_found_by_its_id(
    gateway: Gateway, case: Case, simulator: SimulatorServer
) -> None:
    strike(simulator, "accept_then_timeout", path=case.order_path, method="POST", count=1, seconds=0.05)

    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(case.market_order(), deadline())

    assert (await gateway.order(case.symbol, "order-1")).status is ReportStatus.FILLED


async def test_a_connection_cut_after_sending_is_unknown(
    gateway: Gateway, case: Case, simulator: SimulatorServer
) -> None:
    strike(simulator, "drop_before", path=case.order_path, method="POST", count=1)

    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(case.market_order(), deadline())

    assert case.front.order_requests == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_failing_server_leaves_the_outcome_of_a_write_unknown(
    gateway: Gateway, case: Case, simulator: SimulatorServer, status: int
) -> None:
    strike(simulator, "http_error", path=case.order_path, status=status)
    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(case.market_order(), deadline())

    strike(simulator, "http_error", path=case.cancel_path or case.order_path, status=status)
    with pytest.raises(OutcomeUnknown):
        await gateway.cancel_order(case.symbol, "order-1")


@with_numbers
@pytest.mark.parametrize(("status", "code"), [(500, -1000), (503, -1006), (504, -1007), (502, 0), (400, -1006)])
async def test_server_trouble_leaves_the_outcome_of_a_write_unknown(
    gateway: Gateway, case: Case, simulator: SimulatorServer, status: int, code: int
) -> None:
    strike(simulator, "http_error", path=case.order_path, status=status, code=code)

    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(case.market_order(), deadline())
    with pytest.raises(OutcomeUnknown):
        await gateway.cancel_order(case.symbol, "order-1")


@with_numbers
async def test_an_overloaded_exchange_did_nothing(gateway: Gateway, case: Case, simulator: SimulatorServer) -> None:
    strike(simulator, "http_error", path=case.order_path, status=503, code=-1008)

    with pytest.raises(Unreachable):
        await gateway.place_order(case.market_order(), deadline())


async def test_an_unreadable_answer_to_an_order_leaves_it_unknown(
    gateway: Gateway, case: Case, simulator: SimulatorServer
) -> None:
    strike(simulator, "malformed", path=case.order_path, status=200, payload='{"orderId": "not a number"}')

    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(case.market_order(), deadline())


async def test_an_unreadable_answer_to_a_read_is_named(
    gateway: Gateway, case: Case, simulator: SimulatorServer
) -> None:
    strike(simulator, "malformed", path=case.account_path, status=200)

    with pytest.raises(UnexpectedShape):
        await gateway.account()


async def test_reads_are_tried_again(gateway: Gateway, case: Case, simulator: SimulatorServer) -> None:
    strike(simulator, "http_error", path=case.account_path, status=502, count=2)

    assert (await gateway.account()).balances


async def test_orders_are_not_tried_again(gateway: Gateway, case: Case, simulator: SimulatorServer) -> None:
    strike(simulator, "http_error", path=case.order_path, status=502)

    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(case.market_order(), deadline())

    assert case.front.order_requests == 1


async def test_no_connection_means_that_nothing_happened(
    gateway: Gateway, case: Case, simulator: SimulatorServer
) -> None:
    await gateway.account()
    await simulator.stop()

    with pytest.raises(Unreachable):
        await gateway.place_order(case.market_order(), deadline())
    with pytest.raises(Unreachable):
        await gateway.account()


@pytest.mark.parametrize(("status", "kind"), [(429, Throttled), (418, Banned)])
async def test_past_the_limit_no_request_of_the_process_goes_out(
    gateway: Gateway, case: Case, simulator: SimulatorServer, network: Network, status: int, kind: type[Throttled]
) -> None:
    if case.slug not in _NUMBERED and status == 429:
        pytest.skip("there the limit is one account's, not the address's")
    await gateway.account()
    strike(simulator, "http_error", path=case.account_path, status=status, code=-1003, retry_after=30, count=1)
    with pytest.raises(kind) as caught:
        await gateway.account()
    seen = sum(case.front.requests.values())

    with pytest.raises(kind) as again:
        await venue(case.slug).gateway(KEY, "simulator", network).place_order(case.market_order(), deadline())

    assert (caught.value.retry_after, sum(case.front.requests.values())) == (30, seen)
    assert again.value.retry_after == pytest.approx(30, abs=5)


async def test_too_many_orders_of_one_account_stop_only_its_orders(
    gateway: Gateway, case: Case, simulator: SimulatorServer
) -> None:
    if case.slug == "bithumb":
        pytest.skip("there the limit is the address's")
    strike(simulator, "http_error", path=case.order_path, status=429, code=-1015, retry_after=7, count=1)
    with pytest.raises(Throttled):
        await gateway.place_order(case.market_order(), deadline())

    with pytest.raises(Throttled):
        await gateway.place_order(case.market_order(), deadline())

    assert case.front.order_requests == 1
    assert (await gateway.account()).complete


# Positions.


@without_positions
async def test_a_venue_without_positions_says_so(gateway: Gateway, case: Case) -> None:
    assert list(await gateway.positions()) == []
    assert list(await gateway.funding_payments(case.symbol, datetime.now(UTC))) == []
    with pytest.raises(NotOffered):
        await gateway.margin_settings(case.symbol)
    with pytest.raises(NotOffered):
        await gateway.set_leverage(case.symbol, 2)
    with pytest.raises(NotOffered):
        await gateway.set_margin_type(case.symbol, MarginType.ISOLATED)


@with_positions
async def test_buying_makes_a_long_position_and_selling_more_a_short_one(gateway: Gateway, case: Case) -> None:
    entry = case.best(SimSide.SELL)
    await gateway.place_order(case.market_order(), deadline())
    (long,) = await gateway.positions()
    await gateway.place_order(case.market_order("order-2", "0.03", Side.SELL), deadline())
    (short,) = await gateway.positions()

    assert (long.symbol, long.quantity, long.entry_price) == (case.symbol, Decimal("0.01"), entry)
    assert long.liquidation_price is None
    assert short.quantity == Decimal("-0.02")
    assert short.liquidation_price is not None
    assert short.liquidation_price > short.mark_price
    assert long.unrealized_pnl == Decimal("0.01") * (long.mark_price - entry)


@with_positions
async def test_a_reduce_only_order_never_turns_or_opens_a_position(gateway: Gateway, case: Case) -> None:
    closing = replace(case.market_order("order-2", "0.05", Side.SELL), reduce_only=True)
    with pytest.raises(OrderRejected):
        await gateway.place_order(closing, deadline())

    await gateway.place_order(case.market_order(), deadline())
    await gateway.place_order(replace(closing, client_order_id="order-3"), deadline())

    assert list(await gateway.positions()) == []


@with_positions
async def test_leverage_and_margin_type_are_set_and_read_back(gateway: Gateway, case: Case) -> None:

    assert await gateway.set_leverage(case.symbol, 7) == 7
    await gateway.set_margin_type(case.symbol, MarginType.ISOLATED)
    await gateway.set_margin_type(case.symbol, MarginType.ISOLATED)
    with pytest.raises(OrderRejected):
        await gateway.set_leverage(case.symbol, 1000)

    found = await gateway.margin_settings(case.symbol)
    assert (found.leverage, found.margin_type) == (7, MarginType.ISOLATED)


@with_positions
async def test_funding_is_listed_with_its_sign(gateway: Gateway, case: Case) -> None:
    began = datetime.now(UTC) - timedelta(minutes=1)
    await gateway.place_order(case.market_order(), deadline())
    case.fund()

    (payment,) = await gateway.funding_payments(case.symbol, began)
    assert (payment.symbol, payment.asset) == (case.symbol, "USDT")
    assert payment.amount < 0
    assert not await gateway.funding_payments(case.symbol, datetime.now(UTC) + timedelta(minutes=1))
