"""Binance spot's public streams: all on one address."""

from connections.exchanges.binance.codec import Symbols
from connections.exchanges.binance.market_stream import BinanceMarketDialect, MarketWire, market_records
from connections.exchanges.binance_spot.api import API

_WIRE = MarketWire(
    records=market_records(API),
    templates={
        "quote": API.streams.quote, "trade": API.streams.trade, "depth": API.streams.depth,
        "candle": API.streams.candle,
    },
    timeframes=API.timeframes.all,
    messages_a_second=API.limits.stream_messages_a_second,
    lifetime=float(API.limits.socket_seconds),
)  # fmt: skip


def spot_market_dialect(base: str, symbols: Symbols) -> BinanceMarketDialect:
    """The dialect of the combined stream at ``base``."""
    return BinanceMarketDialect(base + API.paths.stream, symbols, _WIRE)
