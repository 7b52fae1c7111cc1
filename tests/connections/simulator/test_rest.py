"""Binance spot over real HTTP: answers, and every refusal's status, code and message."""

import itertools
from decimal import Decimal
from typing import Any

import pytest

from connections.simulator.binance.limits import Budgets
from tests.connections.simulator.server import Keys, RunningSimulator, hmac_sha256, running_simulator

ORDER = "/api/v3/order"


async def best(sim: RunningSimulator) -> tuple[Decimal, Decimal]:
    quote = (await sim.public("/api/v3/ticker/bookTicker", symbol="BTCUSDT")).body
    return Decimal(quote["bidPrice"]), Decimal(quote["askPrice"])


# market data


async def test_ping_and_time(sim: RunningSimulator) -> None:
    assert (await sim.public("/api/v3/ping")).body == {}
    assert abs((await sim.public("/api/v3/time")).body["serverTime"] - sim.now_ms()) < 5000


async def test_exchange_info_tells_steps_and_limits(sim: RunningSimulator) -> None:
    info = (await sim.public("/api/v3/exchangeInfo", symbol="BTCUSDT")).body
    [symbol] = info["symbols"]
    filters = {row["filterType"]: row for row in symbol["filters"]}
    assert (symbol["baseAsset"], symbol["quoteAsset"], symbol["status"]) == ("BTC", "USDT", "TRADING")
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"
    assert [row["limit"] for row in info["rateLimits"]] == [6000, 100, 200000, 61000]


async def test_depth_is_sorted_limited_and_agrees_with_the_book_ticker(sim: RunningSimulator) -> None:
    depth = (await sim.public("/api/v3/depth", symbol="BTCUSDT", limit=5)).body
    bids, asks = ([Decimal(price) for price, _ in depth[side]] for side in ("bids", "asks"))
    assert len(bids) == len(asks) == 5
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert (bids[0], asks[0]) == await best(sim)


async def test_klines_are_gapless_and_end_now(sim: RunningSimulator) -> None:
    rows = (await sim.public("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=1000)).body
    assert len(rows) == 1000
    assert {later[0] - row[0] for row, later in itertools.pairwise(rows)} == {60_000}
    assert all(row[6] == row[0] + 59_999 for row in rows)
    assert rows[-1][0] <= sim.now_ms() <= rows[-1][6] + 1000


async def test_klines_from_a_start_time(sim: RunningSimulator) -> None:
    start = sim.now_ms() // 60_000 * 60_000 - 600_000
    rows = (await sim.public("/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=start, limit=3)).body
    assert [row[0] for row in rows] == [start, start + 60_000, start + 120_000]


async def test_a_trade_shows_in_every_public_answer(sim: RunningSimulator, alice: Keys) -> None:
    answer = await sim.order(alice, "BUY", "0.00100")
    [fill] = answer.body["fills"]
    trade = (await sim.public("/api/v3/trades", symbol="BTCUSDT", limit=1)).body[0]
    run = (await sim.public("/api/v3/aggTrades", symbol="BTCUSDT", limit=1)).body[0]
    bar = (await sim.public("/api/v3/klines", symbol="BTCUSDT", interval="1d", limit=1)).body[0]
    price = (await sim.public("/api/v3/ticker/price", symbol="BTCUSDT")).body["price"]
    day = (await sim.public("/api/v3/ticker/24hr", symbol="BTCUSDT")).body
    assert (trade["id"], trade["qty"], trade["isBuyerMaker"]) == (fill["tradeId"], "0.00100000", False)
    assert (run["f"], run["l"], run["q"]) == (fill["tradeId"], fill["tradeId"], "0.00100000")
    assert trade["price"] == run["p"] == bar[4] == price == day["lastPrice"] == fill["price"]
    assert day["lastId"] == fill["tradeId"]


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("/api/v3/depth", {}, -1102),
        ("/api/v3/depth", {"symbol": "DOGEEUR"}, -1121),
        ("/api/v3/depth", {"symbol": "btcusdt"}, -1100),
        ("/api/v3/depth", {"symbol": "BTCUSDT", "limit": "many"}, -1100),
        ("/api/v3/depth", {"symbol": "BTCUSDT", "page": "2"}, -1104),
        ("/api/v3/depth", {"symbol": ""}, -1105),
        ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ("/api/v3/klines", {"symbol": "BTCUSDT"}, -1102),
    ],
)
async def test_malformed_market_requests(sim: RunningSimulator, path: str, params: dict[str, str], code: int) -> None:
    answer = await sim.public(path, **params)
    assert (answer.status, answer.code) == (400, code)


async def test_a_parameter_given_twice_is_refused(sim: RunningSimulator) -> None:
    answer = await sim.raw("GET", "/api/v3/depth", query="symbol=BTCUSDT&symbol=ETHUSDT")
    assert answer.code == -1101


async def test_unknown_paths_and_methods(sim: RunningSimulator) -> None:
    assert (await sim.public("/api/v3/nothing")).status == 404
    assert (await sim.raw("PATCH", ORDER)).status == 405


# orders


async def test_a_market_buy_fills_and_pays_commission_in_base(sim: RunningSimulator, alice: Keys) -> None:
    answer = await sim.order(alice, "BUY", "0.01000", newClientOrderId="mine-1")
    body = answer.body
    assert answer.status == 200
    assert (body["status"], body["executedQty"], body["clientOrderId"]) == ("FILLED", "0.01000000", "mine-1")
    assert sum(Decimal(fill["commission"]) for fill in body["fills"]) == Decimal("0.00001")
    assert {fill["commissionAsset"] for fill in body["fills"]} == {"BTC"}
    balances = {row["asset"]: row for row in (await sim.signed(alice, "GET", "/api/v3/account")).body["balances"]}
    assert balances["BTC"]["free"] == "10.00999000"
    assert Decimal(balances["USDT"]["free"]) == 100000 - Decimal(body["cummulativeQuoteQty"])


async def test_a_market_buy_for_a_budget(sim: RunningSimulator, alice: Keys) -> None:
    wanted = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quoteOrderQty": "100"}
    body = (await sim.signed(alice, "POST", ORDER, **wanted)).body
    assert (body["status"], body["origQuoteOrderQty"]) == ("FILLED", "100.00000000")
    assert Decimal(99) < Decimal(body["cummulativeQuoteQty"]) <= 100


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("ACK", {"transactTime"}), ("RESULT", {"status", "workingTime"}), ("FULL", {"status", "fills"})],
)
async def test_response_types(sim: RunningSimulator, alice: Keys, kind: str, fields: set[str]) -> None:
    body = (await sim.order(alice, "BUY", "0.001", "60000", newOrderRespType=kind)).body
    assert fields <= set(body)
    assert ("fills" in body) is (kind == "FULL")


