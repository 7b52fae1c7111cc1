"""Binance spot. Facts: its public API documents; addresses, paths and field names are in api.toml."""

from connections.exchanges.binance_spot.venue import BinanceSpot

VENUE = BinanceSpot()
