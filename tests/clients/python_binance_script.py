# mypy: ignore-errors
# (the client lives in an environment of its own, where mypy doesn't look)
"""python-binance 1.0.37 at work: `python_binance_script.py trade|stream|book|futures|futures_stream`, see sessions."""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from decimal import Decimal

from binance import AsyncClient, BinanceSocketManager, Client
from binance.exceptions import BinanceAPIException
from binance.ws.depthcache import DepthCacheManager

SYMBOL = "BTCUSDT"
TICK = Decimal("0.01")
FUTURES_TICK = Decimal("0.1")
UNKNOWN = 999_999
WITHIN_S = 15
# A socket that hears nothing looks this often whether it shall close: ten seconds by default.
QUIET_S = 0.2
# The socket of the WebSocket API takes the same number as the time-out of its requests.
REQUEST_S = 3


def trade(where):
    """Buys, sells, rests, cancels, is refused, and reads everything back, by REST."""
    alice, bob = (Client(*where["keys"][name]) for name in ("alice", "bob"))
    top = alice.get_orderbook_ticker(symbol=SYMBOL)
    inside = str(Decimal(top["askPrice"]) - TICK)
    answers = {
        "market": alice.order_market_buy(symbol=SYMBOL, quantity="0.01", newClientOrderId="market"),
        "cost": alice.order_market_buy(symbol=SYMBOL, quoteOrderQty="200", newClientOrderId="cost"),
        "partial": limit(alice, "partial", "0.02", inside),
        "hit": bob.order_market_sell(symbol=SYMBOL, quantity="0.005", newClientOrderId="hit"),
        "resting": limit(alice, "resting", "0.001", "50000"),
        "unwanted": limit(alice, "unwanted", "0.001", "49000"),
    }
    seen_partial = alice.get_order(symbol=SYMBOL, orderId=answers["partial"]["orderId"])
    before_cancel = alice.get_open_orders(symbol=SYMBOL)
    maker = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT_MAKER", "quantity": "0.001", "price": top["askPrice"]}
    refusals = {
        "poor": refusal(limit, alice, "poor", "10", "60000"),
        "tiny": refusal(limit, alice, "tiny", "0.00001", "50000"),
        "twin": refusal(limit, alice, "resting", "0.001", "50000"),
        "taking_maker": refusal(alice.create_order, **maker),
        "unknown_cancel": refusal(alice.cancel_order, symbol=SYMBOL, orderId=UNKNOWN),
        "unknown_order": refusal(alice.get_order, symbol=SYMBOL, orderId=UNKNOWN),
        "forged": refusal(Client(alice.API_KEY, "wrong").get_account),
    }
    cancels = {
        "partial": alice.cancel_order(symbol=SYMBOL, orderId=answers["partial"]["orderId"]),
        "unwanted": alice.cancel_order(symbol=SYMBOL, origClientOrderId="unwanted"),
    }
    return {
        "market": market(alice),
        "top": [top["bidPrice"], top["askPrice"]],
        "answers": {name: order(answer) for name, answer in answers.items()},
        "seen_partial": order(seen_partial),
        "open_before_cancel": [row["orderId"] for row in before_cancel],
        "cancels": {name: order(answer, "origClientOrderId") for name, answer in cancels.items()},
        "refusals": refusals,
        "orders": [order(row) for row in alice.get_all_orders(symbol=SYMBOL)],
        "open_orders": [row["orderId"] for row in alice.get_open_orders(symbol=SYMBOL)],
        "trades": [own_trade(row) for row in alice.get_my_trades(symbol=SYMBOL)],
        "balances": balances(alice.get_account()),
    }


def limit(who, client_id, quantity, price):
    return who.order_limit_buy(symbol=SYMBOL, quantity=quantity, price=price, newClientOrderId=client_id)


def market(who):
    """Public data; each call must be understood, some of it is compared."""
    who.ping()
    return {
        "server_time": who.get_server_time()["serverTime"],
        "symbol": who.get_symbol_info(SYMBOL)["symbol"],
        "depth": len(who.get_order_book(symbol=SYMBOL, limit=20)["bids"]),
        "klines": len(who.get_klines(symbol=SYMBOL, interval="1m", limit=10)),
        "historical_klines": len(who.get_historical_klines(SYMBOL, "1m", "5 minutes ago UTC")),
        "trades": len(who.get_recent_trades(symbol=SYMBOL, limit=5)),
        "aggregate_trades": len(who.get_aggregate_trades(symbol=SYMBOL, limit=5)),
        "average": who.get_avg_price(symbol=SYMBOL)["price"],
        "last": who.get_ticker(symbol=SYMBOL)["lastPrice"],
        "prices": len(who.get_all_tickers()),
        "commission": who.get_trade_fee(symbol=SYMBOL)[0]["takerCommission"],
        "restrictions": who.get_account_api_permissions()["enableWithdrawals"],
        "asset": who.get_asset_balance("BTC")["asset"],
        "order_counts": [row["count"] for row in who.get_current_order_count()],
    }


