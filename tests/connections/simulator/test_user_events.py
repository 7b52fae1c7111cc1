"""User data on the WebSocket API: who hears what, in which order, and the same methods as REST."""

import asyncio
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from connections.simulator.sim_clock import ExchangeClock
from tests.connections.simulator.server import Keys, RunningSimulator, running_simulator

TIMEOUT = 5
ORDER_FIELDS = {*"EscSofqpPFgCxXrilzLnNTtIwmMOZYQWV", "e"}


async def events(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[tuple[int, Any]]:
    messages = [await socket.receive_json(timeout=TIMEOUT) for _ in range(count)]
    return [(message["subscriptionId"], message["event"]) for message in messages]


async def best_bid(sim: RunningSimulator) -> Decimal:
    return Decimal((await sim.public("/api/v3/ticker/bookTicker", symbol="BTCUSDT")).body["bidPrice"])


async def test_a_market_order_is_new_then_traded_then_the_position(sim: RunningSimulator, alice: Keys) -> None:
    async with sim.user_socket(alice) as socket:
        placed = (await sim.order(alice, "BUY", "0.001", newClientOrderId="mine")).body
        (_, new), (_, trade), (_, position) = await events(socket, 3)
    assert set(new) == set(trade) == ORDER_FIELDS
    assert (new["x"], new["X"], new["c"], new["i"], new["t"]) == ("NEW", "NEW", "mine", placed["orderId"], -1)
    [fill] = placed["fills"]
    assert (trade["x"], trade["X"], trade["t"], trade["L"]) == ("TRADE", "FILLED", fill["tradeId"], fill["price"])
    assert (trade["l"], trade["z"], trade["n"], trade["N"]) == ("0.00100000", "0.00100000", "0.00000100", "BTC")
    assert trade["Z"] == trade["Y"] == placed["cummulativeQuoteQty"]
    assert trade["I"] > new["I"]
    assert position["e"] == "outboundAccountPosition"
    assert position["u"] <= position["E"]
    assert {row["a"]: row["f"] for row in position["B"]}["BTC"] == "10.00099900"


class TickingClock(ExchangeClock):
    """A millisecond later whenever somebody looks: two looks at the time of one thing can't agree."""

    _ticks = 0

    def now_ms(self) -> int:
        self._ticks += 1
        return 1_795_000_000_000 + self._ticks


async def test_streams_and_rest_tell_the_same_time_of_a_change() -> None:
    async with running_simulator(clock=TickingClock()) as sim:
        alice = await sim.create_account("alice", USDT="100000")
        async with sim.user_socket(alice) as socket, sim.market_socket("btcusdt@trade") as public:
            bought = (await sim.order(alice, "BUY", "0.001")).body
            rested = (await sim.order(alice, "BUY", "0.001", "60000")).body
            cancelled = (await sim.signed(alice, "DELETE", "/api/v3/openOrders", symbol="BTCUSDT")).body[0]
            reports = [event for _, event in await events(socket, 7) if event["e"] == "executionReport"]
            shown = (await public.receive_json(timeout=TIMEOUT))["data"]
        [own] = (await sim.signed(alice, "GET", "/api/v3/myTrades", symbol="BTCUSDT")).body
    assert [(report["x"], report["T"]) for report in reports] == [
        ("NEW", reports[0]["O"]),
        ("TRADE", bought["transactTime"]),
        ("NEW", rested["transactTime"]),
        ("CANCELED", cancelled["transactTime"]),
    ]
    assert own["time"] == shown["T"] == bought["transactTime"]


async def test_a_maker_hears_of_every_partial_fill(sim: RunningSimulator, alice: Keys, bob: Keys) -> None:
    price = str(await best_bid(sim) + Decimal("0.01"))
    async with sim.user_socket(alice) as socket:
        await sim.order(alice, "BUY", "0.3", price)
        await sim.order(bob, "SELL", "0.1", price)
        await sim.order(bob, "SELL", "0.2", price)
        heard = [event for _, event in await events(socket, 6)]
    trades = [event for event in heard if event.get("x") == "TRADE"]
    assert [(trade["X"], trade["z"], trade["m"]) for trade in trades] == [
        ("PARTIALLY_FILLED", "0.10000000", True),
        ("FILLED", "0.30000000", True),
    ]
    positions = [event for event in heard if event["e"] == "outboundAccountPosition"]
    locked = [{row["a"]: Decimal(row["l"]) for row in position["B"]}["USDT"] for position in positions]
    assert locked == [Decimal(price) * Decimal("0.3"), Decimal(price) * Decimal("0.2"), 0]


async def test_a_cancel_names_both_ids(sim: RunningSimulator, alice: Keys) -> None:
    async with sim.user_socket(alice) as socket:
        await sim.order(alice, "BUY", "0.01", "60000", newClientOrderId="first")
        await sim.signed(
            alice, "DELETE", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="first", newClientOrderId="bye"
        )
        heard = [event for _, event in await events(socket, 4)]
    assert (heard[2]["x"], heard[2]["X"], heard[2]["C"], heard[2]["c"]) == ("CANCELED", "CANCELED", "first", "bye")


async def test_an_expired_order_says_why(sim: RunningSimulator, alice: Keys) -> None:
    async with sim.user_socket(alice) as socket:
        await sim.order(alice, "BUY", "0.01", "60000", timeInForce="FOK")
        heard = [event for _, event in await events(socket, 3)]
    assert (heard[1]["x"], heard[1]["X"], heard[1]["eR"]) == ("EXPIRED", "EXPIRED", "UNFILLED_FOK_ORDER_EXPIRED")


async def test_several_accounts_share_a_connection_and_hear_only_themselves(
    sim: RunningSimulator, alice: Keys, bob: Keys
) -> None:
    async with sim.user_socket(alice, bob) as socket:
        await sim.order(bob, "BUY", "0.001")
        assert {number for number, _ in await events(socket, 3)} == {1}
        await sim.order(alice, "BUY", "0.001")
        assert {number for number, _ in await events(socket, 3)} == {0}


async def test_a_deposit_is_a_position_and_a_balance_update(sim: RunningSimulator, alice: Keys) -> None:
    async with sim.user_socket(alice) as socket:
        await sim.control("POST", "/deposit", {"api_key": alice.api_key, "asset": "USDT", "amount": "5"})
        (_, position), (_, update) = await events(socket, 2)
    assert position["B"] == [{"a": "USDT", "f": "100005.00000000", "l": "0.00000000"}]
    assert (update["e"], update["a"], update["d"]) == ("balanceUpdate", "USDT", "5.00000000")


async def test_unsubscribing_ends_the_events_and_says_so(sim: RunningSimulator, alice: Keys) -> None:
    async with sim.user_socket(alice) as socket:
        await socket.send_json({"id": 9, "method": "userDataStream.unsubscribe", "params": {"subscriptionId": 0}})
        said = [await socket.receive_json(timeout=TIMEOUT) for _ in range(2)]
        ended = next(message for message in said if "event" in message)
        assert (ended["subscriptionId"], ended["event"]["e"]) == (0, "eventStreamTerminated")
        await sim.order(alice, "BUY", "0.001")
        assert (await sim.call(socket, "session.subscriptions"))["result"] == []


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"apiKey": "nobody-has-this-key"}, 401, -2015),
        ({"apiKey": "no"}, 401, -2014),
        ({"signature": "00"}, 400, -1022),
        ({"timestamp": 1}, 400, -1021),
        ({"signature": ""}, 400, -1102),
    ],
)
async def test_refused_subscriptions(
    sim: RunningSimulator, alice: Keys, change: dict[str, Any], status: int, code: int
) -> None:
    async with sim.session.ws_connect(sim.ws_api_url) as socket:
        params = {"apiKey": alice.api_key, "timestamp": sim.now_ms(), "signature": "00", **change}
        await socket.send_json({"id": 1, "method": "userDataStream.subscribe.signature", "params": params})
        answer = await socket.receive_json(timeout=TIMEOUT)
    assert (answer["status"], answer["error"]["code"], answer["id"]) == (status, code, 1)


