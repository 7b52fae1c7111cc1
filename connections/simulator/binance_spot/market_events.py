"""Binance spot's own shapes of public events."""

from connections.simulator.binance.market_payloads import Json
from connections.simulator.binance.market_payloads import levels as shown
from connections.simulator.binance.streams import DepthChange, EventShapes
from connections.simulator.binance.tickers import mini_ticker, ticker
from connections.simulator.exchange import Market
from connections.simulator.matching import Side


def _depth(change: DepthChange) -> Json:
    return {
        "e": "depthUpdate", "E": change.now_ms, "s": change.symbol, "U": change.first, "u": change.last,
        "b": change.side(Side.BUY), "a": change.side(Side.SELL),
    }  # fmt: skip


def _top(market: Market, quote: Json, _now_ms: int) -> Json:
    return {
        "u": market.book.update_id, "s": quote["symbol"], "b": quote["bidPrice"], "B": quote["bidQty"],
        "a": quote["askPrice"], "A": quote["askQty"],
    }  # fmt: skip


def _partial_depth(market: Market, levels: int, _now_ms: int) -> Json:
    book = market.book
    return {
        "lastUpdateId": book.update_id,
        "bids": shown(book.depth(Side.BUY, levels)),
        "asks": shown(book.depth(Side.SELL, levels)),
    }


SHAPES = EventShapes(_depth, _top, _partial_depth, {"miniTicker": mini_ticker, "ticker": ticker})