def order(row, client_id_in="clientOrderId"):
    return {
        "order_id": row["orderId"],
        "client_order_id": row[client_id_in],
        "side": row["side"],
        "type": row["type"],
        "status": row["status"],
        "quantity": row["origQty"],
        "executed": row["executedQty"],
        "quote_executed": row["cummulativeQuoteQty"],
        "price": row["price"],
        "fills": [fill["tradeId"] for fill in row.get("fills", [])],
    }


def own_trade(row):
    return {
        "trade_id": row["id"],
        "order_id": row["orderId"],
        "price": row["price"],
        "quantity": row["qty"],
        "quote": row["quoteQty"],
        "commission": row["commission"],
        "commission_asset": row["commissionAsset"],
        "is_buyer": row["isBuyer"],
        "is_maker": row["isMaker"],
        "time_ms": row["time"],
    }


def balances(account):
    return {row["asset"]: [row["free"], row["locked"]] for row in account["balances"]}


def futures(where):
    """Goes long and short, rests, is hit in part, stops, is refused, and reads everything back, at USD-M futures."""
    alice, bob = (Client(*where["keys"][name], ping=False) for name in ("alice", "bob"))
    top = alice.futures_orderbook_ticker(symbol=SYMBOL)
    leverage = alice.futures_change_leverage(symbol=SYMBOL, leverage=10)
    long = futures_market(alice, "BUY", "0.01", "long")
    futures_limit(alice, "0.01", "50000", "resting")
    futures_limit(alice, "0.02", str(Decimal(top["askPrice"]) - FUTURES_TICK), "partial")
    futures_market(bob, "SELL", "0.005", "hit")
    partial = alice.futures_get_order(symbol=SYMBOL, origClientOrderId="partial")
    stop = alice.futures_create_order(
        symbol=SYMBOL, side="SELL", type="STOP_MARKET", stopPrice="50000", quantity="0.01", clientAlgoId="stop"
    )
    refusals = {
        "poor": refusal(futures_limit, alice, "50", "50000", "poor"),
        "tiny": refusal(futures_limit, alice, "0.001", "50000", "tiny"),
        "twin": refusal(futures_limit, alice, "0.01", "50000", "resting"),
        "no_position": refusal(futures_market, alice, "BUY", "0.01", "no", reduceOnly="true"),
        "leverage": refusal(alice.futures_change_leverage, symbol=SYMBOL, leverage=1000),
        "margin_type": refusal(alice.futures_change_margin_type, symbol=SYMBOL, marginType="CROSSED"),
        "unknown_order": refusal(alice.futures_get_order, symbol=SYMBOL, orderId=UNKNOWN),
        "unknown_cancel": refusal(alice.futures_cancel_order, symbol=SYMBOL, orderId=UNKNOWN),
        "forged": refusal(Client(alice.API_KEY, "wrong", ping=False).futures_account),
    }
    opened = [row["clientOrderId"] for row in alice.futures_get_open_orders(symbol=SYMBOL)]
    cancelled = [
        alice.futures_cancel_order(symbol=SYMBOL, origClientOrderId=name)["status"] for name in ("resting", "partial")
    ]
    futures_market(alice, "SELL", "0.035", "short")
    (position,) = alice.futures_position_information(symbol=SYMBOL)
    account = alice.futures_account()
    return {
        "symbols": [row["symbol"] for row in alice.futures_exchange_info()["symbols"]],
        "market": {
            "depth": len(alice.futures_order_book(symbol=SYMBOL, limit=20)["bids"]),
            "klines": len(alice.futures_klines(symbol=SYMBOL, interval="1m", limit=10)),
            "mark": alice.futures_mark_price(symbol=SYMBOL)["markPrice"],
            "trades": len(alice.futures_recent_trades(symbol=SYMBOL, limit=5)),
            "time": alice.futures_time()["serverTime"],
            "commission": alice.futures_commission_rate(symbol=SYMBOL)["takerCommissionRate"],
            "brackets": alice.futures_leverage_bracket(symbol=SYMBOL)[0]["brackets"][0]["initialLeverage"],
        },
        "top": [top["bidPrice"], top["askPrice"]],
        "leverage": leverage["leverage"],
        "long": long["executedQty"],
        "partial": [partial["status"], partial["executedQty"]],
        "stop": [stop["clientAlgoId"], stop["algoStatus"], stop["orderType"]],
        "open": opened,
        "cancelled": cancelled,
        "orders": [[row["clientOrderId"], row["status"]] for row in alice.futures_get_all_orders(symbol=SYMBOL)],
        "position": [position["positionAmt"], position["entryPrice"]],
        "trades": [
            [row["id"], row["realizedPnl"], row["maker"]] for row in alice.futures_account_trades(symbol=SYMBOL)
        ],
        "wallet": next(row["walletBalance"] for row in account["assets"] if row["asset"] == "USDT"),
        "balance": next(row["balance"] for row in alice.futures_account_balance() if row["asset"] == "USDT"),
        "income": sorted({row["incomeType"] for row in alice.futures_income_history(symbol=SYMBOL)}),
        "refusals": refusals,
        "listen_key": alice.futures_stream_get_listen_key(),
    }