async def test_an_account_subscribes_once_a_connection(sim: RunningSimulator, alice: Keys) -> None:
    async with sim.user_socket(alice) as socket:
        again = await sim.call(socket, "userDataStream.subscribe.signature", alice)
    assert again["error"]["code"] == -2035


@pytest.mark.parametrize("text", ["no json", "[]", '{"id": 1, "method": "x", "params": 5}'])
async def test_requests_that_are_no_requests(sim: RunningSimulator, text: str) -> None:
    async with sim.session.ws_connect(sim.ws_api_url) as socket:
        await socket.send_str(text)
        assert (await socket.receive_json(timeout=TIMEOUT))["error"]["code"] == -1135


async def test_orders_by_websocket_are_those_of_rest(sim: RunningSimulator, alice: Keys) -> None:
    async with sim.session.ws_connect(sim.ws_api_url) as socket:
        wanted = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
        placed = await sim.call(socket, "order.place", alice, price="60000", newClientOrderId="ws", **wanted)
        assert (placed["status"], placed["result"]["status"]) == (200, "NEW")
        assert {row["rateLimitType"] for row in placed["rateLimits"]} == {"ORDERS", "REQUEST_WEIGHT"}
        seen = await sim.signed(alice, "GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="ws")
        assert seen.body["orderId"] == placed["result"]["orderId"]
        ended = await sim.call(socket, "order.cancel", alice, symbol="BTCUSDT", origClientOrderId="ws")
        assert ended["result"]["status"] == "CANCELED"
        refused = await sim.call(socket, "order.status", alice, symbol="BTCUSDT", orderId=77)
        assert (refused["status"], refused["error"]["code"]) == (400, -2013)
    assert (await sim.ledger(alice))["received"] == {"ws": 1}


async def test_public_methods_by_websocket(sim: RunningSimulator) -> None:
    async with sim.session.ws_connect(sim.ws_api_url + "?returnRateLimits=false") as socket:
        assert await sim.call(socket, "ping") == {"id": "ping", "status": 200, "result": {}}
        depth = await sim.call(socket, "depth", symbol="BTCUSDT", limit=2)
        assert len(depth["result"]["bids"]) == 2
        status = await sim.call(socket, "session.status")
        assert (status["result"]["apiKey"], status["result"]["userDataStream"]) == (None, False)


async def test_a_lost_connection_loses_its_subscriptions(sim: RunningSimulator, alice: Keys) -> None:
    async with sim.user_socket(alice):
        pass
    async with asyncio.timeout(TIMEOUT):
        while (await sim.counters())["sockets"]["user"]:
            await asyncio.sleep(0.01)
    async with sim.user_socket(alice) as socket:
        await sim.order(alice, "BUY", "0.001")
        assert len(await events(socket, 3)) == 3
