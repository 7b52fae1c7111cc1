"""A thousand symbols on one feed: messages a second of one core's time, and memory of each symbol.

DES: the first messages of the recording (quotes, trades, depth), each as a message of every
symbol, one symbol after the other; a call is all of them, beginning anew. Floor: bare msgspec into dicts by symbol, as
in market_data. Memory is what Python holds for a symbol with its price and a book of the recorded snapshot's levels;
its floor are two dicts of the same Decimals.
"""

import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

from connections.exchanges.binance_spot import VENUE
from connections.exchanges.binance_spot.codec import SpotCodec
from connections.prices import PriceCache
from connections.streaming.market_publisher import MarketPublisher
from tests.bench.market_data import FEED, NO_REDIS, bare_frame, market_stream, recorded, spot_dialect, take
from tests.bench.measure import Result, times
from tests.bench.turns import in_turns

_MESSAGES = 24
_WEIGHED = 50


def run(seconds: float, symbols: int) -> Iterator[Result]:
    lines = recorded()
    if lines is None:
        return
    at = next(index for index, line in enumerate(lines) if line.startswith(b'{"lastUpdateId"'))
    names = {f"X{number}USDT": f"X{number}/USDT" for number in range(symbols)}
    frames = [_of(name, line) for line in lines[: _MESSAGES + 1] if line is not lines[at] for name in names]
    des = _Feed(names, lines[at])
    ours, bare = in_turns((partial(des.take, frames), partial(_bare, frames)), seconds, a_call=len(frames))
    yield Result(f"market_of_{symbols}_symbols_a_second", "1/s", ours, bare, time_unit="µs", about={"symbols": symbols})
    few = dict(islice(names.items(), _WEIGHED))
    kept = _memory(lambda: _Feed(few, lines[at])) / _WEIGHED / 1024
    least = _memory(lambda: [_levels(lines[at]) for _ in few]) / _WEIGHED / 1024
    levels = sum(des.stream.books["X0/USDT"].depth())
    about = {"symbols": _WEIGHED, "levels": levels}
    yield Result("market_memory_a_symbol", "KiB", times([kept]), times([least]), time_unit="KiB", about=about)


class _Feed:
    """A feed of many symbols, each with the same valid book."""

    def __init__(self, names: dict[str, str], snapshot: bytes) -> None:
        figures = Counter[str]()
        self._publisher = MarketPublisher(NO_REDIS, FEED, 1, figures)
        self._dialect = spot_dialect(names)
        self.stream = market_stream(self._publisher, figures, PriceCache(), list(names.values()))
        for book in self.stream.books.values():
            book.on_snapshot(SpotCodec(VENUE.versions.shipped).depth(snapshot))
        self._begins = SpotCodec(VENUE.versions.shipped).depth(snapshot).last_id

    def take(self, frames: Sequence[bytes]) -> None:
        for symbol, book in self.stream.books.items():
            book.last_id = self._begins
            self.stream._forget_trades(symbol)
        take(frames, self._dialect, self.stream, self._publisher)
        assert all(book.valid for book in self.stream.books.values())


def _of(name: str, line: bytes) -> bytes:
    """The message as one of another symbol."""
    return line.replace(b"btcusdt", name.lower().encode(), 1).replace(b"BTCUSDT", name.encode(), 1)


def _bare(frames: Sequence[bytes]) -> None:
    known: dict[str, object] = {}
    for frame in frames:
        bare_frame(frame, known)


def _levels(snapshot: bytes) -> tuple[dict[object, object], dict[object, object]]:
    depth = SpotCodec(VENUE.versions.shipped).depth(snapshot)
    return dict(depth.bids), dict(depth.asks)


def _memory(make: Callable[[], object]) -> int:
    """Bytes that what is made holds."""
    tracemalloc.start()
    try:
        made = make()
        held, _ = tracemalloc.get_traced_memory()
        del made
        return held
    finally:
        tracemalloc.stop()
