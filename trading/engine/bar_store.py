"""Finished bars in the database: written in the background, read at start, never changed."""

from collections import deque
from collections.abc import Iterable, Sequence

import structlog
from django.db import DatabaseError, InterfaceError

from connections.database import run as run_in_db
from connections.gateways import Candle
from trading.bars import merge_history
from trading.models import Bar

log = structlog.get_logger(__name__)

# Bars that wait for their turn; past it the oldest are dropped: the exchange still has them.
_BOUND = 10_000
_BATCH = 200


class BarStore:
    """Finished bars on their way into the database."""

    def __init__(self) -> None:
        self._waiting: deque[Bar] = deque(maxlen=_BOUND)

    def keep(self, feed: str, bars: Sequence[Candle]) -> None:
        """Queues bars for ``write``."""
        for bar in bars:
            self._waiting.append(
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

    async def write(self) -> None:
        """Stores what waits; a bar that is there already stays as it is. What can't be written now stays queued."""
        while self._waiting:
            rows = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            try:
                await run_in_db(Bar.objects.bulk_create, rows, ignore_conflicts=True)
            except (DatabaseError, InterfaceError) as error:
                log.warning("bars_not_stored", error=str(error))
                self._waiting.extendleft(reversed(rows))
                return


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
