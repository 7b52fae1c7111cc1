"""Market events on their way to Redis: whatever comes in while one write is under way goes out with the next."""

import asyncio
import itertools
import time
from collections import Counter

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from connections.events import BookState, CandleUpdate, MarketBatch, MarketEvent, Quote, encode, feed_stream
from desproject.lib import bus
from desproject.lib.metrics.registry import METRICS

log = structlog.get_logger(__name__)

# From the frame's arrival to its event in Redis, for the metrics: the oldest event of each entry.
FRAME_TO_BUS = METRICS.recorder("streams.frame_to_bus")

KEEP = 20_000
MAX_WAITING = 20_000
_BATCH = 1000
_WRITE_SECONDS = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class MarketPublisher:
    """One feed's entries. Quotes, books and growing candles are conflated, the latest wins; trades, closed candles
    and feed states are kept. More than MAX_WAITING of those: the oldest are lost, counted, and shown by a jump of the
    sequence."""

    def __init__(self, client: "redis.asyncio.Redis", feed: str, epoch: int, figures: Counter[str]) -> None:
        self.feed = feed
        self.epoch = epoch
        self.sequence = 0
        self._redis = client
        self._stream = feed_stream(feed)
        self._figures = figures
        self._waiting: dict[object, MarketEvent] = {}
        self._kept = 0
        self._numbers = itertools.count()
        self._has_some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """How many events aren't written yet."""
        return len(self._waiting)

    def put(self, event: MarketEvent) -> None:
        """Takes an event; never waits."""
        key = _conflation_key(event)
        if key is None:
            key = next(self._numbers)
            self._kept += 1
        else:
            # To the end: what came later is told later.
            self._waiting.pop(key, None)
        self._waiting[key] = event
        self._has_some.set()
        self._idle.clear()
        if self._kept > MAX_WAITING:
            self._lose_oldest()

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await self._has_some.wait()
            await self._write(self._next_batch())
            if not self._waiting:
                self._idle.set()

    async def flush(self, seconds: float) -> None:
        """Waits until all is written, but not for long."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            self._figures["market_lost"] += len(self._waiting)

    def _next_batch(self) -> MarketBatch:
        keys = list(itertools.islice(self._waiting, _BATCH))
        events = tuple(self._waiting.pop(key) for key in keys)
        self._kept -= sum(isinstance(key, int) for key in keys)
        if not self._waiting:
            self._has_some.clear()
        self.sequence += 1
        self._figures["market_events"] += len(events)
        return MarketBatch(self.epoch, self.sequence, events)  # type: ignore[arg-type]

    async def _write(self, batch: MarketBatch) -> None:
        """Writes the entry, again and again where Redis is away."""
        payload, pause = encode(batch), _FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout(_WRITE_SECONDS):
                    await bus.append(self._redis, self._stream, payload, keep=KEEP)
                break
            except (RedisError, OSError, TimeoutError) as error:
                self._figures["market_write_failures"] += 1
                log.warning("market_not_written", feed=self.feed, error=type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        self._figures["market_entries"] += 1
        FRAME_TO_BUS.record((time.time_ns() - batch.events[0].seen_ns) / 1e9)

    def _lose_oldest(self) -> None:
        key = next(key for key in self._waiting if isinstance(key, int))
        del self._waiting[key]
        self._kept -= 1
        self._figures["market_lost"] += 1
        self.sequence += 1


def _conflation_key(event: MarketEvent) -> object | None:
    """Events with the same key replace each other; None: this one must not get lost."""
    if isinstance(event, Quote):
        return ("quote", event.symbol)
    if isinstance(event, BookState):
        return ("book", event.symbol)
    if isinstance(event, CandleUpdate) and not event.closed:
        return ("candle", event.symbol, event.timeframe)
    return None
