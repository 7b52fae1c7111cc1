"""Under busy trading, everything the simulator says agrees: events, ledger, balances, and the sum of all money."""

import asyncio
from collections import defaultdict
from decimal import Decimal
from random import Random
from typing import Any

import aiohttp

from connections.simulator.binance.limits import Budgets
from tests.connections.simulator.server import Keys, RunningSimulator, running_simulator

OWNERS = 4
ORDERS_EACH = 60
OPEN_HANDED = Budgets(weight=10**9, orders_10s=10**9, orders_1d=10**9)
TIMEOUT = 10


def _order(random: Random, quote: Any, client_id: str) -> dict[str, str]:
    side = random.choice(["BUY", "SELL"])
    base = Decimal(quote["bidPrice"] if side == "BUY" else quote["askPrice"])
    near = str((base * Decimal(random.choice(["0.9997", "0.9999", "1", "1.0001", "1.0003"]))).quantize(Decimal("0.01")))
    kinds: list[dict[str, str]] = [
        {"type": "MARKET", "quantity": "0.02"},
        {"type": "MARKET", "quoteOrderQty": "500"},
        {"type": "LIMIT", "quantity": "0.05", "price": near, "timeInForce": random.choice(["GTC", "IOC", "FOK"])},
        {"type": "LIMIT", "quantity": "0.05", "price": near, "timeInForce": "GTC"},
        {"type": "LIMIT_MAKER", "quantity": "0.05", "price": near},
        {"type": "STOP_LOSS", "quantity": "0.02", "stopPrice": near},
        {"type": "TAKE_PROFIT_LIMIT", "quantity": "0.02", "stopPrice": near, "price": near, "timeInForce": "GTC"},
    ]
    return {"symbol": "BTCUSDT", "side": side, "newClientOrderId": client_id, **random.choice(kinds)}


async def _trade(sim: RunningSimulator, keys: Keys, number: int) -> None:
    random = Random(number)
    for count in range(ORDERS_EACH):
        quote = (await sim.public("/api/v3/ticker/bookTicker", symbol="BTCUSDT")).body
        await sim.signed(keys, "POST", "/api/v3/order", **_order(random, quote, f"order-{count}"))
        if random.random() < 0.2:
            await sim.signed(keys, "DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
    await sim.signed(keys, "DELETE", "/api/v3/openOrders", symbol="BTCUSDT")


async def _listen(socket: aiohttp.ClientWebSocketResponse, heard: dict[int, list[Any]]) -> None:
    """Collects events until the answer to a request says that all before it have come."""
    while "id" not in (message := await socket.receive_json(timeout=TIMEOUT)):
        heard[message["subscriptionId"]].append(message["event"])


def _assert_agreement(ledger: Any, heard: list[Any]) -> None:
    reports = [event for event in heard if event["e"] == "executionReport"]
    assert [event["t"] for event in reports if event["x"] == "TRADE"] == [row["trade_id"] for row in ledger["fills"]]
    told = {event["i"]: (event["X"], Decimal(event["z"]), Decimal(event["Z"])) for event in reports}
    orders = ledger["orders"]
    assert told == {
        row["order_id"]: (row["status"], Decimal(row["executed"]), Decimal(row["quote_executed"])) for row in orders
    }
    balances = {row["a"]: (Decimal(row["f"]), Decimal(row["l"])) for event in heard for row in event.get("B", [])}
    assert balances == {
        asset: (Decimal(row["free"]), Decimal(row["locked"])) for asset, row in ledger["balances"].items()
    }
    assert all(locked == 0 for _, locked in balances.values())


async def test_events_ledger_and_money_agree_after_busy_trading() -> None:
    heard: dict[int, list[Any]] = defaultdict(list)
    async with running_simulator(speed=20, symbols=("BTCUSDT",), budgets=OPEN_HANDED) as sim:
        owners = [await sim.create_account(f"owner{number}", USDT="1000000", BTC="10") for number in range(OWNERS)]
        async with sim.user_socket(*owners) as socket:
            listening = asyncio.create_task(_listen(socket, heard))
            await asyncio.gather(*(_trade(sim, keys, number) for number, keys in enumerate(owners)))
            await socket.send_json({"id": "last", "method": "ping"})
            await listening
        whole = await sim.control("GET", "/ledger")
    for number, keys in enumerate(owners):
        _assert_agreement(whole["accounts"][keys.api_key], heard[number])
    for asset, deposited in (("USDT", 4_000_000), ("BTC", 40)):
        owned = [account["balances"][asset] for account in whole["accounts"].values()]
        total = sum(Decimal(row["free"]) + Decimal(row["locked"]) for row in owned)
        assert total + Decimal(whole["fees"].get(asset, "0")) + Decimal(whole["house"][asset]) == deposited
    fills = [fill for account in whole["accounts"].values() for fill in account["fills"]]
    assert {fill["is_maker"] for fill in fills} == {True, False}
