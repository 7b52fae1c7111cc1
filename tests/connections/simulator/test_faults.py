"""Scripted faults: each does what its name says, where and as often as told, and is counted."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from connections.simulator.control import TOKEN_HEADER
from connections.simulator.faults import Fault, FaultBox, FaultKind, Occasion
from tests.connections.simulator.server import Keys, RunningSimulator, running_simulator

TIMEOUT = 5
ORDER = "/api/v3/order"


async def fired(sim: RunningSimulator, kind: str) -> int:
    count: int = (await sim.counters())["faults"].get(kind, 0)
    return count


def strikes(fault: Fault, count: int, occasion: Occasion | None = None) -> list[bool]:
    box = FaultBox()
    box.add(fault)
    return [box.strike(fault.kind, occasion or Occasion(path=ORDER)) is not None for _ in range(count)]


# where and how often


def test_a_fault_strikes_after_some_occasions_and_so_many_times() -> None:
    assert strikes(Fault(kind=FaultKind.DELAY, after=2, count=2), 6) == [False, False, True, True, False, False]


@pytest.mark.parametrize(
    ("limits", "hits"),
    [
        ({}, True),
        ({"path": "/api/v3"}, True),
        ({"path": "/sapi"}, False),
        ({"method": "POST"}, True),
        ({"method": "GET"}, False),
        ({"symbol": "BTCUSDT", "api_key": "alice"}, True),
        ({"symbol": "ETHUSDT"}, False),
        ({"api_key": "bob"}, False),
    ],
)
def test_a_fault_strikes_only_what_it_names(limits: dict[str, str], hits: bool) -> None:
    occasion = Occasion(ORDER, "POST", "BTCUSDT", "alice")
    assert strikes(Fault(kind=FaultKind.DELAY, **limits), 1, occasion) == [hits]  # type: ignore[arg-type]


def test_chance_is_seeded() -> None:
    fault: Callable[[], Fault] = lambda: Fault(kind=FaultKind.DELAY, probability=0.5)  # noqa: E731
    first = strikes(fault(), 100)
    assert first == strikes(fault(), 100)
    assert 20 < sum(first) < 80


# requests


async def test_an_http_error_is_given_and_nothing_is_processed(sim: RunningSimulator, alice: Keys) -> None:
    await sim.fault("http_error", path=ORDER, count=1, status=429, code=-1003, message="slow down", retry_after=7)
    refused = await sim.order(alice, "BUY", "0.001")
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (429, -1003, "7")
    assert (await sim.order(alice, "BUY", "0.001")).status == 200
    assert ((await sim.counters())["orders"], await fired(sim, "http_error")) == (1, 1)


async def test_a_dropped_request_is_received_but_not_processed(sim: RunningSimulator, alice: Keys) -> None:
    await sim.fault("drop_before", path=ORDER, count=1)
    with pytest.raises(aiohttp.ClientError):
        await sim.order(alice, "BUY", "0.001", newClientOrderId="lost")
    ledger = await sim.ledger(alice)
    assert (ledger["received"], ledger["orders"]) == ({"lost": 1}, [])
    assert await fired(sim, "drop_before") == 1


async def test_an_accepted_order_whose_answer_never_comes_has_traded(sim: RunningSimulator, alice: Keys) -> None:
    await sim.fault("accept_then_timeout", path=ORDER, method="POST", count=1)
    with pytest.raises(aiohttp.ClientError):
        await sim.order(alice, "BUY", "0.001", newClientOrderId="quiet")
    seen = await sim.signed(alice, "GET", ORDER, symbol="BTCUSDT", origClientOrderId="quiet")
    assert seen.body["status"] == "FILLED"
    assert await fired(sim, "accept_then_timeout") == 1


async def test_a_delay_holds_the_request_back(sim: RunningSimulator, alice: Keys) -> None:
    await sim.fault("delay", path=ORDER, count=1, seconds=60)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await sim.order(alice, "BUY", "0.001")
    assert ((await sim.counters())["orders"], await fired(sim, "delay")) == (0, 1)


async def test_a_malformed_answer_comes_after_processing(sim: RunningSimulator, alice: Keys) -> None:
    await sim.fault("malformed", path=ORDER, count=1, status=200)
    answer = await sim.order(alice, "BUY", "0.001")
    assert (answer.status, answer.body[:6]) == (200, "<html>")
    await sim.fault("malformed", path="/api/v3/time", count=1, status=200, payload='{"time": {"now": 5}}')
    assert (await sim.public("/api/v3/time")).body == {"time": {"now": 5}}
    assert ((await sim.counters())["orders"], await fired(sim, "malformed")) == (1, 2)


async def test_a_websocket_handshake_can_be_refused(sim: RunningSimulator) -> None:
    await sim.fault("http_error", path="/stream", count=1, status=503)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await sim.session.ws_connect(f"{sim.stream_url}/stream?streams=btcusdt@trade")
    async with sim.market_socket("btcusdt@trade"):
        assert await fired(sim, "http_error") == 1


# sockets


@pytest.mark.parametrize("abort", [False, True])
async def test_sockets_of_one_kind_are_cut(sim: RunningSimulator, alice: Keys, abort: bool) -> None:
    async with sim.market_socket("btcusdt@trade") as market, sim.user_socket(alice) as user:
        await sim.fault("ws_cut", socket="market", abort=abort)
        async with asyncio.timeout(TIMEOUT):
            while not market.closed:
                await market.receive()
        assert market.close_code == (1006 if abort else 1001)
        assert (await sim.call(user, "ping"))["status"] == 200
    assert await fired(sim, "ws_cut") == 1


async def test_a_frozen_socket_says_nothing_then_everything(sim: RunningSimulator, alice: Keys) -> None:
    async with sim.market_socket("btcusdt@trade") as socket:
        await sim.fault("ws_freeze", socket="market", seconds=0.6)
        await sim.order(alice, "BUY", "0.001")
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.2)
        assert (await socket.receive_json(timeout=TIMEOUT))["data"]["e"] == "trade"
    assert await fired(sim, "ws_freeze") == 1


async def test_a_swallowed_delta_leaves_a_gap() -> None:
    async with running_simulator(speed=20, symbols=("BTCUSDT",)) as sim:
        await sim.fault("depth_gap", symbol="BTCUSDT", after=1, count=1)
        async with sim.market_socket("btcusdt@depth@100ms") as socket:
            deltas = [(await socket.receive_json(timeout=TIMEOUT))["data"] for _ in range(3)]
        gaps = [later["U"] != delta["u"] + 1 for delta, later in itertools.pairwise(deltas)]
        assert gaps == [True, False]
        assert await fired(sim, "depth_gap") == 1


# user events


async def _heard(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[Any]:
    return [(await socket.receive_json(timeout=TIMEOUT))["event"] for _ in range(count)]


async def test_events_may_come_twice(sim: RunningSimulator, alice: Keys) -> None:
    await sim.fault("duplicate_event", api_key=alice.api_key, count=1)
    async with sim.user_socket(alice) as socket:
        await sim.order(alice, "BUY", "0.001")
        heard = await _heard(socket, 6)
    assert heard[0::2] == heard[1::2]
    assert await fired(sim, "duplicate_event") == 1


async def test_events_may_come_in_another_order(sim: RunningSimulator, alice: Keys) -> None:
    await sim.fault("reorder_events", count=1)
    async with sim.user_socket(alice) as socket:
        await sim.order(alice, "BUY", "0.001")
        heard = await _heard(socket, 3)
    assert [event.get("x", event["e"]) for event in heard] == ["outboundAccountPosition", "TRADE", "NEW"]
    assert await fired(sim, "reorder_events") == 1


async def test_fills_may_come_late(sim: RunningSimulator, alice: Keys) -> None:
    await sim.fault("late_fills", count=1, seconds=0.3)
    async with sim.user_socket(alice) as socket:
        await sim.order(alice, "BUY", "0.001", newClientOrderId="late")
        await sim.order(alice, "BUY", "0.001", newClientOrderId="prompt")
        heard = [event["c"] for event in await _heard(socket, 6) if event["e"] == "executionReport"]
    assert heard == ["prompt", "prompt", "late", "late"]
    assert await fired(sim, "late_fills") == 1


# the clock


async def test_the_clock_may_be_off(sim: RunningSimulator, alice: Keys) -> None:
    mine = sim.now_ms()
    await sim.fault("clock_skew", milliseconds=60_000)
    assert (await sim.public("/api/v3/time")).body["serverTime"] >= mine + 60_000
    assert (await sim.signed(alice, "GET", "/api/v3/account", timestamp=mine)).code == -1021
    assert await fired(sim, "clock_skew") == 1
    await sim.control("DELETE", "/faults")
    assert (await sim.signed(alice, "GET", "/api/v3/account", timestamp=sim.now_ms())).status == 200


# control


async def test_control_is_hidden_without_its_token(sim: RunningSimulator) -> None:
    for headers in ({}, {TOKEN_HEADER: "guess"}):
        async with sim.session.get(sim.control_url + "/ledger", headers=headers) as response:
            assert response.status == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/faults", {"kind": "earthquake"}),
        ("/faults", {"kind": "delay", "colour": "red"}),
        ("/accounts", {"api_key": "some-new-api-key"}),
        ("/accounts", {"api_key": "some-new-api-key", "api_secret": "x", "balances": {"BTC": "NaN"}}),
        ("/accounts", {"api_key": "alice-api-key-0000", "api_secret": "x"}),
        ("/withdraw", {"api_key": "alice-api-key-0000", "asset": "BTC", "amount": "11"}),
        ("/deposit", {"api_key": "nobody-has-this-key", "asset": "BTC", "amount": "1"}),
        ("/keys", {"api_key": "alice-api-key-0000", "permissions": {"can_fly": True}}),
    ],
)
async def test_control_refuses_what_makes_no_sense(
    sim: RunningSimulator, alice: Keys, path: str, body: dict[str, Any]
) -> None:
    headers = {TOKEN_HEADER: sim.control_token}
    async with sim.session.post(sim.control_url + path, json=body, headers=headers) as response:
        assert response.status == 400
    assert (await sim.ledger(alice))["balances"]["BTC"]["free"] == "10"
