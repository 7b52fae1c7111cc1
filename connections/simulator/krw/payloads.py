"""The won exchanges' JSON shapes."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from connections.simulator.accounts import Account, Fill
from connections.simulator.exchange import Market
from connections.simulator.krw.errors import BID_ASK
from connections.simulator.krw.wire import Wire
from connections.simulator.matching import ZERO, Order, OrderStatus, OrderType, Side, TimeInForce
from connections.simulator.tape import Bar, Trade

Json = dict[str, Any]
LEVELS = 30
_KST = timezone(timedelta(hours=9))
_TRADE_IDS = 1 << 64


def number(value: Decimal | None) -> str:
    """An amount as text, without a needless end."""
    return f"{(value or ZERO).normalize():f}"


def order_uuid(order_id: int) -> str:
    return str(UUID(int=order_id))


def order_id_of(text: str) -> int:
    """The order that a uuid names; -1 for what is none."""
    try:
        return UUID(text).int
    except ValueError:
        return -1


def trade_uuid(trade_id: int) -> str:
    return str(UUID(int=trade_id + _TRADE_IDS))


def condition(order: Order) -> str | None:
    """The `time_in_force` of an order that doesn't simply rest."""
    if order.type is OrderType.LIMIT_MAKER:
        return "post_only"
    if order.type is OrderType.MARKET or order.time_in_force is TimeInForce.GTC:
        return None
    return order.time_in_force.lower()


def order_type(order: Order) -> str:
    if order.type is not OrderType.MARKET:
        return "limit"
    return "price" if order.side is Side.BUY else "market"


def state(wire: Wire, order: Order) -> str:
    if order.is_open:
        return "wait"
    is_done = order.status is OrderStatus.FILLED or (
        wire.partial_is_done and order.status is OrderStatus.EXPIRED and order.executed
    )
    return "done" if is_done else "cancel"


def order_body(wire: Wire, order: Order, fills: list[Fill], *, with_trades: bool = False) -> Json:
    """An order as look-ups tell it."""
    is_budget = order.quote_quantity is not None
    paid = sum((fill.commission for fill in fills), ZERO)
    body: Json = {
        "uuid": order_uuid(order.order_id),
        "side": BID_ASK[order.side],
        "ord_type": order_type(order),
        "price": number(order.quote_quantity if is_budget else order.price) if is_budget or order.price else None,
        "state": state(wire, order),
        "market": order.symbol,
        "created_at": _kst(order.created_ms),
        "volume": None if is_budget else number(order.quantity),
        "remaining_volume": None if is_budget else number(order.remaining),
        "executed_volume": number(order.executed),
        "reserved_fee": number(paid),
        "remaining_fee": "0",
        "paid_fee": number(paid),
        "locked": number(order.locked),
        "trades_count": len(fills),
        wire.client_id: order.client_order_id,
    }
    if (told := condition(order)) is not None:
        body["time_in_force"] = told
    if with_trades:
        body["trades"] = [_own_trade(fill) for fill in fills]
    return body


def accepted_body(wire: Wire, order: Order) -> Json:
    """What placing answers: the order as it was before it met the book."""
    body = order_body(wire, order, [])
    zeroes = dict.fromkeys(("executed_volume", "paid_fee", "reserved_fee"), "0")
    return {**body, **zeroes, "state": "wait", "remaining_volume": body["volume"]}


def ids_body(wire: Wire, order: Order) -> Json:
    """What placing and cancelling answer where they tell no state."""
    return {
        "order_id": order_uuid(order.order_id), wire.client_id: order.client_order_id, "market": order.symbol,
        "side": BID_ASK[order.side], wire.order_type: order_type(order), "created_at": _kst(order.created_ms),
    }  # fmt: skip


def _own_trade(fill: Fill) -> Json:
    return {
        "market": fill.symbol,
        "uuid": trade_uuid(fill.trade_id),
        "price": number(fill.price),
        "volume": number(fill.quantity),
        "funds": number(fill.quote),
        "trend": "up" if fill.is_buyer else "down",
        "created_at": _kst(fill.time_ms),
        "side": BID_ASK[Side.BUY if fill.is_buyer else Side.SELL],
    }


def balances(account: Account) -> list[Json]:
    return [
        {
            "currency": asset, "balance": number(held.free), "locked": number(held.locked), "avg_buy_price": "0",
            "avg_buy_price_modified": False, "unit_currency": "KRW",
        }
        for asset, held in account.balances.items()
        if held.free or held.locked
    ]  # fmt: skip


