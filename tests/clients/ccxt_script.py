# mypy: ignore-errors
# (the client lives in an environment of its own, where mypy doesn't look)
"""ccxt 4.5 at work, at Binance spot: `python ccxt_script.py trade|stream|book`, see sessions.py."""

import asyncio
import json
import sys
from decimal import Decimal

import ccxt
import ccxt.pro

SYMBOL = "BTC/USDT"
TICK = Decimal("0.01")
UNKNOWN = "999999"
WITHIN_S = 15


def trade(where):
    """Buys, sells, rests, cancels, is refused, and reads everything back, by REST."""
    alice, bob = (client(where, *where["keys"][name]) for name in ("alice", "bob"))
    alice.load_markets()
    ticker = alice.fetch_bids_asks([SYMBOL])[SYMBOL]
    inside = str(Decimal(ticker["ask"]) - TICK)
    answers = {
        "market": alice.create_order(SYMBOL, "market", "buy", "0.01", None, named("market")),
        "cost": alice.create_market_buy_order_with_cost(SYMBOL, "200", named("cost")),
        "partial": limit(alice, "partial", "0.02", inside),
        "hit": bob.create_order(SYMBOL, "market", "sell", "0.005", None, named("hit")),
        "resting": limit(alice, "resting", "0.001", "50000"),
        "unwanted": limit(alice, "unwanted", "0.001", "49000"),
    }
    seen_partial = alice.fetch_order(answers["partial"]["id"], SYMBOL)
    before_cancel = alice.fetch_open_orders(SYMBOL)
    post_only = {"postOnly": True}
    refusals = {
        "poor": refusal(limit, alice, "poor", "10", "60000"),
        "tiny": refusal(limit, alice, "tiny", "0.00001", "50000"),
        "twin": refusal(limit, alice, "resting", "0.001", "50000"),
        "taking_maker": refusal(alice.create_order, SYMBOL, "limit", "buy", "0.001", ticker["ask"], post_only),
        "unknown_cancel": refusal(alice.cancel_order, UNKNOWN, SYMBOL),
        "unknown_order": refusal(alice.fetch_order, UNKNOWN, SYMBOL),
        "forged": refusal(client(where, alice.apiKey, "wrong").fetch_balance),
    }
    cancels = {
        "partial": alice.cancel_order(answers["partial"]["id"], SYMBOL),
        "unwanted": alice.cancel_order("", SYMBOL, {"clientOrderId": "unwanted"}),
    }
    return {
        "market": market(alice),
        "top": [ticker["bid"], ticker["ask"]],
        "answers": {name: order(answer) for name, answer in answers.items()},
        "seen_partial": order(seen_partial),
        "open_before_cancel": [int(row["id"]) for row in before_cancel],
        "cancels": {name: order(answer) for name, answer in cancels.items()},
        "refusals": refusals,
        "orders": [order(row) for row in alice.fetch_orders(SYMBOL)],
        "open_orders": [int(row["id"]) for row in alice.fetch_open_orders(SYMBOL)],
        "trades": [own_trade(row) for row in alice.fetch_my_trades(SYMBOL)],
        "balances": balances(alice.fetch_balance()),
    }


def client(where, key, secret, kind=ccxt.binance):
    exchange = kind({"apiKey": key, "secret": secret, "enableRateLimit": False})
    exchange.options |= {"fetchMargins": False, "fetchCurrencies": False, "fetchMarkets": {"types": ["spot"]}}
    exchange.urls["api"] |= {
        "public": where["rest_url"] + "/api/v3",
        "private": where["rest_url"] + "/api/v3",
        "sapi": where["rest_url"] + "/sapi/v1",
    }
    sockets = {"spot": where["stream_url"] + "/ws", "ws-api": {"spot": where["ws_api_url"]}}
    exchange.urls["api"].setdefault("ws", {}).update(sockets)
    exchange.number = str  # amounts as the text that came, no floats
    return exchange


def named(client_id):
    return {"clientOrderId": client_id}


def limit(who, client_id, quantity, price):
    return who.create_order(SYMBOL, "limit", "buy", quantity, price, named(client_id))


def market(who):
    """Public data; each call must be understood, some of it is compared."""
    listed = who.market(SYMBOL)
    return {
        "status": who.fetch_status()["status"],
        "server_time": who.fetch_time(),
        "symbol": listed["id"],
        "limits": [listed["precision"]["price"], listed["precision"]["amount"], listed["limits"]["cost"]["min"]],
        "depth": len(who.fetch_order_book(SYMBOL, limit=20)["bids"]),
        "klines": len(who.fetch_ohlcv(SYMBOL, "1m", limit=10)),
        "trades": len(who.fetch_trades(SYMBOL, limit=5)),
        "last": who.fetch_ticker(SYMBOL)["last"],
        "prices": len(who.fetch_last_prices()),
        "commission": who.fetch_trading_fee(SYMBOL)["taker"],
    }


