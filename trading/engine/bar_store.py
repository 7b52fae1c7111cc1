"""Finished bars in the database: written in the background, read at start, never changed."""

import queue
from collections.abc import Iterable, Sequence

import structlog

from connections.gateways import Candle
from trading.bars import merge_history
from trading.models import Bar

log = structlog.get_logger(__name__)

# Bars that wait for their turn; past it the oldest are dropped: the exchange still has them.
_BOUND = 10_000
_waiting: "queue.Queue[Bar]" = queue.Queue(_BOUND)


def keep(feed: str, bars: Sequence[Candle]) -> None:
    """Queues finished bars for ``write_waiting``."""
    for bar in bars:
        if _waiting.full():
            _waiting.get_nowait()
        _waiting.put_nowait(
            Bar(
                feed=feed,
                symbol=bar.symbol,
                timeframe=bar.timeframe,
                opened_at=bar.opened_at,
                open=bar.open,
                high=bar.high,
                low=bar.low,
                close=bar.close,
                volume=bar.volume,
            )
        )


def write_waiting() -> int:
    """Stores what waits, 200 rows at most; one that is there already stays as it is (in a database thread)."""
    rows: list[Bar] = []
    while len(rows) < 200 and not _waiting.empty():
        rows.append(_waiting.get_nowait())
    if rows:
        Bar.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def newest(feed: str, symbol: str, timeframe: str, count: int) -> list[Candle]:
    """The newest stored bars, oldest first (in a database thread)."""
    rows = Bar.objects.filter(feed=feed, symbol=symbol, timeframe=timeframe).order_by("-opened_at")[:count]
    return [
        Candle(
            row.symbol, row.timeframe, row.opened_at, row.open, row.high, row.low, row.close, row.volume, closed=True
        )
        for row in reversed(rows)
    ]


def merged(stored: Iterable[Candle], fetched: Sequence[Candle]) -> list[Candle]:
    """Bars to seed with: those the exchange tells now, where we have stored one our own."""
    times = {bar.opened_at for bar in fetched}
    return merge_history([bar for bar in stored if bar.opened_at in times], fetched)