def market_body(market: Market) -> Json:
    base = market.instrument.base
    return {"market": market.instrument.symbol, "korean_name": base, "english_name": base}


def book_body(market: Market, now_ms: int) -> Json:
    """The whole book, both sides side by side; the shorter one is padded."""
    bids, asks = market.book.depth(Side.BUY, LEVELS), market.book.depth(Side.SELL, LEVELS)
    nothing = (ZERO, ZERO)
    units = [
        {"ask_price": ask[0], "bid_price": bid[0], "ask_size": ask[1], "bid_size": bid[1]}
        for ask, bid in (
            (asks[index] if index < len(asks) else nothing, bids[index] if index < len(bids) else nothing)
            for index in range(max(len(bids), len(asks)))
        )
    ]
    return {
        "market": market.instrument.symbol,
        "timestamp": now_ms,
        "total_ask_size": sum((size for _, size in asks), ZERO),
        "total_bid_size": sum((size for _, size in bids), ZERO),
        "orderbook_units": units,
    }


def ticker_body(market: Market, now_ms: int) -> Json:
    market.tape.roll(now_ms)
    day, _ = market.tape.day()
    return {
        "market": market.instrument.symbol, "opening_price": day.open, "high_price": day.high, "low_price": day.low,
        "trade_price": day.close, "prev_closing_price": day.open, "acc_trade_volume_24h": day.volume,
        "acc_trade_price_24h": day.quote_volume, "timestamp": now_ms,
    }  # fmt: skip


def trade_body(symbol: str, trade: Trade) -> Json:
    moment = datetime.fromtimestamp(trade.time_ms / 1000, UTC)
    return {
        "market": symbol, "trade_date_utc": moment.strftime("%Y-%m-%d"), "trade_time_utc": moment.strftime("%H:%M:%S"),
        "timestamp": trade.time_ms, "trade_price": trade.price, "trade_volume": trade.quantity,
        "ask_bid": "ASK" if trade.buyer_is_maker else "BID", "sequential_id": trade.trade_id,
    }  # fmt: skip


def chance_body(account: Account, market: Market) -> Json:
    """What an account may order on a market, and what it pays."""
    instrument, fees = market.instrument, account.fees
    sides = {name: {"currency": asset, "min_total": number(instrument.min_notional)}
             for name, asset in (("bid", instrument.quote), ("ask", instrument.base))}  # fmt: skip
    return {
        "bid_fee": number(fees.taker), "ask_fee": number(fees.taker), "maker_bid_fee": number(fees.maker),
        "maker_ask_fee": number(fees.maker),
        "market": {
            "id": instrument.symbol, "name": f"{instrument.base}/{instrument.quote}", "order_sides": ["ask", "bid"],
            "bid_types": ["limit", "price"], "ask_types": ["limit", "market"], **sides,
            "max_total": number(instrument.max_notional), "state": "active",
        },
        "bid_account": _held(account, instrument.quote),
        "ask_account": _held(account, instrument.base),
    }  # fmt: skip


def _held(account: Account, asset: str) -> Json:
    held = account.balances[asset]
    return {"currency": asset, "balance": number(held.free), "locked": number(held.locked), "unit_currency": "KRW"}


def candle_body(symbol: str, bar: Bar, now_ms: int) -> Json:
    opened = datetime.fromtimestamp(bar.opened_ms / 1000, UTC)
    return {
        "market": symbol,
        "candle_date_time_utc": opened.strftime("%Y-%m-%dT%H:%M:%S"),
        "candle_date_time_kst": opened.astimezone(_KST).strftime("%Y-%m-%dT%H:%M:%S"),
        "opening_price": bar.open,
        "high_price": bar.high,
        "low_price": bar.low,
        "trade_price": bar.close,
        "timestamp": min(now_ms, bar.closes_ms),
        "candle_acc_trade_price": bar.quote_volume,
        "candle_acc_trade_volume": bar.volume,
    }


def _kst(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms // 1000, _KST).isoformat()


def moment_ms(text: str, naive_offset_hours: int) -> int:
    """A time in a request; one that says no zone is so many hours off UTC."""
    moment, offset = datetime.fromisoformat(text), timezone(timedelta(hours=naive_offset_hours))
    return int((moment if moment.tzinfo else moment.replace(tzinfo=offset)).timestamp() * 1000)
