# mypy: ignore-errors
# (the client lives in an environment of its own, where mypy doesn't look)
"""binance-connector 3.13 at work: `python binance_connector_script.py trade|stream`, see sessions.py."""

import json
import sys
import threading
from decimal import Decimal

from binance.error import ClientError
from binance.spot import Spot
from binance.websocket.spot.websocket_api import SpotWebsocketAPIClient
from binance.websocket.spot.websocket_stream import SpotWebsocketStreamClient

SYMBOL = "BTCUSDT"
TICK = Decimal("0.01")
UNKNOWN = 999_999


def trade(where):
    """Buys, sells, rests, cancels, is refused, and reads everything back, by REST."""
    alice, bob = (client(where, name) for name in ("alice", "bob"))
    top = alice.book_ticker(SYMBOL)
    inside = str(Decimal(top["askPrice"]) - TICK)
    answers = {
        "market": alice.new_order(SYMBOL, "BUY", "MARKET", quantity="0.01", newClientOrderId="market"),
        "cost": alice.new_order(SYMBOL, "BUY", "MARKET", quoteOrderQty="200", newClientOrderId="cost"),
        "partial": limit(alice, "partial", "0.02", inside),
        "hit": bob.new_order(SYMBOL, "SELL", "MARKET", quantity="0.005", newClientOrderId="hit"),
        "resting": limit(alice, "resting", "0.001", "50000"),
        "unwanted": limit(alice, "unwanted", "0.001", "49000"),
    }
    seen_partial = alice.get_order(SYMBOL, orderId=answers["partial"]["orderId"])
    before_cancel = alice.get_open_orders(SYMBOL)
    refusals = {
        "poor": refusal(limit, alice, "poor", "10", "60000"),
        "tiny": refusal(limit, alice, "tiny", "0.00001", "50000"),
        "twin": refusal(limit, alice, "resting", "0.001", "50000"),
        "taking_maker": refusal(
            alice.new_order, SYMBOL, "BUY", "LIMIT_MAKER", quantity="0.001", price=top["askPrice"]
        ),
        "unknown_cancel": refusal(alice.cancel_order, SYMBOL, orderId=UNKNOWN),
        "unknown_order": refusal(alice.get_order, SYMBOL, orderId=UNKNOWN),
        "forged": refusal(Spot(alice.api_key, "wrong", base_url=where["rest_url"]).account),
    }
    cancels = {
        "partial": alice.cancel_order(SYMBOL, orderId=answers["partial"]["orderId"]),
        "unwanted": alice.cancel_order(SYMBOL, origClientOrderId="unwanted"),
    }
    return {
        "market": market(alice),
        "top": [top["bidPrice"], top["askPrice"]],
        "answers": {name: order(answer) for name, answer in answers.items()},
        "seen_partial": order(seen_partial),
        "open_before_cancel": [row["orderId"] for row in before_cancel],
        "cancels": {name: order(answer, "origClientOrderId") for name, answer in cancels.items()},
        "refusals": refusals,
        "orders": [order(row) for row in alice.get_orders(SYMBOL)],
        "open_orders": [row["orderId"] for row in alice.get_open_orders(SYMBOL)],
        "trades": [own_trade(row) for row in alice.my_trades(SYMBOL)],
        "balances": {row["asset"]: [row["free"], row["locked"]] for row in alice.account()["balances"]},
    }


def client(where, name):
    key, secret = where["keys"][name]
    return Spot(key, secret, base_url=where["rest_url"], timeout=10)


def limit(who, client_id, quantity, price):
    return who.new_order(
        SYMBOL, "BUY", "LIMIT", timeInForce="GTC", quantity=quantity, price=price, newClientOrderId=client_id
    )


def market(who):
    """Public data; each call must be understood, some of it is compared."""
    who.ping()
    info = who.exchange_info(symbol=SYMBOL)
    return {
        "server_time": who.time()["serverTime"],
        "symbol": info["symbols"][0]["symbol"],
        "depth": len(who.depth(SYMBOL, limit=20)["bids"]),
        "klines": len(who.klines(SYMBOL, "1m", limit=10)),
        "trades": len(who.trades(SYMBOL, limit=5)),
        "aggregate_trades": len(who.agg_trades(SYMBOL, limit=5)),
        "average": who.avg_price(SYMBOL)["price"],
        "last": who.ticker_24hr(SYMBOL)["lastPrice"],
        "prices": len(who.ticker_price(symbols=[SYMBOL, "ETHUSDT"])),
        "commission": who.query_commission_rates(SYMBOL)["standardCommission"]["taker"],
        "restrictions": who.api_key_permissions()["enableWithdrawals"],
        "order_counts": [row["count"] for row in who.get_order_rate_limit()],
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


def refusal(method, *args, **kwargs):
    try:
        method(*args, **kwargs)
    except ClientError as error:
        return [error.error_code, error.error_message]
    return None


class Mailbox:
    """What a socket's thread received, for the main thread to wait on."""

    def __init__(self):
        self.messages = []
        self._changed = threading.Condition()

    def put(self, _manager, text):
        with self._changed:
            self.messages.append(json.loads(text))
            self._changed.notify_all()

    def wait(self, is_wanted):
        """The first message that is wanted, in the order of their coming."""
        with self._changed:
            self._changed.wait_for(lambda: any(map(is_wanted, self.messages)), timeout=10)
            return next(filter(is_wanted, self.messages))


def stream(where):
    """Hears bob trade with alice's order on the market streams; orders and cancels by the WebSocket API."""
    public, private = Mailbox(), Mailbox()
    streams = SpotWebsocketStreamClient(stream_url=where["stream_url"], is_combined=True, on_message=public.put)
    names = [f"btcusdt@{kind}" for kind in ("trade", "aggTrade", "bookTicker", "depth@100ms", "miniTicker", "kline_1m")]
    streams.subscribe(names, id=1)
    public.wait(lambda message: message.get("id") == 1)
    key, secret = where["keys"]["alice"]
    api = SpotWebsocketAPIClient(
        stream_url=where["ws_api_url"], api_key=key, api_secret=secret, on_message=private.put
    )
    inside = str(Decimal(client(where, "alice").book_ticker(SYMBOL)["askPrice"]) - TICK)
    place(api, "near", "0.02", inside)
    near = private.wait(lambda message: message["id"] == "near")
    client(where, "bob").new_order(SYMBOL, "SELL", "MARKET", quantity="0.005", newClientOrderId="hit")
    api.cancel_order(symbol=SYMBOL, origClientOrderId="near", id="cancel")
    cancel = private.wait(lambda message: message["id"] == "cancel")
    api.cancel_order(symbol=SYMBOL, origClientOrderId="near", id="again")
    again = private.wait(lambda message: message["id"] == "again")
    api.account(id="account")
    account = private.wait(lambda message: message["id"] == "account")
    heard = {name: public.wait(lambda message, name=name: message.get("stream") == name)["data"] for name in names}
    streams.stop()
    api.stop()
    return {
        "near": near, "cancel": cancel, "again": again, "heard": heard,
        "balances": {row["asset"]: [row["free"], row["locked"]] for row in account["result"]["balances"]},
    }  # fmt: skip


def place(api, client_id, quantity, price):
    api.new_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity=quantity, price=price,
        newClientOrderId=client_id, newOrderRespType="RESULT", id=client_id,
    )  # fmt: skip


if __name__ == "__main__":
    errand = {"trade": trade, "stream": stream}[sys.argv[1]]
    sys.stdout.write(json.dumps(errand(json.load(sys.stdin))) + "\n")