def futures_market(client, side, quantity, client_id, **more):
    return client.futures_create_order(
        symbol=SYMBOL, side=side, type="MARKET", quantity=quantity, newClientOrderId=client_id,
        newOrderRespType="RESULT", **more,
    )  # fmt: skip


def futures_limit(client, quantity, price, client_id):
    return client.futures_create_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity=quantity, price=price,
        newClientOrderId=client_id,
    )  # fmt: skip


def refusal(method, *args, **kwargs):
    try:
        method(*args, **kwargs)
    except BinanceAPIException as error:
        return [error.code, error.message]
    return None


async def stream(where):
    """Trades by the WebSocket API while it listens to the user stream and the market streams."""
    async with AsyncExitStack() as stack:
        alice, bob = [await AsyncClient.create(*where["keys"][name]) for name in ("alice", "bob")]
        for client in (alice, bob):
            stack.push_async_callback(client.close_connection)
        alice.ws_api.TIMEOUT = REQUEST_S
        sockets = BinanceSocketManager(alice)
        user = await stack.enter_async_context(sockets.user_socket())
        public = _public(sockets)
        for socket in public.values():
            socket.TIMEOUT = QUIET_S
            await stack.enter_async_context(socket)
        await _trade_by_websocket(alice, bob)
        events = await _until(user, lambda event: event.get("X") == "CANCELED" and event.get("C") == "resting")
        heard = {name: await asyncio.wait_for(socket.recv(), WITHIN_S) for name, socket in public.items()}
        account = await alice.ws_get_account()
        return {"events": events, "heard": heard, "balances": balances(account)}


def _public(sockets):
    return {
        "trade": sockets.trade_socket(SYMBOL),
        "aggTrade": sockets.aggtrade_socket(SYMBOL),
        "bookTicker": sockets.symbol_book_ticker_socket(SYMBOL),
        "depth": sockets.depth_socket(SYMBOL, interval=100),
        "depth5": sockets.depth_socket(SYMBOL, depth="5"),
        "kline": sockets.kline_socket(SYMBOL, interval="1m"),
        "miniTicker": sockets.symbol_miniticker_socket(SYMBOL),
        "ticker": sockets.symbol_ticker_socket(SYMBOL),
        "combined": sockets.multiplex_socket(["btcusdt@trade", "btcusdt@bookTicker"]),
    }


async def _trade_by_websocket(alice, bob):
    top = await alice.ws_get_orderbook_ticker(symbol=SYMBOL)
    inside = str(Decimal(top["askPrice"]) - TICK)
    await alice.ws_order_market_buy(symbol=SYMBOL, quantity="0.01", newClientOrderId="market")
    await alice.ws_order_limit_buy(symbol=SYMBOL, quantity="0.02", price=inside, newClientOrderId="partial")
    await bob.order_market_sell(symbol=SYMBOL, quantity="0.005", newClientOrderId="hit")
    await alice.ws_cancel_order(symbol=SYMBOL, origClientOrderId="partial")
    await alice.order_limit_buy(symbol=SYMBOL, quantity="0.001", price="50000", newClientOrderId="resting")
    await alice.cancel_order(symbol=SYMBOL, origClientOrderId="resting")


