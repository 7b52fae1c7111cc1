"""Bithumb's won market. Facts: its public API documents; addresses, paths, field names and price bands: api.toml."""

from pathlib import Path

from connections.exchanges.krw.api import load_krw
from connections.exchanges.krw.venue import KrwVenue

API = load_krw(Path(__file__).parent)
VENUE = KrwVenue("bithumb", "Bithumb", API, stamps_requests=True)
