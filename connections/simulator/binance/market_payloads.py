"""The JSON shapes of public data that all venues of Binance share."""

from decimal import Decimal
from typing import Any

from connections.simulator.matching import ZERO
from connections.simulator.tape import AggregateTrade, Bar, Trade

Json = dict[str, Any]


def number(value: Decimal | None) -> str:
    """Eight decimals, as Binance writes amounts."""
    return f"{value or ZERO:.8f}"


def levels(shown: list[tuple[Decimal, Decimal]]) -> list[list[str]]:
    return [[number(price), number(quantity)] for price, quantity in shown]


def public_trade(trade: Trade) -> Json:
    return {
        "id": trade.trade_id,
        "price": number(trade.price),
        "qty": number(trade.quantity),
        "quoteQty": number(trade.quote),
        "time": trade.time_ms,
        "isBuyerMaker": trade.buyer_is_maker,
        "isBestMatch": True,
    }


def aggregate_trade(run: AggregateTrade) -> Json:
    return {
        "a": run.aggregate_id,
        "p": number(run.price),
        "q": number(run.quantity),
        "f": run.first_id,
        "l": run.last_id,
        "T": run.time_ms,
        "m": run.buyer_is_maker,
        "M": True,
    }


def kline_row(bar: Bar) -> list[Any]:
    return [
        bar.opened_ms, number(bar.open), number(bar.high), number(bar.low), number(bar.close), number(bar.volume),
        bar.closes_ms, number(bar.quote_volume), bar.trades, number(bar.taker_volume), number(bar.taker_quote), "0",
    ]  # fmt: skip


def kline_event(symbol: str, interval: str, bar: Bar, closed: bool, now_ms: int) -> Json:
    body = {
        "t": bar.opened_ms, "T": bar.closes_ms, "s": symbol, "i": interval, "f": bar.first_id, "L": bar.last_id,
        "o": number(bar.open), "c": number(bar.close), "h": number(bar.high), "l": number(bar.low),
        "v": number(bar.volume), "n": bar.trades, "x": closed, "q": number(bar.quote_volume),
        "V": number(bar.taker_volume), "Q": number(bar.taker_quote), "B": "0",
    }  # fmt: skip
    return {"e": "kline", "E": now_ms, "s": symbol, "k": body}


def trade_event(symbol: str, trade: Trade, now_ms: int) -> Json:
    return {
        "e": "trade", "E": now_ms, "s": symbol, "t": trade.trade_id, "p": number(trade.price),
        "q": number(trade.quantity), "T": trade.time_ms, "m": trade.buyer_is_maker, "M": True,
    }  # fmt: skip


def aggregate_event(symbol: str, run: AggregateTrade, now_ms: int) -> Json:
    return {"e": "aggTrade", "E": now_ms, "s": symbol, **aggregate_trade(run)}
