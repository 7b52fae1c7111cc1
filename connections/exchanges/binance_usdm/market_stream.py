"""Binance USD-M's public streams, on two addresses: books and quotes on one, trades and candles on the other."""

import msgspec

from connections.exchanges.binance.codec import Symbols
from connections.exchanges.binance.market_stream import BinanceMarketDialect, MarketWire, market_records
from connections.exchanges.binance_usdm.api import API

_RECORDS = market_records(API)


def _wire(streams: msgspec.Struct) -> MarketWire:
    return MarketWire(
        records=_RECORDS,
        templates=msgspec.structs.asdict(streams),
        timeframes=API.timeframes.all,
        messages_a_second=API.limits.stream_messages_a_second,
        lifetime=float(API.limits.socket_seconds),
    )


_PUBLIC, _MARKET = _wire(API.streams.public), _wire(API.streams.market)


def usdm_market_dialects(base: str, symbols: Symbols) -> tuple[BinanceMarketDialect, BinanceMarketDialect]:
    """The dialects of both addresses at ``base``."""
    return (
        BinanceMarketDialect(base + API.paths.public_stream, symbols, _PUBLIC),
        BinanceMarketDialect(base + API.paths.market_stream, symbols, _MARKET),
    )
