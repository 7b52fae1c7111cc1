"""Conditional orders at the simulated futures exchange: they wait, fire once, and say what became of them."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from connections.simulator.matching import Side
from tests.connections.simulator.server import Answer, Keys, RunningSimulator, running_simulator

ALGO = "/fapi/v1/algoOrder"
STOP = {
    "algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": "0.01",
    "clientAlgoId": "stop",
}  # fmt: skip


@pytest.fixture
async def sim() -> AsyncIterator[RunningSimulator]:
    async with running_simulator(symbols=(), perpetuals=("BTCUSDT",)) as running:
        yield running


@pytest.fixture
async def alice(sim: RunningSimulator) -> Keys:
    keys = await sim.create_account("alice", exchange="binance_usdm", USDT="10000")
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
    assert (await sim.signed(keys, "POST", "/fapi/v1/order", **order)).status == 200
    return keys


async def stop(sim: RunningSimulator, keys: Keys, trigger: str, **changes: Any) -> Answer:
    return await sim.signed(keys, "POST", ALGO, **{**STOP, "triggerPrice": trigger, **changes})


def fall_to(sim: RunningSimulator, price: str) -> None:
    """The last price is this one, and somebody buys there; conditional orders hear of it as by the clock."""
    usdm = sim.server.usdm
    usdm.exchange.print_trade("BTCUSDT", Side.SELL, Decimal(price), Decimal("0.001"))
    usdm.exchange.quote("BTCUSDT", [(Side.BUY, Decimal(price), Decimal(1))])
    usdm._algo.trigger()


async def position(sim: RunningSimulator, keys: Keys) -> Decimal:
    (row,) = (await sim.signed(keys, "GET", "/fapi/v2/positionRisk", symbol="BTCUSDT")).body
    return Decimal(row["positionAmt"])


async def test_a_stop_waits_and_then_closes_the_position_once(sim: RunningSimulator, alice: Keys) -> None:
    placed = await stop(sim, alice, "60000", reduceOnly="true")
    fall_to(sim, "60000.1")
    waiting = (await sim.signed(alice, "GET", ALGO, clientAlgoId="stop")).body
    fall_to(sim, "60000")
    fall_to(sim, "59999")
    fired = (await sim.signed(alice, "GET", ALGO, algoId=placed.body["algoId"])).body

    assert (placed.status, waiting["algoStatus"], fired["algoStatus"]) == (200, "NEW", "TRIGGERED")
    assert await position(sim, alice) == 0
    held = [row["order_id"] for row in (await sim.ledger(alice))["orders"]]
    assert str(held[-1]) == fired["actualOrderId"]
    assert len(held) == 2


async def test_a_stop_whose_order_isnt_taken_is_rejected(sim: RunningSimulator, alice: Keys) -> None:
    await stop(sim, alice, "60000", reduceOnly="true")
    close = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.01"}
    await sim.signed(alice, "POST", "/fapi/v1/order", **close)
    fall_to(sim, "60000")

    assert (await sim.signed(alice, "GET", ALGO, clientAlgoId="stop")).body["algoStatus"] == "REJECTED"


async def test_it_can_be_cancelled_until_it_fires(sim: RunningSimulator, alice: Keys) -> None:
    await stop(sim, alice, "60000")
    opened = (await sim.signed(alice, "GET", "/fapi/v1/openAlgoOrders")).body
    cancelled = await sim.signed(alice, "DELETE", ALGO, clientAlgoId="stop")
    fall_to(sim, "50000")

    assert [row["clientAlgoId"] for row in opened] == ["stop"]
    assert (cancelled.status, cancelled.body["clientAlgoId"]) == (200, "stop")
    assert (await sim.signed(alice, "DELETE", ALGO, clientAlgoId="stop")).code == -2011
    assert await position(sim, alice) == Decimal("0.01")


async def test_what_would_fire_at_once_or_came_the_old_way_is_refused(sim: RunningSimulator, alice: Keys) -> None:
    old = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "stopPrice": "50000", "quantity": "0.01"}

    assert (await stop(sim, alice, "70000")).code == -2021
    assert (await stop(sim, alice, "50000", type="TRAILING")).code == -1116
    assert (await sim.signed(alice, "POST", ALGO, **STOP)).code == -1102
    assert (await sim.signed(alice, "POST", "/fapi/v1/order", **old)).code == -4120


async def test_a_stop_that_closes_the_position_closes_what_there_is_by_then(
    sim: RunningSimulator, alice: Keys
) -> None:
    whole = {name: value for name, value in STOP.items() if name != "quantity"}
    answer = await sim.signed(alice, "POST", ALGO, **whole, triggerPrice="60000", closePosition="true")
    more = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.02"}
    await sim.signed(alice, "POST", "/fapi/v1/order", **more)
    assert await position(sim, alice) == Decimal("0.03")
    fall_to(sim, "60000")

    assert answer.body["closePosition"] is True
    assert await position(sim, alice) == 0
    assert (await stop(sim, alice, "50000", closePosition="true")).code == -4137
    with_price = {"type": "STOP", "price": "50000", "closePosition": "true"}
    assert (await sim.signed(alice, "POST", ALGO, **whole | with_price, triggerPrice="50000")).code == -4136


async def test_without_a_position_a_stop_that_closes_it_expires(sim: RunningSimulator, alice: Keys) -> None:
    whole = {name: value for name, value in STOP.items() if name != "quantity"}
    await sim.signed(alice, "POST", ALGO, **whole, triggerPrice="60000", closePosition="true")
    close = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.01"}
    await sim.signed(alice, "POST", "/fapi/v1/order", **close)
    fall_to(sim, "60000")

    assert (await sim.signed(alice, "GET", ALGO, clientAlgoId="stop")).body["algoStatus"] == "EXPIRED"


async def test_a_trailing_stop_follows_the_price_and_fires_when_it_comes_back(
    sim: RunningSimulator, alice: Keys
) -> None:
    trailing = {**STOP, "type": "TRAILING_STOP_MARKET", "callbackRate": "1", "activatePrice": "62000"}
    placed = await sim.signed(alice, "POST", ALGO, **trailing, reduceOnly="true")

    async def after(price: str) -> Any:
        fall_to(sim, price)
        return (await sim.signed(alice, "GET", ALGO, clientAlgoId="stop")).body["algoStatus"]

    assert (placed.status, placed.body["callbackRate"]) == (200, "1")
    assert [await after(price) for price in ("61000", "62000", "63000", "62371", "62370")] == [
        "NEW", "NEW", "NEW", "NEW", "TRIGGERED",
    ]  # fmt: skip
    assert await position(sim, alice) == 0
    assert (await sim.signed(alice, "POST", ALGO, **{**trailing, "callbackRate": "11"})).code == -2007
