"""Binance USD-M's api.toml, typed."""

import msgspec

from connections.exchanges.api_file import base_of
from connections.exchanges.binance.api import BinanceApi, BinanceLimits, BinancePaths


class Bases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses without paths. Without a ``wallet``, nobody tells what a key may do beside trading."""

    rest: str
    stream: str
    wallet: str


class Paths(BinancePaths, frozen=True, forbid_unknown_fields=True):
    account_config: str
    positions: str
    leverage: str
    margin_type: str
    income: str
    listen_key: str
    public_stream: str
    market_stream: str
    private_stream: str


class Limits(BinanceLimits, frozen=True, forbid_unknown_fields=True):
    income_page: int
    listen_key_seconds: int


class PublicStreams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stream names; ``{symbol}`` is the venue's spelling in lower case."""

    quote: str
    depth: str


class MarketStreams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    trade: str
    candle: str


class Streams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What each address of public data carries."""

    public: PublicStreams
    market: MarketStreams


class UsdmApi(BinanceApi, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    bases: dict[str, Bases]
    paths: Paths
    limits: Limits
    streams: Streams

    def base(self, mode: str) -> Bases:
        """The addresses of a mode. Raises InvalidInput for one that isn't there."""
        return base_of(self.bases, mode, lambda rest, sockets: Bases(rest, sockets, rest))
