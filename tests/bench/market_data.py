"""Messages of the recording, decoded and applied, a second of one core's time: quotes, trades, depth.

DES: the venue's dialect reads the frame, the feed's stream takes the event: checks, price cache, order book,
conflation, and after every 100 messages the entry for Redis is encoded (no socket, nothing is written). Floor: msgspec
decodes the same frame into a typed struct of the same fields, with Decimals; a quote or trade is put into a dict, a
depth delta changes two dicts of levels. A call is the whole recording's messages of one kind, beginning anew.
"""

import gzip
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, cast

import msgspec
import redis.asyncio

from connections.events import encode
from connections.exchanges import venues
from connections.exchanges.binance.market_stream import BinanceMarketDialect
from connections.exchanges.binance_spot import VENUE
from connections.exchanges.binance_spot.codec import SpotCodec
from connections.exchanges.binance_spot.venue import spot_market_dialect
from connections.exchanges.network import Network
from connections.exchanges.wire import Symbols
from connections.gateways import SymbolRules
from connections.prices import PriceCache
from connections.streaming.kept_socket import Timing
from connections.streaming.market import MarketStream
from connections.streaming.market_publisher import MarketPublisher
from desproject.config import BASE_DIR
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.money import ZERO
from tests.bench.measure import Result
from tests.bench.turns import in_turns

# Nothing is written here: what goes out is only made.
NO_REDIS = cast(redis.asyncio.Redis, None)
RECORDING = BASE_DIR.parent / "shared/data/binance/spot-btcusdt-20240808.jsonl.gz"
SYMBOL, _SPELLING, FEED = "BTC/USDT", "BTCUSDT", "binance_spot:live"
_DRAINED_EVERY = 100


class _Quote(msgspec.Struct):
    s: str
    b: Decimal
    B: Decimal
    a: Decimal
    A: Decimal


class _Trade(msgspec.Struct):
    s: str
    t: int
    p: Decimal
    q: Decimal
    T: int


class _Depth(msgspec.Struct):
    s: str
    U: int
    u: int
    b: list[tuple[Decimal, Decimal]]
    a: list[tuple[Decimal, Decimal]]


class _Frame(msgspec.Struct):
    data: msgspec.Raw


_KINDS = {"quotes": b"@bookTicker", "trades": b"@trade", "depth": b"@depth"}
_STRUCTS = {"quotes": _Quote, "trades": _Trade, "depth": _Depth}
_READERS = {kind: msgspec.json.Decoder(struct).decode for kind, struct in _STRUCTS.items()}
_read_frame = msgspec.json.Decoder(_Frame).decode


def run(seconds: float) -> Iterator[Result]:
    lines = recorded()
    if lines is None:
        return
    at = next(index for index, line in enumerate(lines) if line.startswith(b'{"lastUpdateId"'))
    for kind, mark in _KINDS.items():
        frames = [line for line in lines if mark in line[:60]]
        des, floor = in_turns(
            (partial(_des, lines[at], frames), partial(_bare, _STRUCTS[kind], frames)), seconds, a_call=len(frames)
        )
        about = {"messages_a_call": len(frames)}
        yield Result(f"market_{kind}_a_second", "1/s", des, floor, time_unit="µs", about=about)


def recorded() -> list[bytes] | None:
    """The recording's messages, the snapshot among them; None, and said so, where it isn't on this machine."""
    if not RECORDING.exists():
        sys.stderr.write(f"left out: the recording {RECORDING.name} isn't on this machine\n")
        return None
    with gzip.open(RECORDING, "rb") as file:
        return [line.partition(b" ")[2] for line in file]


def spot_dialect(names: Mapping[str, str] | None = None) -> BinanceMarketDialect:
    """What reads the frames, for symbols by the exchange's name."""
    rules = {
        spelling: SymbolRules(symbol, "BTC", "USDT", ZERO, ZERO, ZERO, ZERO, ZERO)
        for spelling, symbol in (names or {_SPELLING: SYMBOL}).items()
    }
    return spot_market_dialect(VENUE.versions.shipped, "", Symbols(rules.items()))


def market_stream(
    publisher: MarketPublisher, figures: Counter[str], prices: PriceCache, symbols: Collection[str] = (SYMBOL,)
) -> MarketStream:
    """A feed's stream without a socket, with a book of each symbol that waits for its snapshot."""
    stream = MarketStream(
        FEED, venues()["binance_spot"], Network(), publisher, prices, timing=Timing(1, 1), figures=figures,
        clock=SYSTEM_CLOCK,
    )  # fmt: skip
    stream.want(dict.fromkeys(symbols, ()))
    for symbol in symbols:
        stream._book(symbol, whole=False)
    return stream


def _des(snapshot: bytes, frames: Sequence[bytes]) -> None:
    """All frames of a kind through what a stream process does with them, up to the bytes for Redis."""
    figures = Counter[str]()
    publisher = MarketPublisher(NO_REDIS, FEED, 1, figures)
    stream, dialect = market_stream(publisher, figures, PriceCache()), spot_dialect()
    stream.books[SYMBOL].on_snapshot(SpotCodec(VENUE.versions.shipped).depth(snapshot))
    take(frames, dialect, stream, publisher)
    assert stream.books[SYMBOL].valid


def take(
    frames: Iterable[bytes], dialect: BinanceMarketDialect, stream: MarketStream, publisher: MarketPublisher
) -> None:
    """Reads and takes frames; what would go to Redis is encoded."""
    for number, frame in enumerate(frames, 1):
        event = dialect.read(frame, time.time_ns())
        assert event is not None
        stream.take(event)
        if number % _DRAINED_EVERY == 0 and publisher._waiting:
            encode(publisher._next_batch())


def _bare(kind: type[Any], frames: Sequence[bytes]) -> None:
    known: dict[Any, Any] = {}
    read = msgspec.json.Decoder(kind).decode
    for frame in frames:
        _keep(read(_read_frame(frame).data), known)


def bare_frame(frame: bytes, known: dict[Any, Any]) -> None:
    """The floor's work on a frame of any kind."""
    kind = next(kind for kind, mark in _KINDS.items() if mark in frame[:60])
    _keep(_READERS[kind](_read_frame(frame).data), known)


def _keep(row: Any, known: dict[Any, Any]) -> None:
    if isinstance(row, _Depth):
        bids, asks = known.setdefault((row.s, "depth"), ({}, {}))
        _change(bids, row.b)
        _change(asks, row.a)
    else:
        known[row.s] = row


def _change(levels: dict[Decimal, Decimal], changes: Sequence[tuple[Decimal, Decimal]]) -> None:
    for price, size in changes:
        if size:
            levels[price] = size
        else:
            levels.pop(price, None)
