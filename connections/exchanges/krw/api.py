"""The shape of a won exchange's api.toml, and its addresses by mode."""

from decimal import Decimal

import msgspec

from connections.exchanges.api_file import ApiFile, BadApiFile, base_of


class Bases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses without paths."""

    rest: str
    sockets: str


class Paths(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    markets: str
    orderbook: str
    # ``{unit}`` is one of ``candle_units``.
    candles: str
    trades: str
    place: str
    cancel: str
    order: str
    open_orders: str
    closed_orders: str
    accounts: str
    withdrawals: str
    public_socket: str
    private_socket: str


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    candles_page: int
    trades_page: int
    orders_page: int
    # Ended orders are asked for in spans of this length, so many days back; with 0, so many pages back.
    closed_window_ms: int
    closed_days: int
    closed_pages: int
    stream_messages_a_second: int
    streams_a_socket: int
    socket_seconds: int


class Trading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The filters, which these exchanges tell in their documents only. Amounts in won or of the base asset."""

    quote: str
    min_total: Decimal
    quantity_step: Decimal
    # A market buy is a limit order that may pay so much more than the best ask, and never rests (ADR 15).
    market_buy_bound: Decimal


class PriceBand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From this price on, prices are multiples of the step."""

    lowest: Decimal
    step: Decimal


class Formats(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In which format each socket is asked to talk: ``fields`` has the names of that format."""

    public: str
    private: str
    # The flag that keeps old trades out, and how (and how many hours off UTC) a request for candles says its end.
    only_new: str
    moment: str
    moment_offset_hours: int


class KrwApi(ApiFile, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    bases: dict[str, Bases]
    paths: Paths
    limits: Limits
    trading: Trading
    price_bands: tuple[PriceBand, ...]
    # DES's timeframes by the unit in the path of candles, and by the type of the stream where there is one.
    candle_units: dict[str, str]
    candle_streams: dict[str, str]
    formats: Formats
    # What a request for open orders says, and those that together tell all ended ones.
    open_query: dict[str, str]
    closed_queries: tuple[dict[str, str], ...]
    # The simulator's paths of this venue begin so.
    simulator_prefix: str

    def base(self, mode: str) -> Bases:
        """The addresses of a mode. Raises InvalidInput for one that isn't there."""
        return base_of(self.bases, mode, Bases, self.simulator_prefix)


def check_krw(api: KrwApi) -> None:
    """What the shape of the file doesn't show. Raises BadApiFile."""
    lowest = [band.lowest for band in api.price_bands]
    if not lowest or lowest != sorted(lowest, reverse=True) or lowest[-1] != 0:
        raise BadApiFile("price_bands must begin with the highest and end at 0")
    if set(api.timeframes.all) != set(api.candle_units):
        raise BadApiFile("candle_units must name every timeframe")
