"""Binance spot's api.toml, typed."""

import msgspec

from connections.exchanges.api_file import base_of
from connections.exchanges.binance.api import BinanceApi, BinanceLimits, BinancePaths


class Bases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses without paths."""

    rest: str
    stream: str
    ws_api: str


class Paths(BinancePaths, frozen=True, forbid_unknown_fields=True):
    stream: str
    ws_api: str


class Limits(BinanceLimits, frozen=True, forbid_unknown_fields=True):
    accounts_a_socket: int


class Streams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stream names; ``{symbol}`` is the venue's spelling in lower case."""

    quote: str
    trade: str
    depth: str
    candle: str


class SpotApi(BinanceApi, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    bases: dict[str, Bases]
    paths: Paths
    limits: Limits
    streams: Streams

    def base(self, mode: str) -> Bases:
        """The addresses of a mode. Raises InvalidInput for one that isn't there."""
        return base_of(self.bases, mode, lambda rest, sockets: Bases(rest, sockets, sockets))
