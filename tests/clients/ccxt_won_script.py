# mypy: ignore-errors
# (the client lives in an environment of its own, where mypy doesn't look)
"""ccxt's Upbit and Bithumb at work: `python ccxt_won_script.py trade|stream`, see sessions.py.

ccxt's own faults, and how the script lives with them: at Bithumb it cuts every price to four significant digits, so
it trades where four are enough; a market buy there tells its budget as the amount (a `cost` it multiplies by a price
that isn't given); its orders there say nothing of what was filled (it knows the first generation's names only), so that
is read from the exchange's own answer; it has no names for Bithumb's errors; and at Upbit it looks up by the exchange's
id only (asked by the client's, it sends `uuid=None` too).
"""

import asyncio
import json
import sys

import ccxt
import ccxt.pro

# Around 3,894,000 won, in steps of 1,000: four digits say every price.
SYMBOL = "ETH/KRW"
STEP = 1000
UNKNOWN = "00000000-0000-0000-0000-0000000000ff"
WITHIN_S = 15


def trade(where):
    """Reads the market, buys, sells, rests, is hit in part, cancels, is refused, and reads everything back."""
    venue = where["exchange"]
    alice, bob = (client(where, *where["keys"][name]) for name in ("alice", "bob"))
    alice.load_markets()
    book = alice.fetch_order_book(SYMBOL)
    ask = book["asks"][0][0]
    made = {
        "cost": buy_for(alice, venue, 200000, "cost"),
        "sell": alice.create_order(SYMBOL, "market", "sell", 0.01, None, named("sell")),
        "ioc": alice.create_order(SYMBOL, "limit", "buy", 0.02, ask, {"timeInForce": "IOC", **named("ioc")}),
        "resting": alice.create_order(SYMBOL, "limit", "buy", 0.1, 2000000, named("resting")),
        "near": alice.create_order(SYMBOL, "limit", "sell", 0.02, inside(book), named("near")),
    }
    hit = buy_for(bob, venue, 50000, "hit")
    opened = alice.fetch_open_orders(SYMBOL)
    cancelled = [alice.cancel_order(made[name]["id"])["id"] for name in ("resting", "near")]
    return {
        "top": [book["bids"][0][0], book["asks"][0][0]],
        "last": alice.fetch_ticker(SYMBOL)["last"],
        "klines": len(alice.fetch_ohlcv(SYMBOL, "1m", limit=10)),
        "trades": len(alice.fetch_trades(SYMBOL, limit=5)),
        "fee": alice.fetch_trading_fee(SYMBOL)["taker"] if venue == "upbit" else None,
        "made": {name: row["id"] for name, row in made.items()},
        "hit": hit["id"],
        "open": sorted([row["id"], row["clientOrderId"], row["status"]] for row in opened),
        "cancelled": cancelled,
        "orders": {name: order(alice.fetch_order(row["id"])) for name, row in made.items()},
        "by_client_id": by_client_id(alice, venue),
        "ended": sorted(row["id"] for row in ended(alice, venue)),
        "balances": {asset: [held["free"], held["used"]] for asset, held in balances(alice).items()},
        "refusals": {
            "poor": refusal(alice.create_order, SYMBOL, "limit", "buy", 10, 2000000),
            "tiny": refusal(alice.create_order, SYMBOL, "limit", "buy", 0.001, 2000000),
            "off_step": refusal(alice.create_order, SYMBOL, "limit", "buy", 0.1, 500100),
            "burned": refusal(alice.create_order, SYMBOL, "limit", "buy", 0.1, 2000000, named("resting")),
            "ended": refusal(alice.cancel_order, made["resting"]["id"]),
            "unknown": refusal(alice.fetch_order, UNKNOWN),
            "forged": refusal(client(where, where["keys"]["alice"][0], "another-secret-0123456789").fetch_balance),
        },
    }


def client(where, key, secret, kind=ccxt):
    # Upbit's simulator holds to its 8 orders a second, so the client holds to its own pace there.
    is_paced = where["exchange"] == "upbit"
    exchange = getattr(kind, where["exchange"])({"apiKey": key, "secret": secret, "enableRateLimit": is_paced})
    url, sockets = (where[name] + "/" + where["exchange"] for name in ("rest_url", "stream_url"))
    # At Upbit it puts /private behind the public address by itself.
    ws = sockets + "/websocket/v1"
    if where["exchange"] == "bithumb":
        ws = {"publicGen2": ws, "privateGen2": sockets + "/websocket/v2/private"}
    exchange.urls["api"] = {"public": url, "private": url, "ws": ws}
    exchange.number = str  # amounts as the text that came, no floats
    return exchange