async def _until(socket, is_last):
    """The user events up to the last wanted one, and the account position that follows it."""
    events = []
    while not events or not is_last(events[-1]):
        events.append(await asyncio.wait_for(socket.recv(), WITHIN_S))
    return [*events, await asyncio.wait_for(socket.recv(), WITHIN_S)]


async def futures_stream(where):
    """Trades by REST while it listens to its own events and to public streams, each at its address."""
    async with AsyncExitStack() as stack:
        alice = await AsyncClient.create(*where["keys"]["alice"])
        stack.push_async_callback(alice.close_connection)
        sockets = BinanceSocketManager(alice)
        user = await stack.enter_async_context(sockets.futures_user_socket())
        public = {
            "btcusdt@aggTrade": sockets.aggtrade_futures_socket(SYMBOL),
            "btcusdt@bookTicker": sockets.symbol_ticker_futures_socket(SYMBOL),
            "btcusdt@markPrice@1s": sockets.symbol_mark_price_socket(SYMBOL),
            "btcusdt@depth@100ms": sockets.futures_multiplex_socket(["btcusdt@depth@100ms"], category="public"),
            "btcusdt@kline_1m": sockets.futures_multiplex_socket(["btcusdt@kline_1m"]),
            "btcusdt@miniTicker": sockets.futures_multiplex_socket(["btcusdt@miniTicker"]),
        }
        for socket in public.values():
            socket.TIMEOUT = QUIET_S
            await stack.enter_async_context(socket)
        await alice.futures_create_order(
            symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01", newClientOrderId="long"
        )
        await alice.futures_create_order(
            symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01", price="50000",
            newClientOrderId="resting",
        )  # fmt: skip
        await alice.futures_cancel_order(symbol=SYMBOL, origClientOrderId="resting")
        events = []
        while not events or events[-1].get("o", {}).get("X") != "CANCELED":
            events.append(await asyncio.wait_for(user.recv(), WITHIN_S))
        heard = {name: await asyncio.wait_for(socket.recv(), WITHIN_S) for name, socket in public.items()}
        return {"events": events, "heard": {name: message["data"] for name, message in heard.items()}}


async def book(where):
    """Keeps a local book of a moving market, and compares it with the exchange's own once that stands still."""
    client = await AsyncClient.create(*where["keys"]["alice"])
    manager = DepthCacheManager(client, SYMBOL, limit=1000, conv_type=Decimal, ws_interval=100)
    async with manager:
        manager._socket.TIMEOUT = QUIET_S
        for _ in range(30):
            await asyncio.wait_for(manager.recv(), WITHIN_S)
        sys.stdout.write("still\n")
        sys.stdout.flush()
        theirs = await _standing_still(client)
        while manager._last_update_id != theirs["lastUpdateId"]:
            await asyncio.wait_for(manager.recv(), WITHIN_S)
        cache = manager.get_depth_cache()
        mine = {"bids": cache.get_bids(), "asks": cache.get_asks()}
    await client.close_connection()
    return {
        "updates": theirs["lastUpdateId"],
        "theirs": {side: theirs[side] for side in ("bids", "asks")},
        "mine": {side: [[str(number) for number in level] for level in levels] for side, levels in mine.items()},
    }


async def _standing_still(client):
    """The exchange's book when it has stopped moving: the same twice, more than a step of the market apart."""
    before = await client.get_order_book(symbol=SYMBOL, limit=1000)
    while True:
        await asyncio.sleep(0.5)
        after = await client.get_order_book(symbol=SYMBOL, limit=1000)
        if after["lastUpdateId"] == before["lastUpdateId"]:
            return after
        before = after


def main():
    where = json.load(sys.stdin)
    Client.API_URL = AsyncClient.API_URL = where["rest_url"] + "/api"
    Client.FUTURES_URL = AsyncClient.FUTURES_URL = where["rest_url"] + "/fapi"
    Client.MARGIN_API_URL = AsyncClient.MARGIN_API_URL = where["rest_url"] + "/sapi"
    Client.WS_API_URL = AsyncClient.WS_API_URL = where["ws_api_url"]
    BinanceSocketManager.STREAM_URL = BinanceSocketManager.FSTREAM_URL = where["stream_url"] + "/"
    errands = (trade, futures, stream, futures_stream, book)
    report = next(errand for errand in errands if errand.__name__ == sys.argv[1])(where)
    if asyncio.iscoroutine(report):
        report = asyncio.run(report)
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
