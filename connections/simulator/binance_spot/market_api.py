"""Binance spot's own public methods."""

from connections.simulator.binance import errors
from connections.simulator.binance.call import Call
from connections.simulator.binance.market_api import asked_markets
from connections.simulator.binance.market_payloads import Json, levels, number
from connections.simulator.binance_spot import payloads
from connections.simulator.binance_spot.filters import AVERAGE_MINUTES
from connections.simulator.matching import Side

_RAW_REQUESTS = {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61_000}


def system_status(_call: Call) -> Json:
    """Faults are the front's: what answers here is up."""
    return {"status": 0, "msg": "normal"}


def exchange_info(call: Call) -> Json:
    if call.params.text("symbol") and call.params.text("symbols"):
        raise errors.ApiError(-1128, "Combination of optional parameters invalid.")
    return {
        "timezone": "UTC",
        "serverTime": call.now_ms,
        "rateLimits": [*call.limits_info(), _RAW_REQUESTS],
        "exchangeFilters": [],
        "symbols": [payloads.symbol_info(market.instrument) for market in asked_markets(call)[0]],
    }


def depth(call: Call) -> Json:
    book = call.market().book
    limit = call.params.limit(100, 5000)
    return {
        "lastUpdateId": book.update_id,
        "bids": levels(book.depth(Side.BUY, limit)),
        "asks": levels(book.depth(Side.SELL, limit)),
    }


def average_price(call: Call) -> Json:
    tape = call.market().tape
    closed = tape.trades[-1].time_ms if tape.trades else call.now_ms
    return {"mins": AVERAGE_MINUTES, "price": number(tape.average_price(AVERAGE_MINUTES)), "closeTime": closed}
