"""Loads api.toml, refuses it when something is missing or unknown, and finds the addresses of a mode."""

import tomllib
from pathlib import Path

import msgspec
from django.conf import settings

from desproject.lib.errors import InvalidInput

SIMULATOR = "simulator"


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
    stream_messages_a_second: int
    streams_a_socket: int
    accounts_a_socket: int
    socket_seconds: int


class Timeframes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    all: tuple[str, ...]


class Streams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stream names; ``{symbol}`` is the venue's spelling in lower case."""

    quote: str
    trade: str
    depth: str
    candle: str


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. ``fields``: kind of record → our name → Binance's; names that are the same are left out."""

    version: str
    documents: str
    bases: dict[str, Bases]
    paths: Paths
    limits: Limits
    timeframes: Timeframes
    streams: Streams
    fields: dict[str, dict[str, str]]

    def base(self, mode: str) -> Bases:
        """The addresses of a mode. Raises InvalidInput for one that isn't there."""
        if mode == SIMULATOR:
            return _simulator()
        if mode not in self.bases:
            raise InvalidInput("this exchange has no such mode", fields={"mode": [f"one of {', '.join(self.bases)}"]})
        return self.bases[mode]


class BadApiFile(Exception):
    """api.toml doesn't say what the adapter needs."""


def load(text: str) -> Api:
    """Reads and checks the file's text. Raises BadApiFile."""
    try:
        api = msgspec.convert(tomllib.loads(text), Api)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadApiFile(str(error)) from error
    for name, path in msgspec.structs.asdict(api.paths).items():
        if not path.startswith("/"):
            raise BadApiFile(f"paths.{name} must start with a slash")
    for record, names in api.fields.items():
        if len(set(names.values())) != len(names):
            raise BadApiFile(f"fields.{record} names one field twice")
    return api


def _simulator() -> Bases:
    """The simulator serves everything at one address, which is a setting."""
    url: str = settings.CONFIG.simulator_url
    if not url:
        raise InvalidInput("no simulator is set up here", fields={"mode": ["SIMULATOR_URL is not set"]})
    sockets = url.replace("http", "ws", 1)
    return Bases(url, sockets, sockets)


API = load((Path(__file__).parent / "api.toml").read_text(encoding="utf-8"))
