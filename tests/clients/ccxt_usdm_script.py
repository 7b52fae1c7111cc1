# mypy: ignore-errors
# (the client lives in an environment of its own, where mypy doesn't look)
"""ccxt 4.5 at work, at USD-M futures: `python ccxt_usdm_script.py futures|futures_stream`, see sessions.py.

A fault of its own: with addresses that aren't the exchange's it has no classes for the errors of futures only (-2019,
-2022, -4116, -4164), and raises its most general one with the exchange's code in the text.
"""

import asyncio
import json
import sys
from decimal import Decimal

import ccxt
import ccxt.pro

SYMBOL = "BTC/USDT:USDT"
TICK = Decimal("0.1")
UNKNOWN = "999999"
WITHIN_S = 15


def futures(where):
    """Goes long and short, rests, is hit in part, stops, is refused, and reads everything back."""
    alice, bob = (client(where, *where["keys"][name]) for name in ("alice", "bob"))
    alice.load_markets()
    ticker = alice.fetch_bids_asks([SYMBOL])[SYMBOL]
    leverage = alice.set_leverage(10, SYMBOL)
    long = alice.create_order(SYMBOL, "market", "buy", "0.01", None, named("long"))
    limit(alice, "0.01", "50000", "resting")
    near = limit(alice, "0.02", str(Decimal(ticker["ask"]) - TICK), "partial")
    bob.create_order(SYMBOL, "market", "sell", "0.005", None, named("hit"))
    partial = alice.fetch_order(near["id"], SYMBOL)
    stop = alice.create_order(SYMBOL, "market", "sell", "0.01", None, {"stopLossPrice": "50000", **named("stop")})
    refusals = {
        "poor": refusal(limit, alice, "50", "50000", "poor"),
        "tiny": refusal(limit, alice, "0.001", "50000", "tiny"),
        "twin": refusal(limit, alice, "0.01", "50000", "resting"),
        "no_position": refusal(
            alice.create_order, SYMBOL, "market", "buy", "0.01", None, {"reduceOnly": True, **named("no")}
        ),
        "leverage": refusal(alice.set_leverage, 126, SYMBOL),
        "unknown_order": refusal(alice.fetch_order, UNKNOWN, SYMBOL),
        "unknown_cancel": refusal(alice.cancel_order, UNKNOWN, SYMBOL),
        "forged": refusal(client(where, alice.apiKey, "wrong").fetch_balance),
    }
    opened = alice.fetch_open_orders(SYMBOL)
    cancelled = [alice.cancel_order(row["id"], SYMBOL)["info"]["status"] for row in opened]
    alice.create_order(SYMBOL, "market", "sell", "0.035", None, named("short"))
    (position,) = alice.fetch_positions([SYMBOL])
    # Its `total` has the unrealised profit in it; the wallet is in the exchange's own answer.
    (wallet,) = [row for row in alice.fetch_balance()["info"]["assets"] if row["asset"] == "USDT"]
    return {
        "symbols": [row["id"] for row in alice.markets.values()],
        "market": {
            "depth": len(alice.fetch_order_book(SYMBOL, limit=20)["bids"]),
            "klines": len(alice.fetch_ohlcv(SYMBOL, "1m", limit=10)),
            "mark": alice.fetch_mark_price(SYMBOL)["info"]["markPrice"],
            "trades": len(alice.fetch_trades(SYMBOL, limit=5)),
            "time": alice.fetch_time(),
            "commission": alice.fetch_trading_fee(SYMBOL)["taker"],
            "brackets": int(Decimal(alice.fetch_leverage_tiers([SYMBOL])[SYMBOL][0]["maxLeverage"])),
        },
        "top": [ticker["bid"], ticker["ask"]],
        "leverage": int(leverage["leverage"]),
        "long": long["filled"],
        "partial": [partial["info"]["status"], partial["filled"]],
        "stop": [stop["clientOrderId"], stop["info"]["algoStatus"], stop["info"]["orderType"]],
        "open": [row["clientOrderId"] for row in opened],
        "cancelled": cancelled,
        "orders": [[row["clientOrderId"], row["info"]["status"]] for row in alice.fetch_orders(SYMBOL)],
        "position": [position["info"]["positionAmt"], position["entryPrice"]],
        "trades": [
            [int(row["id"]), row["info"]["realizedPnl"], row["takerOrMaker"] == "maker"]
            for row in alice.fetch_my_trades(SYMBOL)
        ],
        "wallet": wallet["walletBalance"],
        "balance": wallet["walletBalance"],
        "income": sorted({row["info"]["incomeType"] for row in alice.fetch_ledger("USDT")}),
        "refusals": refusals,
    }


