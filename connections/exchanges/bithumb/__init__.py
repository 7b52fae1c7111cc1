"""Bithumb's won market. Facts: its public API documents; addresses, paths, field names and price bands: api.toml."""

from pathlib import Path

from connections.exchanges.krw.venue import KrwVenue

VENUE = KrwVenue("bithumb", "Bithumb", Path(__file__).parent, stamps_requests=True)
