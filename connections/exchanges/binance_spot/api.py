"""Binance spot's api.toml, typed."""

from pathlib import Path

import msgspec

from connections.exchanges.api_file import SIMULATOR, ApiFile, base_of, load, simulator_addresses


class Bases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses without paths."""

    rest: str
    stream: str
    ws_api: str


class Paths(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    time: str
    exchange_info: str
    depth: str
    klines: str
    book_ticker: str
    trades: str
    order: str
    open_orders: str
    my_trades: str
    account: str
    restrictions: str
    stream: str
    ws_api: str


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    max_recv_window_ms: int
    klines_page: int
    trades_page: int
    trades_window_ms: int
    depth_levels: int
    polled_trades: int
    stream_messages_a_second: int
    streams_a_socket: int
    accounts_a_socket: int
    socket_seconds: int


class Streams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stream names; ``{symbol}`` is the venue's spelling in lower case."""

    quote: str
    trade: str
    depth: str
    candle: str


class Api(ApiFile, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    bases: dict[str, Bases]
    paths: Paths
    limits: Limits
    streams: Streams

    def base(self, mode: str) -> Bases:
        """The addresses of a mode. Raises InvalidInput for one that isn't there."""
        if mode == SIMULATOR:
            rest, sockets = simulator_addresses()
            return Bases(rest, sockets, sockets)
        return base_of(self.bases, mode)


API = load((Path(__file__).parent / "api.toml").read_text(encoding="utf-8"), Api)
