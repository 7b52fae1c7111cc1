"""Frames of the won exchanges' sockets, and the short names in which clients may want them."""

from typing import Any

import msgspec

from connections.simulator.accounts import Account
from connections.simulator.exchange import Market, Report
from connections.simulator.krw import payloads
from connections.simulator.krw.errors import ApiError
from connections.simulator.krw.payloads import Json
from connections.simulator.krw.wire import Wire
from connections.simulator.matching import ZERO, OrderType, Side
from connections.simulator.tape import Bar, Trade

ALIVE = '{"status":"UP"}'
FORMATS = ("DEFAULT", "SIMPLE")
_SHORT = {
    "type": "ty", "code": "cd", "timestamp": "tms", "stream_type": "st", "ask_bid": "ab",
    "trade_price": "tp", "trade_volume": "tv", "trade_timestamp": "ttms", "sequential_id": "sid",
    "total_ask_size": "tas", "total_bid_size": "tbs", "orderbook_units": "obu", "ask_price": "ap", "bid_price": "bp",
    "ask_size": "as", "bid_size": "bs", "level": "lv",
    "candle_date_time_utc": "cdttmu", "candle_date_time_kst": "cdttmk", "opening_price": "op", "high_price": "hp",
    "low_price": "lp", "candle_acc_trade_volume": "catv", "candle_acc_trade_price": "catp",
}  # fmt: skip
_TAKER = {Side.BUY: "BID", Side.SELL: "ASK"}
_encode = msgspec.json.Encoder(decimal_format="number").encode


def text(frame: Json, short: bool) -> str:
    """The frame as it is sent; amounts are numbers."""
    return _encode(_shortened(frame) if short else frame).decode()


def refusal(error: ApiError) -> str:
    return _encode(error.body()).decode()


def trade(symbol: str, told: Trade, stream: str = "REALTIME") -> Json:
    return {
        "type": "trade", "code": symbol, "timestamp": told.time_ms, "trade_timestamp": told.time_ms,
        "trade_price": told.price, "trade_volume": told.quantity,
        "ask_bid": _TAKER[Side.SELL if told.buyer_is_maker else Side.BUY], "sequential_id": told.trade_id,
        "stream_type": stream,
    }  # fmt: skip


def book(market: Market, now_ms: int, stream: str = "REALTIME") -> Json:
    body = payloads.book_body(market, now_ms)
    return {"type": "orderbook", "code": body.pop("market"), **body, "level": 0, "stream_type": stream}


def candle(kind: str, symbol: str, bar: Bar, now_ms: int, stream: str = "REALTIME") -> Json:
    body = payloads.candle_body(symbol, bar, now_ms)
    return {"type": kind, "code": body.pop("market"), **body, "stream_type": stream}


def orders(wire: Wire, account: Account, report: Report) -> list[Json]:
    """What an account hears of one change: the last fill of an order is followed by its end."""
    order, progress = report.order, report.progress
    is_filled = order.quote_quantity is None and progress.executed >= order.quantity
    kinds = {"NEW": "wait", "TRADE": "trade"}
    states = [kinds.get(report.kind, payloads.state(wire, order))]
    if report.kind == "TRADE" and is_filled:
        states.append("done")
    make = _second_order if wire.second_order_events else _order
    return [make(wire, account, report, state) for state in states]


def _order(wire: Wire, account: Account, report: Report, state: str) -> Json:
    order, fill = report.order, report.fill if state == "trade" else None
    fills = fees_until(account, report)
    is_budget = order.quote_quantity is not None
    return {
        "type": "myOrder", "code": order.symbol, "uuid": payloads.order_uuid(order.order_id),
        "ask_bid": _TAKER[order.side], "order_type": payloads.order_type(order), "state": state,
        "trade_uuid": payloads.trade_uuid(fill.trade_id) if fill else None,
        "price": fill.price if fill else order.quote_quantity or order.price,
        "volume": fill.quantity if fill else None if is_budget else order.quantity,
        "remaining_volume": None if is_budget else order.quantity - report.progress.executed,
        "executed_volume": report.progress.executed, "executed_funds": report.progress.quote_executed,
        "trades_count": len(fills), "paid_fee": sum(fills, ZERO), "locked": order.locked,
        "trade_fee": fill.commission if fill else None, "is_maker": fill.is_maker if fill else None,
        "time_in_force": payloads.condition(order), wire.client_id: order.client_order_id,
        "trade_timestamp": fill.time_ms if fill else None, "order_timestamp": order.created_ms,
        "timestamp": report.time_ms, "stream_type": "REALTIME",
    }  # fmt: skip


def _second_order(wire: Wire, account: Account, report: Report, state: str) -> Json:
    """Fields that have no value are left out."""
    order, fill = report.order, report.fill if state == "trade" else None
    is_budget = order.quote_quantity is not None
    body = {
        "type": "myOrder", "stream_type": "REALTIME", "code": order.symbol,
        "order_id": payloads.order_uuid(order.order_id), wire.client_id: order.client_order_id or None,
        "side": "buy" if order.side is Side.BUY else "sell", "order_type": payloads.order_type(order), "state": state,
        "time_in_force": payloads.condition(order),
        "order_price": order.price if order.type is not OrderType.MARKET else ZERO,
        "order_quantity": ZERO if is_budget else order.quantity,
        "remaining_quantity": None if is_budget else order.quantity - report.progress.executed,
        "executed_quantity": report.progress.executed, "executed_amount": report.progress.quote_executed,
        "paid_fee": sum(fees_until(account, report), ZERO),
        "trade_id": payloads.trade_uuid(fill.trade_id) if fill else None,
        "trade_price": fill.price if fill else None, "trade_quantity": fill.quantity if fill else None,
        "trade_amount": fill.quote if fill else None, "trade_timestamp": fill.time_ms if fill else None,
        "order_timestamp": order.created_ms, "timestamp": report.time_ms,
    }  # fmt: skip
    return {name: value for name, value in body.items() if value is not None}


def fees_until(account: Account, report: Report) -> list[Any]:
    """The fees of the order's fills up to this change."""
    fees, executed = [], ZERO
    for fill in account.fills_by_order.get(report.order.order_id, ()):
        if executed < report.progress.executed:
            executed += fill.quantity
            fees.append(fill.commission)
    return fees


def assets(account: Account, names: list[str], now_ms: int) -> Json:
    rows = [
        {"currency": name, "balance": account.balances[name].free, "locked": account.balances[name].locked}
        for name in names
    ]
    return {
        "type": "myAsset", "asset_uuid": payloads.order_uuid(account.uid), "assets": rows, "asset_timestamp": now_ms,
        "timestamp": now_ms, "stream_type": "REALTIME",
    }  # fmt: skip


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {_SHORT.get(name, name): _shortened(held) for name, held in value.items()}
    return [_shortened(item) for item in value] if isinstance(value, list) else value