async def test_a_resting_order_is_seen_filled_in_part_and_cancelled(
    sim: RunningSimulator, alice: Keys, bob: Keys
) -> None:
    bid, _ = await best(sim)
    price = str(bid + Decimal("0.01"))
    placed = (await sim.order(alice, "BUY", "0.5", price, newClientOrderId="rest")).body
    assert placed["status"] == "NEW"
    await sim.order(bob, "SELL", "0.2", price)
    which = {"symbol": "BTCUSDT", "origClientOrderId": "rest"}
    seen = (await sim.signed(alice, "GET", ORDER, **which)).body
    assert (seen["status"], seen["executedQty"], seen["isWorking"]) == ("PARTIALLY_FILLED", "0.20000000", True)
    assert [row["orderId"] for row in (await sim.signed(alice, "GET", "/api/v3/openOrders")).body] == [seen["orderId"]]

    cancelled = (await sim.signed(alice, "DELETE", ORDER, **which, newClientOrderId="bye")).body
    assert (cancelled["status"], cancelled["origClientOrderId"], cancelled["clientOrderId"]) == (
        "CANCELED", "rest", "bye",
    )  # fmt: skip
    assert (await sim.signed(alice, "GET", "/api/v3/openOrders", symbol="BTCUSDT")).body == []
    [own] = (await sim.signed(alice, "GET", "/api/v3/myTrades", symbol="BTCUSDT", orderId=seen["orderId"])).body
    assert (own["qty"], own["isMaker"], own["isBuyer"], own["price"]) == ("0.20000000", True, True, seen["price"])
    [row] = (await sim.signed(alice, "GET", "/api/v3/allOrders", symbol="BTCUSDT")).body
    assert row["status"] == "CANCELED"


