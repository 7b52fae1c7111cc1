"""Liquidation at the simulated futures exchange: when, by which orders, and that no money appears or vanishes."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from connections.simulator.matching import Side
from tests.connections.simulator.server import Keys, RunningSimulator, running_simulator

D = Decimal


@pytest.fixture
async def sim() -> AsyncIterator[RunningSimulator]:
    async with running_simulator(symbols=(), perpetuals=("BTCUSDT",)) as running:
        yield running


@pytest.fixture
async def alice(sim: RunningSimulator) -> Keys:
    """Long 0.1 with a hundredth of its worth, an order and a stop below."""
    keys = await sim.create_account("alice", exchange="binance_usdm", USDT="100")
    await sim.signed(keys, "POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=125)
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"}
    resting = {"type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "59000", "newClientOrderId": "low"}
    stop = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": "0.1"}
    for path, body in (
        ("/fapi/v1/order", order),
        ("/fapi/v1/order", {**order, **resting}),
        ("/fapi/v1/algoOrder", {**stop, "triggerPrice": "50000", "clientAlgoId": "stop"}),
    ):
        answer = await sim.signed(keys, "POST", path, **body)
        assert answer.status == 200, answer.body
    return keys


def move_to(sim: RunningSimulator, bid: str) -> None:
    """The best bid is this, and the best ask a step above it; the exchange looks after its accounts."""
    exchange = sim.server.usdm.exchange
    exchange.clear("BTCUSDT")
    exchange.set_top("BTCUSDT", (D(bid), D(5)), (D(bid) + D("0.2"), D(5)))
    sim.server.usdm.liquidations.look()


async def heard(sim: RunningSimulator, keys: Keys, bid: str) -> list[Any]:
    """What the account hears while the price goes there."""
    answer = await sim.raw("POST", "/fapi/v1/listenKey", api_key=keys.api_key)
    async with sim.session.ws_connect(f"{sim.stream_url}/private/ws/{answer.body['listenKey']}") as socket:
        move_to(sim, bid)
        events = [await socket.receive_json(timeout=5)]
        while events[-1].get("a", {}).get("m") != "INSURANCE_CLEAR":
            events.append(await socket.receive_json(timeout=5))
        return events


async def test_margin_that_still_carries_the_position_leaves_it_alone(sim: RunningSimulator, alice: Keys) -> None:
    move_to(sim, "61300")

    (row,) = (await sim.signed(alice, "GET", "/fapi/v3/positionRisk", symbol="BTCUSDT")).body
    assert D(row["positionAmt"]) == D("0.1")
    assert sim.server.usdm.liquidations.count == 0


async def test_orders_end_and_the_position_is_closed_by_the_exchanges_own_order(
    sim: RunningSimulator, alice: Keys
) -> None:
    events = await heard(sim, alice, "61070")

    reports = [event["o"] for event in events if event["e"] == "ORDER_TRADE_UPDATE"]
    assert [event["o"]["X"] for event in events if event["e"] == "ALGO_UPDATE"] == ["EXPIRED"]
    assert [(report["o"], report["x"], report["X"]) for report in reports] == [
        ("LIMIT", "EXPIRED", "EXPIRED"), ("LIQUIDATION", "NEW", "NEW"), ("LIQUIDATION", "CALCULATED", "FILLED"),
    ]  # fmt: skip
    assert (reports[0]["c"], reports[2]["S"], D(reports[2]["l"])) == ("low", "SELL", D("0.1"))
    assert reports[2]["c"].startswith("autoclose-")
    assert (await sim.signed(alice, "GET", "/fapi/v3/positionRisk", symbol="BTCUSDT")).body == []
    assert (await sim.signed(alice, "GET", "/fapi/v1/openAlgoOrders")).body == []
    assert sim.server.usdm.liquidations.count == 1


@pytest.mark.parametrize("bid", ["61070", "60000"], ids=["with a rest", "worth less than nothing"])
async def test_the_insurance_fund_takes_or_pays_and_no_money_is_lost(
    sim: RunningSimulator, alice: Keys, bid: str
) -> None:
    events = await heard(sim, alice, bid)

    told = D(events[-1]["a"]["B"][0]["bc"])
    wallet = D((await sim.ledger(alice))["balances"]["USDT"]["free"])
    bank = sim.server.usdm.bank
    assert (told < 0, wallet) == (bid == "61070", D(0))
    assert wallet + bank.fees["USDT"] + bank.house["USDT"] == 100
    assert D(events[-1]["a"]["B"][0]["wb"]) == wallet


async def test_a_short_position_is_bought_back(sim: RunningSimulator) -> None:
    bob = await sim.create_account("bob", exchange="binance_usdm", USDT="400")
    order = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.1"}
    assert (await sim.signed(bob, "POST", "/fapi/v1/order", **order)).status == 200
    sim.server.usdm.exchange.quote("BTCUSDT", [(Side.SELL, D("61900"), D(5))])
    move_to(sim, "65700")

    (last,) = [row for row in (await sim.ledger(bob))["orders"] if row["client_order_id"].startswith("autoclose-")]
    assert (last["side"], last["status"], D(last["executed"])) == ("BUY", "FILLED", D("0.1"))


async def test_the_ledger_tells_positions_and_can_be_asked_of_one_account(
    sim: RunningSimulator, alice: Keys
) -> None:
    bob = await sim.create_account("bob", exchange="binance_usdm", USDT="400")
    everybody = (await sim.control("GET", "/ledger"))["accounts"]
    alone = (await sim.control("GET", f"/ledger?api_key={alice.api_key}"))["accounts"]

    assert set(everybody) == {alice.api_key, bob.api_key}
    assert alone == {alice.api_key: everybody[alice.api_key]}
    assert D(alone[alice.api_key]["positions"]["BTCUSDT"]["quantity"]) == D("0.1")
    assert everybody[bob.api_key]["positions"] == {}
