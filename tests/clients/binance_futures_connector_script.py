# mypy: ignore-errors
# (the client lives in an environment of its own, where mypy doesn't look)
"""binance-futures-connector 4.2 at work: `python binance_futures_connector_script.py futures|futures_stream`.

The official connector of the futures (binance-connector has the spot market only). It is older than two changes of the
exchange, and so is left without two things: it has no algo orders, only the old way to place a stop, which the exchange
refuses; and it knows one address for all streams, so each kind's own is given to it.
"""

import json
import sys
import threading

from binance.error import ClientError
from binance.um_futures import UMFutures
from binance.websocket.um_futures.websocket_client import UMFuturesWebsocketClient
from binance.websocket.websocket_client import BinanceWebsocketClient

SYMBOL = "BTCUSDT"
UNKNOWN = 999_999


def futures(where):
    """Goes long and short, rests, is refused, and reads everything back."""
    alice, bob = (client(where, name) for name in ("alice", "bob"))
    top = alice.book_ticker(SYMBOL)
    inside = str(round(float(top["askPrice"]) - 0.1, 1))
    leverage = alice.change_leverage(SYMBOL, 10)
    long = market_order(alice, "BUY", "0.01", "long")
    limit_order(alice, "0.01", "50000", "resting")
    limit_order(alice, "0.02", inside, "partial")
    market_order(bob, "SELL", "0.005", "hit")
    partial = alice.query_order(SYMBOL, origClientOrderId="partial")
    refusals = {
        "poor": refusal(limit_order, alice, "50", "50000", "poor"),
        "tiny": refusal(limit_order, alice, "0.001", "50000", "tiny"),
        "twin": refusal(limit_order, alice, "0.01", "50000", "resting"),
        "no_position": refusal(market_order, alice, "BUY", "0.01", "no", reduceOnly="true"),
        "leverage": refusal(alice.change_leverage, SYMBOL, 1000),
        "margin_type": refusal(alice.change_margin_type, SYMBOL, "CROSSED"),
        "unknown_order": refusal(alice.query_order, SYMBOL, orderId=UNKNOWN),
        "unknown_cancel": refusal(alice.cancel_order, SYMBOL, orderId=UNKNOWN),
        "forged": refusal(UMFutures(alice.key, "wrong", base_url=where["rest_url"]).account),
        "old_stop": refusal(
            alice.new_order, SYMBOL, "SELL", "STOP_MARKET", stopPrice="50000", quantity="0.01", newClientOrderId="stop"
        ),
    }
    opened = [row["clientOrderId"] for row in alice.get_orders(symbol=SYMBOL)]
    cancelled = [alice.cancel_order(SYMBOL, origClientOrderId=name)["status"] for name in ("resting", "partial")]
    market_order(alice, "SELL", "0.035", "short")
    (position,) = alice.get_position_risk(symbol=SYMBOL)
    account = alice.account()
    return {
        "symbols": [row["symbol"] for row in alice.exchange_info()["symbols"]],
        "market": {
            "depth": len(alice.depth(SYMBOL, limit=20)["bids"]),
            "klines": len(alice.klines(SYMBOL, "1m", limit=10)),
            "mark": alice.mark_price(SYMBOL)["markPrice"],
            "trades": len(alice.trades(SYMBOL, limit=5)),
            "time": alice.time()["serverTime"],
            "commission": alice.commission_rate(SYMBOL)["takerCommissionRate"],
            "brackets": alice.leverage_brackets(symbol=SYMBOL)[0]["brackets"][0]["initialLeverage"],
        },
        "top": [top["bidPrice"], top["askPrice"]],
        "leverage": leverage["leverage"],
        "long": long["executedQty"],
        "partial": [partial["status"], partial["executedQty"]],
        "open": opened,
        "cancelled": cancelled,
        "orders": [[row["clientOrderId"], row["status"]] for row in alice.get_all_orders(SYMBOL)],
        "position": [position["positionAmt"], position["entryPrice"]],
        "trades": [[row["id"], row["realizedPnl"], row["maker"]] for row in alice.get_account_trades(SYMBOL)],
        "wallet": next(row["walletBalance"] for row in account["assets"] if row["asset"] == "USDT"),
        "balance": next(row["balance"] for row in alice.balance() if row["asset"] == "USDT"),
        "income": sorted({row["incomeType"] for row in alice.get_income_history(symbol=SYMBOL)}),
        "refusals": refusals,
    }


def client(where, name):
    key, secret = where["keys"][name]
    return UMFutures(key, secret, base_url=where["rest_url"], timeout=10)


def market_order(who, side, quantity, client_id, **more):
    return who.new_order(
        SYMBOL, side, "MARKET", quantity=quantity, newClientOrderId=client_id, newOrderRespType="RESULT", **more
    )


def limit_order(who, quantity, price, client_id):
    return who.new_order(
        SYMBOL, "BUY", "LIMIT", timeInForce="GTC", quantity=quantity, price=price, newClientOrderId=client_id
    )


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


def futures_stream(where):
    """Hears its orders, position and wallet while it trades, and every kind of public stream at its address."""
    alice = client(where, "alice")
    key = alice.new_listen_key()["listenKey"]
    private, boxes, sockets = Mailbox(), {}, []
    for root, names in (
        ("public", ["btcusdt@bookTicker", "btcusdt@depth@100ms"]),
        ("market", ["btcusdt@aggTrade", "btcusdt@markPrice@1s", "btcusdt@kline_1m", "btcusdt@miniTicker"]),
    ):
        box = Mailbox()
        socket = UMFuturesWebsocketClient(f"{where['stream_url']}/{root}", is_combined=True, on_message=box.put)
        socket.subscribe(names, id=1)
        box.wait(lambda message: message.get("id") == 1)
        boxes |= dict.fromkeys(names, box)
        sockets.append(socket)
    # Its own class puts /ws behind the address and would subscribe by message; the exchange documents this address.
    sockets.append(BinanceWebsocketClient(f"{where['stream_url']}/private/ws/{key}", on_message=private.put))
    market_order(alice, "BUY", "0.01", "long")
    limit_order(alice, "0.01", "50000", "resting")
    alice.cancel_order(SYMBOL, origClientOrderId="resting")
    private.wait(lambda message: message.get("e") == "ORDER_TRADE_UPDATE" and message["o"]["X"] == "CANCELED")
    extended = alice.renew_listen_key(key)
    heard = {
        name: box.wait(lambda message, name=name: message.get("stream") == name)["data"]
        for name, box in boxes.items()
    }
    alice.close_listen_key(key)
    for socket in sockets:
        socket.stop()
    return {
        "events": [message for message in private.messages if "e" in message],
        "heard": heard,
        "extended": extended.get("listenKey") in (None, key),
    }


if __name__ == "__main__":
    errand = {"futures": futures, "futures_stream": futures_stream}[sys.argv[1]]
    sys.stdout.write(json.dumps(errand(json.load(sys.stdin))) + "\n")
