"""From a frame at the stream process to its price in another process, at 2,000 messages a second.

DES: every recorded frame (quotes, trades, depth as they came) is read by the venue's dialect, taken by the feed's
stream and published by Redis; the other process reads as engines do and keeps the newest price. What is measured is the
age of each quote and trade when it is there; of quotes that came while one write was under way only the newest goes
out. Floor: the same frames in the same pieces go unread through the same Redis (one XADD a piece, XREAD in another
process): the bare hop. Both in turns, on the same cores.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import cycle, islice

import msgspec

from connections.events import feed_stream
from connections.exchanges.binance_spot import VENUE
from connections.exchanges.binance_spot.codec import SpotCodec
from connections.prices import PriceCache
from connections.streaming.market_publisher import MarketPublisher
from desproject.lib import bus
from tests.bench.children import Child
from tests.bench.market_data import FEED, SYMBOL, market_stream, recorded, spot_dialect
from tests.bench.measure import Result, times
from tests.bench.price_reader import HOP, Hop

RATE = 2000
_PIECE = 4
_TURNS = 2
_KEEP = 20_000
_Send = Callable[[Sequence[bytes]], Awaitable[None]]


def run(seconds: float) -> Iterator[Result]:
    lines = recorded()
    if lines is None:
        return
    reader = ("-m", "tests.bench.price_reader")
    with Child(*reader, feed_stream(FEED)) as des, Child(*reader, HOP) as floor:
        des.ready()
        floor.ready()
        told = asyncio.run(_send(lines, seconds))
        ages, hops = des.end(), floor.end()
    about = {"messages_a_second": told["rate"], "events_heard": len(ages), "lost": told["lost"]}
    yield Result("frame_to_price", "ms", times(ages), times(hops), about=about)


async def _send(lines: Sequence[bytes], seconds: float) -> dict[str, float]:
    """Both sides in turns; how many frames a second DES was given, and what it lost."""
    at = next(index for index, line in enumerate(lines) if line.startswith(b'{"lastUpdateId"'))
    client, figures = bus.connect(), Counter[str]()
    publisher = MarketPublisher(client, FEED, 1, figures)
    stream, dialect = market_stream(publisher, figures, PriceCache()), spot_dialect()
    stream.books[SYMBOL].on_snapshot(SpotCodec(VENUE.versions.shipped).depth(lines[at]))
    publishing = asyncio.create_task(publisher.run())

    async def take(frames: Sequence[bytes]) -> None:
        for frame in frames:
            event = dialect.read(frame, time.time_ns())
            assert event is not None
            stream.take(event)

    async def hop(frames: Sequence[bytes]) -> None:
        await bus.append(client, HOP, msgspec.msgpack.encode(Hop(time.time_ns(), tuple(frames))), keep=_KEEP)

    ours, theirs = (cycle([*lines[:at], *lines[at + 1 :]]) for _ in range(2))
    spent = sent = 0.0
    for _ in range(_TURNS):
        began = time.monotonic()
        sent += await _pace(ours, seconds / 2 / _TURNS, take)
        spent += time.monotonic() - began
        await _pace(theirs, seconds / 2 / _TURNS, hop)
    assert stream.books[SYMBOL].valid
    await publisher.flush(5)
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
    await client.aclose()
    return {"rate": round(sent / spent), "lost": figures["market_lost"]}


async def _pace(frames: Iterator[bytes], seconds: float, send: _Send) -> int:
    """Hands over pieces of frames, RATE frames a second."""
    loop, sent = asyncio.get_running_loop(), 0
    began = loop.time()
    while (now := loop.time()) < began + seconds:
        due = int((now - began) * RATE) - sent
        while due >= _PIECE:
            await send(list(islice(frames, _PIECE)))
            sent, due = sent + _PIECE, due - _PIECE
        await asyncio.sleep(_PIECE / RATE / 2)
    return sent