def order(row):
    return {
        "order_id": int(row["id"]),
        "client_order_id": row["info"].get("origClientOrderId") or row["clientOrderId"],
        "side": row["side"].upper(),
        "type": row["type"].upper(),
        "status": row["info"]["status"],
        "unified_status": row["status"],
        "quantity": row["amount"],
        "executed": row["filled"],
        "quote_executed": row["cost"],
        "price": row["price"],
        "fills": [int(fill["id"]) for fill in row["trades"]],
    }


def change(row):
    """An order as its stream shows it."""
    return [row["clientOrderId"], row["status"], row["filled"]]


def own_trade(row):
    return {
        "trade_id": int(row["id"]),
        "order_id": int(row["order"]),
        "price": row["price"],
        "quantity": row["amount"],
        "quote": row["cost"],
        "commission": row["fee"]["cost"],
        "commission_asset": row["fee"]["currency"],
        "is_buyer": row["side"] == "buy",
        "is_maker": row["takerOrMaker"] == "maker",
        "time_ms": row["timestamp"],
    }


def balances(account):
    return {asset: [account["free"][asset], account["used"][asset]] for asset in account["free"]}


def refusal(method, *args, **kwargs):
    try:
        method(*args, **kwargs)
    except ccxt.BaseError as error:
        return [type(error).__name__, str(error)]
    return None


async def stream(where):
    """Trades by the WebSocket API while it listens to its orders, trades and balances."""
    alice = client(where, *where["keys"]["alice"], ccxt.pro.binance)
    heard = {"orders": [], "trades": [], "balance": None}
    listeners = []
    try:
        await alice.load_markets()
        await alice.ensure_user_data_stream_ws_subscribe_signature("spot")
        takers = (
            (alice.watch_orders, lambda rows: heard["orders"].extend(map(change, rows))),
            (alice.watch_my_trades, lambda rows: heard["trades"].extend(map(own_trade, rows))),
            (alice.watch_balance, lambda found: heard.update(balance=balances(found))),
        )
        listeners += [asyncio.create_task(_collect(watch, take)) for watch, take in takers]
        while len(alice.clients[where["ws_api_url"]].futures) < len(listeners):
            await asyncio.sleep(0.02)
        await _trade_by_websocket(alice, client(where, *where["keys"]["bob"]))
        await asyncio.wait_for(_until_quiet(heard), WITHIN_S)
    finally:
        for listener in listeners:
            listener.cancel()
        await alice.close()
    return heard


async def _collect(watch, take):
    while True:
        take(await watch())


async def _trade_by_websocket(alice, bob):
    ask = str((await alice.fetch_order_book(SYMBOL, limit=5))["asks"][0][0])
    inside = str(Decimal(ask) - TICK)
    await alice.create_order_ws(SYMBOL, "market", "buy", "0.01", None, {"newClientOrderId": "market"})
    partial = await alice.create_order_ws(
        SYMBOL, "limit", "buy", "0.02", inside, {"newClientOrderId": "partial"}
    )
    await asyncio.to_thread(bob.create_order, SYMBOL, "market", "sell", "0.005", None, named("hit"))
    await alice.cancel_order_ws(partial["id"], SYMBOL)


async def _until_quiet(heard):
    """Until the cancellation, the last thing that happens, is heard, with the balance after it."""
    while not heard["orders"] or heard["orders"][-1][1] != "canceled":
        await asyncio.sleep(0.05)
    while heard["balance"] is None or Decimal(heard["balance"]["USDT"][1]) != 0:
        await asyncio.sleep(0.05)


async def book(where):
    """Keeps a local book of a moving market, and compares it with the exchange's own once that stands still."""
    exchange = client(where, *where["keys"]["alice"], ccxt.pro.binance)
    try:
        for _ in range(30):
            await asyncio.wait_for(exchange.watch_order_book(SYMBOL), WITHIN_S)
        sys.stdout.write("still\n")
        sys.stdout.flush()
        theirs = await _standing_still(exchange)
        while exchange.orderbooks[SYMBOL]["nonce"] != theirs["nonce"]:
            await asyncio.sleep(0.05)
        books = {"mine": exchange.orderbooks[SYMBOL], "theirs": theirs}
        return {name: {side: book[side] for side in ("bids", "asks")} for name, book in books.items()}
    finally:
        await exchange.close()


async def _standing_still(exchange):
    """The exchange's book when it has stopped moving: the same twice, more than a step of the market apart."""
    before = await exchange.fetch_order_book(SYMBOL, limit=1000)
    while True:
        await asyncio.sleep(0.5)
        after = await exchange.fetch_order_book(SYMBOL, limit=1000)
        if after["nonce"] == before["nonce"]:
            return after
        before = after


if __name__ == "__main__":
    errand = {"trade": trade, "stream": stream, "book": book}[sys.argv[1]]
    report = errand(json.load(sys.stdin))
    if asyncio.iscoroutine(report):
        report = asyncio.run(asyncio.wait_for(report, 2 * WITHIN_S))
    sys.stdout.write(json.dumps(report) + "\n")
