"""Binance USD-M's api.toml, typed."""

from pathlib import Path

import msgspec

from connections.exchanges.api_file import SIMULATOR, ApiFile, base_of, load, simulator_addresses


class Bases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses without paths. Without a ``wallet``, nobody tells what a key may do beside trading."""

    rest: str
    stream: str
    wallet: str


class Paths(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    time: str
    exchange_info: str
    depth: str
    klines: str
    book_ticker: str
    trades: str
    order: str
    open_orders: str
    user_trades: str
    account: str
    account_config: str
    positions: str
    leverage: str
    margin_type: str
    income: str
    listen_key: str
    restrictions: str
    public_stream: str
    market_stream: str
    private_stream: str


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    max_recv_window_ms: int
    klines_page: int
    trades_page: int
    trades_window_ms: int
    income_page: int
    depth_levels: int
    polled_trades: int
    stream_messages_a_second: int
    streams_a_socket: int
    socket_seconds: int
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
            return Bases(rest, sockets, rest)
        return base_of(self.bases, mode)


API = load((Path(__file__).parent / "api.toml").read_text(encoding="utf-8"), Api)
