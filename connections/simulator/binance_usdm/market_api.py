"""USD-M's own public methods, and its shapes of public events.

All contracts share one numbering of updates there, so the numbers of one have holes: here each update counts for three.
"""

from decimal import Decimal

from connections.simulator.binance.call import Call
from connections.simulator.binance.market_api import asked_markets
from connections.simulator.binance.market_payloads import Json, levels, number
from connections.simulator.binance.streams import DepthChange, EventShapes
from connections.simulator.binance.tickers import mini_ticker, ticker
from connections.simulator.binance_usdm import payloads
from connections.simulator.exchange import Market
from connections.simulator.matching import Side

_STRIDE = 3
FUNDING_INTERVAL_MS = 8 * 3_600_000
FUNDING_RATE = Decimal("0.0001")


def mark_price(market: Market) -> Decimal:
    """The middle of the book, else the last price; the index is the same."""
    bid, ask = market.book.best(Side.BUY), market.book.best(Side.SELL)
    return (bid[0] + ask[0]) / 2 if bid and ask else market.tape.last_price


def next_funding_ms(now_ms: int) -> int:
    return (now_ms // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS


def exchange_info(call: Call) -> Json:
    return {
        "timezone": "UTC",
        "serverTime": call.now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": call.limits_info(),
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [payloads.symbol_info(market.instrument) for market in call.exchange.markets.values()],
    }


def depth(call: Call) -> Json:
    return {"E": call.now_ms, "T": call.now_ms, **_book(call.market(), call.params.limit(500, 1000))}


def _book(market: Market, limit: int) -> Json:
    book = market.book
    return {
        "lastUpdateId": book.update_id * _STRIDE,
        "bids": levels(book.depth(Side.BUY, limit)),
        "asks": levels(book.depth(Side.SELL, limit)),
    }


def premium_index(call: Call) -> Json | list[Json]:
    markets, is_single = asked_markets(call)
    rows = [_premium(market, call.now_ms) for market in markets]
    return rows[0] if is_single else rows


def _premium(market: Market, now_ms: int) -> Json:
    mark = number(mark_price(market))
    return {
        "symbol": market.instrument.symbol, "markPrice": mark, "indexPrice": mark, "estimatedSettlePrice": mark,
        "lastFundingRate": number(FUNDING_RATE), "interestRate": number(FUNDING_RATE),
        "nextFundingTime": next_funding_ms(now_ms), "time": now_ms,
    }  # fmt: skip


def _depth_event(change: DepthChange) -> Json:
    return {
        "e": "depthUpdate", "E": change.now_ms, "T": change.now_ms, "s": change.symbol, "U": change.first * _STRIDE,
        "u": change.last * _STRIDE, "pu": change.previous * _STRIDE, "b": change.side(Side.BUY),
        "a": change.side(Side.SELL),
    }  # fmt: skip


def _top_event(market: Market, quote: Json, now_ms: int) -> Json:
    return {
        "e": "bookTicker", "u": market.book.update_id * _STRIDE, "E": now_ms, "T": now_ms, "s": quote["symbol"],
        "b": quote["bidPrice"], "B": quote["bidQty"], "a": quote["askPrice"], "A": quote["askQty"],
    }  # fmt: skip


def _partial_depth(market: Market, shown: int, now_ms: int) -> Json:
    book = _book(market, shown)
    last = book["lastUpdateId"]
    return {
        "e": "depthUpdate", "E": now_ms, "T": now_ms, "s": market.instrument.symbol, "U": last, "u": last,
        "pu": last - _STRIDE, "b": book["bids"], "a": book["asks"],
    }  # fmt: skip


def _mark_event(market: Market, now_ms: int) -> Json:
    mark = number(mark_price(market))
    return {
        "e": "markPriceUpdate", "E": now_ms, "s": market.instrument.symbol, "p": mark, "i": mark, "P": mark,
        "r": number(FUNDING_RATE), "T": next_funding_ms(now_ms),
    }  # fmt: skip


SHAPES = EventShapes(
    _depth_event, _top_event, _partial_depth,
    {"miniTicker": mini_ticker, "ticker": ticker, "markPrice@1s": _mark_event, "markPrice": _mark_event},
)  # fmt: skip
_PUBLIC = ("depth", "bookTicker")


def is_public(stream: str) -> bool:
    """Whether /public carries a stream; /market carries the others."""
    return stream.partition("@")[2].startswith(_PUBLIC)
