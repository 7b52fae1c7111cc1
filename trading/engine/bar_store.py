"""Finished bars in the database: written in the background, read at start, never changed."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from connections.gateways import Candle
from trading.bars import merge_history
from trading.engine.batch_writer import BatchWriter
from trading.models import Bar

# Bars that wait for their turn; past it the oldest are dropped: the exchange still has them.
_BOUND = 10_000


class BarStore:
    """Finished bars on their way into the database."""

    def __init__(self) -> None:
        self.writer: BatchWriter[Bar] = BatchWriter(_store, bound=_BOUND)

    def keep(self, feed: str, bars: Sequence[Candle]) -> None:
        """Queues bars; one that is stored already stays as it is."""
        self.writer.keep([_row(feed, bar) for bar in bars])


def _store(rows: Sequence[Bar]) -> None:
    Bar.objects.bulk_create(rows, ignore_conflicts=True)


def _row(feed: str, bar: Candle) -> Bar:
    return Bar(
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


def newest(feed: str, symbol: str, timeframe: str, count: int) -> list[Candle]:
    """The newest stored bars, oldest first (in a database thread)."""
    rows = Bar.objects.filter(feed=feed, symbol=symbol, timeframe=timeframe).order_by("-opened_at")[:count]
    return [_candle(row) for row in reversed(rows)]


def between(feed: str, symbol: str, timeframe: str, start: datetime, end: datetime) -> list[Candle]:
    """The stored bars opened from ``start`` on and before ``end``, oldest first (in a database thread)."""
    rows = Bar.objects.filter(
        feed=feed, symbol=symbol, timeframe=timeframe, opened_at__gte=start, opened_at__lt=end
    )
    return [_candle(row) for row in rows.order_by("opened_at")]


def _candle(row: Bar) -> Candle:
    return Candle(
        row.symbol, row.timeframe, row.opened_at, row.open, row.high, row.low, row.close, row.volume, closed=True
    )


def merged(stored: Iterable[Candle], fetched: Sequence[Candle]) -> list[Candle]:
    """Bars to seed with: those the exchange tells now, where we have stored one our own."""
    times = {bar.opened_at for bar in fetched}
    return merge_history([bar for bar in stored if bar.opened_at in times], fetched)
