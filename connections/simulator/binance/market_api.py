"""The public methods that all venues of Binance share."""

from collections.abc import Callable
from typing import Any

from connections.simulator.binance import errors, market_payloads
from connections.simulator.binance.call import Call
from connections.simulator.binance.market_payloads import Json, number
from connections.simulator.exchange import Market
from connections.simulator.matching import Side
from connections.simulator.tape import INTERVALS


def ping(_call: Call) -> Json:
    return {}


def server_time(call: Call) -> Json:
    return {"serverTime": call.now_ms}


def trades(call: Call) -> list[Json]:
    limit = call.params.limit(500, 1000)
    from_id = call.params.integer("fromId")
    kept = list(call.market().tape.trades)
    if from_id is not None:
        return [market_payloads.public_trade(trade) for trade in kept if trade.trade_id >= from_id][:limit]
    return [market_payloads.public_trade(trade) for trade in kept[-limit:]]


def aggregate_trades(call: Call) -> list[Json]:
    from_id, start, end = call.params.integer("fromId"), call.params.moment("startTime"), call.params.moment("endTime")
    runs = [
        run
        for run in call.market().tape.aggregates
        if (from_id is None or run.aggregate_id >= from_id)
        and (start is None or run.time_ms >= start)
        and (end is None or run.time_ms <= end)
    ]
    limit = call.params.limit(500, 1000)
    chosen = runs[-limit:] if from_id is None and start is None else runs[:limit]
    return [market_payloads.aggregate_trade(run) for run in chosen]


def klines(call: Call) -> list[list[Any]]:
    market = call.market()
    interval = call.params.text("interval")
    if interval is None:
        raise errors.missing("interval")
    if interval not in INTERVALS:
        raise errors.ApiError(-1120, "Invalid interval.")
    market.tape.roll(call.now_ms)
    start, end = call.params.moment("startTime"), call.params.moment("endTime")
    bars = [
        bar
        for bar in market.tape.candles[interval].all()
        if (start is None or bar.opened_ms >= start) and (end is None or bar.opened_ms <= end)
    ]
    limit = call.params.limit(500, 1000)
    return [market_payloads.kline_row(bar) for bar in (bars[-limit:] if start is None else bars[:limit])]


def price_ticker(call: Call) -> Json | list[Json]:
    return _for_asked(call, lambda market: {"symbol": _name(market), "price": number(market.tape.last_price)})


def book_ticker(call: Call) -> Json | list[Json]:
    return _for_asked(call, book_quote)


def day_ticker(call: Call) -> Json | list[Json]:
    return _for_asked(call, lambda market: day_statistics(market, call.now_ms))


def book_quote(market: Market) -> Json:
    bid, ask = market.book.best(Side.BUY), market.book.best(Side.SELL)
    return {
        "symbol": _name(market),
        "bidPrice": number(bid and bid[0]),
        "bidQty": number(bid and bid[1]),
        "askPrice": number(ask and ask[0]),
        "askQty": number(ask and ask[1]),
    }


def day_statistics(market: Market, now_ms: int) -> Json:
    """The 24-hour statistics in REST's names."""
    market.tape.roll(now_ms)
    whole, opened_ms = market.tape.day()
    change = whole.close - whole.open
    last = market.tape.trades[-1] if market.tape.trades else None
    return {
        "symbol": _name(market),
        "priceChange": number(change),
        "priceChangePercent": f"{change / whole.open * 100:.3f}",
        "weightedAvgPrice": number(whole.quote_volume / whole.volume if whole.volume else whole.close),
        "prevClosePrice": number(whole.open),
        "lastPrice": number(whole.close),
        "lastQty": number(last.quantity if last else None),
        **{name: value for name, value in book_quote(market).items() if name != "symbol"},
        "openPrice": number(whole.open),
        "highPrice": number(whole.high),
        "lowPrice": number(whole.low),
        "volume": number(whole.volume),
        "quoteVolume": number(whole.quote_volume),
        "openTime": opened_ms,
        "closeTime": now_ms,
        "firstId": whole.first_id,
        "lastId": whole.last_id,
        "count": whole.trades,
    }


def _name(market: Market) -> str:
    return market.instrument.symbol


def asked_markets(call: Call) -> tuple[list[Market], bool]:
    """The markets named by `symbol` or `symbols` (all without either), and whether one was asked by name."""
    names = call.params.symbols()
    if names is not None:
        return [call.market_named(name) for name in names], False
    symbol = call.params.optional_symbol()
    return ([call.market_named(symbol)], True) if symbol else (list(call.exchange.markets.values()), False)


def _for_asked(call: Call, render: Callable[[Market], Json]) -> Json | list[Json]:
    markets, is_single = asked_markets(call)
    return render(markets[0]) if is_single else [render(market) for market in markets]