def named(client_id):
    return {"clientOrderId": client_id}


def buy_for(who, venue, budget, client_id):
    if venue == "upbit":
        return who.create_market_buy_order_with_cost(SYMBOL, budget, named(client_id))
    params = {"createMarketBuyOrderRequiresPrice": False, **named(client_id)}
    return who.create_order(SYMBOL, "market", "buy", budget, None, params)


def inside(book):
    """The next step above the best bid, below the best ask: whoever buys next buys from there."""
    bid, ask = (int(float(book[side][0][0])) for side in ("bids", "asks"))
    assert bid + STEP < ask
    return bid + STEP


def order(row):
    return [row["status"], row["info"]["executed_volume"], row["fee"]["cost"], len(row["trades"])]


def by_client_id(who, venue):
    return who.fetch_order("", SYMBOL, named("near"))["id"] if venue == "bithumb" else None


def ended(who, venue):
    if venue == "upbit":
        return who.fetch_closed_orders(SYMBOL)
    return [*who.fetch_closed_orders(SYMBOL), *who.fetch_canceled_orders(SYMBOL)]


def balances(who):
    return {asset: held for asset, held in who.fetch_balance().items() if asset in ("KRW", "ETH")}


def refusal(method, *args):
    try:
        method(*args)
    except ccxt.BaseError as error:
        return [type(error).__name__, str(error)]
    return None


async def stream(where):
    """Watches a book, its orders and its balances while it trades by REST."""
    alice = client(where, *where["keys"]["alice"], ccxt.pro)
    blocking, bob = (client(where, *where["keys"][name]) for name in ("alice", "bob"))
    heard = {"orders": [], "balance": None, "book": None, "trades": []}
    listeners = []
    try:
        await alice.load_markets()
        takers = (
            (alice.watch_orders, (SYMBOL,), lambda rows: heard["orders"].extend(map(change, rows))),
            (alice.watch_balance, (), lambda told: heard.update(balance=told)),
            (alice.watch_order_book, (SYMBOL,), lambda book: heard.update(book=book)),
            (alice.watch_trades, (SYMBOL,), lambda rows: heard["trades"].extend(map(public_trade, rows))),
        )
        listeners = [asyncio.create_task(_collect(watch, args, take)) for watch, args, take in takers]
        await asyncio.wait_for(_until(lambda: heard["book"] is not None), WITHIN_S)
        await asyncio.sleep(0.5)  # nothing says that a private subscription holds
        book = await asyncio.to_thread(blocking.fetch_order_book, SYMBOL)
        watched = {side: [list(level[:2]) for level in heard["book"][side]] for side in ("bids", "asks")}
        near = await asyncio.to_thread(
            blocking.create_order, SYMBOL, "limit", "sell", 0.02, inside(book), named("near")
        )
        await asyncio.to_thread(buy_for, bob, where["exchange"], 50000, "hit")
        await asyncio.to_thread(blocking.cancel_order, near["id"])
        await asyncio.wait_for(_until(lambda: any(row[1] == "canceled" for row in heard["orders"])), WITHIN_S)
        await asyncio.wait_for(_until(lambda: is_released(heard["balance"]) and heard["trades"]), WITHIN_S)
        held = {asset: [heard["balance"][asset][part] for part in ("free", "used")] for asset in ("KRW", "ETH")}
        return {
            "near": near["id"],
            "orders": heard["orders"],
            "trades": heard["trades"],
            "balance": held,
            "book": watched,
            "theirs": {side: book[side] for side in ("bids", "asks")},
        }
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


def is_released(balance):
    """Whether nothing is locked (any more)."""
    return balance is not None and float(balance["ETH"]["used"]) == 0


def change(row):
    """An order as its stream shows it."""
    told = row["info"]
    filled = told["executed_volume" if "executed_volume" in told else "executed_quantity"]
    return [row["id"], row["status"], str(filled)]


def public_trade(row):
    return [row["price"], row["amount"], row["side"]]


if __name__ == "__main__":
    errand = {"trade": trade, "stream": stream}[sys.argv[1]]
    report = errand(json.load(sys.stdin))
    if asyncio.iscoroutine(report):
        report = asyncio.run(asyncio.wait_for(report, 3 * WITHIN_S))
    sys.stdout.write(json.dumps(report) + "\n")