async def test_cancelling_all_open_orders_of_a_symbol(sim: RunningSimulator, alice: Keys) -> None:
    for price in ("60000", "60001"):
        await sim.order(alice, "BUY", "0.01", price)
    answer = await sim.signed(alice, "DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
    assert [row["status"] for row in answer.body] == ["CANCELED", "CANCELED"]
    again = await sim.signed(alice, "DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
    assert (again.status, again.code, again.body["msg"]) == (400, -2011, "Unknown order sent.")


async def test_an_immediate_or_cancel_order_says_why_it_expired(sim: RunningSimulator, alice: Keys) -> None:
    body = (await sim.order(alice, "BUY", "0.01", "60000", timeInForce="IOC")).body
    assert (body["status"], body["expiryReason"]) == ("EXPIRED", "UNFILLED_IOC_QUANTITY_EXPIRED")


async def test_a_test_order_is_checked_but_not_placed(sim: RunningSimulator, alice: Keys) -> None:
    wanted = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
    assert (await sim.signed(alice, "POST", ORDER + "/test", **wanted)).body == {}
    assert (await sim.signed(alice, "POST", ORDER + "/test", **{**wanted, "quantity": "0"})).code == -1013
    assert (await sim.counters())["orders"] == 0


async def test_parameters_may_be_split_between_query_and_body(sim: RunningSimulator, alice: Keys) -> None:
    query = f"symbol=BTCUSDT&side=BUY&type=MARKET&timestamp={sim.now_ms()}"
    body = "quantity=0.001&newClientOrderId=split"
    signature = hmac_sha256(alice.api_secret, query + body)
    sent = f"{body}&signature={signature}"
    answer = await sim.raw("POST", ORDER, query=query, body=sent, api_key=alice.api_key)
    assert (answer.status, answer.body.get("clientOrderId")) == (200, "split")


async def test_one_accounts_order_is_unknown_to_another(sim: RunningSimulator, alice: Keys, bob: Keys) -> None:
    placed = (await sim.order(alice, "BUY", "0.01", "60000")).body
    which = {"symbol": "BTCUSDT", "orderId": placed["orderId"]}
    assert (await sim.signed(bob, "GET", ORDER, **which)).code == -2013
    assert (await sim.signed(bob, "DELETE", ORDER, **which)).code == -2011


LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.01",
    "price": "60000",
}
MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
STOP = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_LOSS", "quantity": "0.01", "stopPrice": "60000"}


@pytest.mark.parametrize(
    ("order", "code", "message"),
    [
        ({**LIMIT, "symbol": "NOPE"}, -1121, "Invalid symbol."),
        ({**LIMIT, "side": "HOLD"}, -1117, "Invalid side."),
        ({**LIMIT, "type": "GUESS"}, -1116, "Invalid orderType."),
        ({**LIMIT, "timeInForce": "LATER"}, -1115, "Invalid timeInForce."),
        ({**LIMIT, "quantity": "NaN"}, -1100, "Illegal characters found in parameter 'quantity'"),
        ({**LIMIT, "quantity": "-1"}, -1100, "Illegal characters found in parameter 'quantity'"),
        ({**LIMIT, "quantity": "0"}, -1013, "Invalid quantity."),
        ({**LIMIT, "price": "0"}, -1013, "Invalid price."),
        ({**LIMIT, "quantity": "0.0100000001"}, -1111, "Parameter 'quantity' has too much precision."),
        ({**LIMIT, "quantity": "0.010001"}, -1013, "Filter failure: LOT_SIZE"),
        ({**LIMIT, "quantity": "9001"}, -1013, "Filter failure: LOT_SIZE"),
        ({**LIMIT, "price": "60000.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({**LIMIT, "price": "1000000.01"}, -1013, "Filter failure: PRICE_FILTER"),
        ({**LIMIT, "price": "500000"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        ({**LIMIT, "quantity": "0.00008"}, -1013, "Filter failure: NOTIONAL"),
        ({**MARKET, "quantity": "0.00008"}, -1013, "Filter failure: NOTIONAL"),
        ({**MARKET, "quantity": "121"}, -1013, "Filter failure: MARKET_LOT_SIZE"),
        ({**MARKET, "price": "1"}, -1106, "Parameter 'price' sent when not required."),
        ({**LIMIT, "newClientOrderId": "no spaces"}, -1100, "Illegal characters found in parameter 'newClientOrderId'"),
        ({**LIMIT, "newClientOrderId": "x" * 37}, -1100, "Illegal characters found in parameter 'newClientOrderId'"),
        ({**LIMIT, "quantity": "100"}, -2010, "Account has insufficient balance for requested action."),
        ({**LIMIT, "type": "LIMIT_MAKER"}, -1106, "Parameter 'timeInForce' sent when not required."),
        ({**STOP, "stopPrice": "70000"}, -2010, "Stop price would trigger immediately."),
        ({**STOP, "trailingDelta": "10"}, -1013, "Trailing stop orders are not supported for this symbol."),
        ({**LIMIT, "icebergQty": "0.001"}, -1013, "Iceberg orders are not supported for this symbol."),
        ({**LIMIT, "strategyType": "5"}, -1134, "`strategyType` was less than 1000000."),
        (
            {**LIMIT, "nonsense": "1"},
            -1104,
            "Not all sent parameters were read; read '8' parameter(s)",
        ),
        ({**LIMIT, "newOrderRespType": "SOME"}, -1130, "Data sent for parameter 'newOrderRespType' is not valid."),
    ],
)
async def test_refused_orders(
    sim: RunningSimulator, alice: Keys, order: dict[str, Any], code: int, message: str
) -> None:
    answer = await sim.signed(alice, "POST", ORDER, **order)
    assert (answer.status, answer.code) == (400, code), answer.body
    assert answer.body["msg"].startswith(message)
    assert (await sim.counters())["orders"] == 0


@pytest.mark.parametrize("name", ["symbol", "side", "type", "timeInForce", "quantity", "price"])
async def test_a_missing_parameter_is_named(sim: RunningSimulator, alice: Keys, name: str) -> None:
    answer = await sim.signed(alice, "POST", ORDER, **{key: value for key, value in LIMIT.items() if key != name})
    text = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    assert (answer.status, answer.code, answer.body["msg"]) == (400, -1102, text)


async def test_a_post_only_order_that_would_take(sim: RunningSimulator, alice: Keys) -> None:
    _, ask = await best(sim)
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT_MAKER", "quantity": "0.01", "price": str(ask)}
    answer = await sim.signed(alice, "POST", ORDER, **order)
    assert (answer.code, answer.body["msg"]) == (-2010, "Order would immediately match and take.")


async def test_a_client_id_is_unique_among_open_orders_only(sim: RunningSimulator, alice: Keys) -> None:
    first = await sim.signed(alice, "POST", ORDER, **LIMIT, newClientOrderId="again")
    second = await sim.signed(alice, "POST", ORDER, **LIMIT, newClientOrderId="again")
    assert (second.code, second.body["msg"]) == (-2010, "Duplicate order sent.")
    await sim.signed(alice, "DELETE", ORDER, symbol="BTCUSDT", orderId=first.body["orderId"])
    third = await sim.signed(alice, "POST", ORDER, **LIMIT, newClientOrderId="again")
    assert third.status == 200
    ledger = await sim.ledger(alice)
    assert (ledger["received"], ledger["accepted"]) == ({"again": 3}, {"again": 2})


async def test_too_many_open_orders(sim: RunningSimulator, alice: Keys) -> None:
    sim.server.settings.budgets.orders_10s = 1000
    for _ in range(200):
        assert (await sim.signed(alice, "POST", ORDER, **{**LIMIT, "quantity": "0.001"})).status == 200
    answer = await sim.signed(alice, "POST", ORDER, **LIMIT)
    assert (answer.code, answer.body["msg"]) == (-1013, "Filter failure: MAX_NUM_ORDERS")


@pytest.mark.parametrize(
    ("method", "params", "code", "message"),
    [
        ("GET", {"orderId": 999}, -2013, "Order does not exist."),
        ("GET", {"origClientOrderId": "none"}, -2013, "Order does not exist."),
        ("GET", {}, -1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!"),
        ("DELETE", {"origClientOrderId": "none"}, -2011, "Unknown order sent."),
    ],
)
async def test_looking_for_orders_that_are_not_there(
    sim: RunningSimulator, alice: Keys, method: str, params: dict[str, Any], code: int, message: str
) -> None:
    answer = await sim.signed(alice, method, ORDER, symbol="BTCUSDT", **params)
    assert (answer.status, answer.code, answer.body["msg"]) == (400, code, message)


# keys and signatures


async def test_a_request_without_a_key(sim: RunningSimulator) -> None:
    answer = await sim.raw("GET", "/api/v3/account", query=f"timestamp={sim.now_ms()}")
    assert (answer.status, answer.body) == (401, {"code": -2014, "msg": "API-key format invalid."})


async def test_an_unknown_key(sim: RunningSimulator) -> None:
    answer = await sim.signed(Keys("nobody-has-this-key", "x"), "GET", "/api/v3/account")
    text = "Invalid API-key, IP, or permissions for action."
    assert (answer.status, answer.body) == (401, {"code": -2015, "msg": text})


async def test_a_wrong_secret_and_a_missing_signature(sim: RunningSimulator, alice: Keys) -> None:
    wrong = await sim.signed(Keys(alice.api_key, "guess"), "GET", "/api/v3/account")
    assert (wrong.status, wrong.body) == (400, {"code": -1022, "msg": "Signature for this request is not valid."})
    query = f"timestamp={sim.now_ms()}"
    assert (await sim.raw("GET", "/api/v3/account", query=query, api_key=alice.api_key)).code == -1102


@pytest.mark.parametrize("offset", [-6000, 2000])
async def test_a_timestamp_outside_the_window(sim: RunningSimulator, alice: Keys, offset: int) -> None:
    answer = await sim.signed(alice, "GET", "/api/v3/account", timestamp=sim.now_ms() + offset)
    assert (answer.status, answer.code) == (400, -1021)


async def test_a_key_that_may_not_trade(sim: RunningSimulator) -> None:
    reader = await sim.create_account("reader", permissions={"can_trade": False}, USDT="1000")
    assert (await sim.order(reader, "BUY", "0.001", "60000")).code == -2015
    assert (await sim.signed(reader, "GET", "/api/v3/account")).body["canTrade"] is False


async def test_key_permissions_are_told(sim: RunningSimulator) -> None:
    risky = await sim.create_account("risky", permissions={"can_withdraw": True})
    body = (await sim.signed(risky, "GET", "/sapi/v1/account/apiRestrictions")).body
    assert (body["enableWithdrawals"], body["enableSpotAndMarginTrading"], body["ipRestrict"]) == (True, True, False)


async def test_an_accounts_fees_are_told_by_symbol(sim: RunningSimulator, alice: Keys) -> None:
    told = (await sim.signed(alice, "GET", "/sapi/v1/asset/tradeFee")).body
    assert told == [
        {"symbol": symbol, "makerCommission": "0.001", "takerCommission": "0.001"} for symbol in ("BTCUSDT", "ETHUSDT")
    ]
    assert (await sim.signed(alice, "GET", "/sapi/v1/asset/tradeFee", symbol="BTCUSDT")).body == told[:1]


async def test_the_system_says_that_it_is_up(sim: RunningSimulator) -> None:
    assert (await sim.public("/sapi/v1/system/status")).body == {"status": 0, "msg": "normal"}


async def test_a_key_switched_off_is_refused(sim: RunningSimulator, alice: Keys) -> None:
    await sim.control("POST", "/keys", {"api_key": alice.api_key, "enabled": False})
    assert (await sim.signed(alice, "GET", "/api/v3/account")).code == -2015


# limits


async def test_weight_is_counted_and_its_excess_refused_then_banned() -> None:
    async with running_simulator(budgets=Budgets(weight=100, refusals_to_ban=1)) as sim:
        first = await sim.public("/api/v3/depth", symbol="BTCUSDT", limit=1000)
        assert first.headers["x-mbx-used-weight-1m"] == "50"
        await sim.public("/api/v3/depth", symbol="BTCUSDT", limit=1000)
        refused = await sim.public("/api/v3/ping")
        assert (refused.status, refused.code) == (429, -1003)
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        banned = await sim.public("/api/v3/ping")
        assert (banned.status, banned.code) == (418, -1003)
        assert banned.body["msg"].startswith("Way too much request weight used; IP banned until")
        assert 100 <= int(banned.headers["Retry-After"]) <= 120


async def test_unfilled_orders_are_counted_and_filled_ones_are_not() -> None:
    async with running_simulator(budgets=Budgets(orders_10s=2)) as sim:
        alice = await sim.create_account("alice", USDT="100000")
        for _ in range(4):
            filled = await sim.order(alice, "BUY", "0.001")
            assert filled.headers["x-mbx-order-count-10s"] == "0"
        answers = [await sim.order(alice, "BUY", "0.001", "60000") for _ in range(3)]
        statuses = [answer.status for answer in answers]
        # A new window of ten seconds may have begun in between; then the third passes too.
        assert statuses in ([200, 200, 429], [200, 200, 200])
        if answers[-1].status == 429:
            assert answers[-1].code == -1015
            assert "Retry-After" in answers[-1].headers
