"""The 24-hour tickers as streams tell them."""

from connections.simulator.binance.market_api import day_statistics
from connections.simulator.binance.market_payloads import Json
from connections.simulator.exchange import Market


def mini_ticker(market: Market, now_ms: int) -> Json:
    day = day_statistics(market, now_ms)
    return {
        "e": "24hrMiniTicker", "E": now_ms, "s": day["symbol"], "c": day["lastPrice"], "o": day["openPrice"],
        "h": day["highPrice"], "l": day["lowPrice"], "v": day["volume"], "q": day["quoteVolume"],
    }  # fmt: skip


def ticker(market: Market, now_ms: int) -> Json:
    day = day_statistics(market, now_ms)
    return {
        "e": "24hrTicker", "E": now_ms, "s": day["symbol"], "p": day["priceChange"], "P": day["priceChangePercent"],
        "w": day["weightedAvgPrice"], "x": day["prevClosePrice"], "c": day["lastPrice"], "Q": day["lastQty"],
        "b": day["bidPrice"], "B": day["bidQty"], "a": day["askPrice"], "A": day["askQty"], "o": day["openPrice"],
        "h": day["highPrice"], "l": day["lowPrice"], "v": day["volume"], "q": day["quoteVolume"],
        "O": day["openTime"], "C": day["closeTime"], "F": day["firstId"], "L": day["lastId"], "n": day["count"],
    }  # fmt: skip