def client(where, key, secret, kind=ccxt):
    exchange = kind.binanceusdm({"apiKey": key, "secret": secret, "enableRateLimit": False})
    exchange.options |= {"fetchMargins": False, "fetchCurrencies": False, "fetchMarkets": {"types": ["linear"]}}
    for name in ("Public", "Private"):
        for version in (1, 2, 3):
            suffix = "" if version == 1 else f"V{version}"
            exchange.urls["api"][f"fapi{name}{suffix}"] = f"{where['rest_url']}/fapi/v{version}"
    exchange.urls["api"]["sapi"] = where["rest_url"] + "/sapi/v1"
    # It puts /public, /market or /private before the /ws by itself.
    exchange.urls["api"].setdefault("ws", {})["linear"] = where["stream_url"] + "/ws"
    exchange.number = str  # amounts as the text that came, no floats
    return exchange


def named(client_id):
    return {"clientOrderId": client_id}


def limit(who, quantity, price, client_id):
    return who.create_order(SYMBOL, "limit", "buy", quantity, price, named(client_id))


def refusal(method, *args):
    try:
        method(*args)
    except ccxt.BaseError as error:
        return [type(error).__name__, str(error)]
    return None


async def futures_stream(where):
    """Trades by REST while it watches its orders, trades, positions and balances, and the public streams."""
    alice = client(where, *where["keys"]["alice"], ccxt.pro)
    heard = {"orders": [], "trades": [], "positions": [], "balance": None, "book": None, "marks": 0}
    listeners = []
    try:
        await alice.load_markets()
        await alice.authenticate()
        takers = (
            (alice.watch_orders, (), lambda rows: heard["orders"].extend(map(change, rows))),
            (alice.watch_my_trades, (), lambda rows: heard["trades"].extend(map(own_trade, rows))),
            (alice.watch_positions, (), lambda rows: heard["positions"].extend(map(position, rows))),
            (alice.watch_balance, (), lambda told: heard.update(balance=told)),
            (alice.watch_order_book, (SYMBOL,), lambda book: heard.update(book=book)),
            (alice.watch_mark_price, (SYMBOL,), lambda _told: heard.update(marks=heard["marks"] + 1)),
        )
        listeners = [asyncio.create_task(_collect(watch, args, take)) for watch, args, take in takers]
        await asyncio.wait_for(_until(lambda: heard["marks"]), WITHIN_S)
        await alice.create_order(SYMBOL, "market", "buy", "0.01", None, named("long"))
        resting = await alice.create_order(SYMBOL, "limit", "buy", "0.01", "50000", named("resting"))
        await alice.cancel_order(resting["id"], SYMBOL)
        await asyncio.wait_for(_until(lambda: has_ended(heard)), WITHIN_S)
        book = {side: [list(level[:2]) for level in heard["book"][side]] for side in ("bids", "asks")}
        wallet = heard["balance"]["USDT"]["total"]
        return {**heard, "book": book, "balance": wallet}
    finally:
        for listener in listeners:
            listener.cancel()
        failures = await asyncio.gather(*listeners, return_exceptions=True)
        await alice.close()
        for failure in failures:
            if isinstance(failure, Exception):
                raise failure


async def _collect(watch, args, take):
    while True:
        take(await watch(*args))


async def _until(is_so):
    while not is_so():
        await asyncio.sleep(0.05)


def has_ended(heard):
    is_cancelled = any(row[1] == "canceled" for row in heard["orders"])
    return is_cancelled and heard["positions"] and heard["trades"] and heard["balance"] and heard["book"]


def change(row):
    """An order as its stream shows it."""
    return [row["clientOrderId"], row["status"], row["filled"]]


def own_trade(row):
    return [int(row["id"]), row["price"], row["amount"], row["fee"]["cost"], row["takerOrMaker"]]


def position(row):
    return [row["side"], row["contracts"], row["entryPrice"]]


if __name__ == "__main__":
    errand = {"futures": futures, "futures_stream": futures_stream}[sys.argv[1]]
    report = errand(json.load(sys.stdin))
    if asyncio.iscoroutine(report):
        report = asyncio.run(asyncio.wait_for(report, 3 * WITHIN_S))
    sys.stdout.write(json.dumps(report) + "\n")
