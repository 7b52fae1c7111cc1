"""Candles for charts: finished bars as our engines saw them, the rest as the exchange tells it."""

from datetime import datetime

from django.db import close_old_connections, connection

from connections.gateways import Candle, GatewayError
from connections.history import read_candles
from desproject.lib.clock import SYSTEM_CLOCK, from_millis, to_millis
from trading.bars import timeframe_ms
from trading.engine import bar_store


def candles(feed: str, symbol: str, timeframe: str, limit: int, before: datetime | None) -> list[Candle]:
    """The candles of the newest ``limit`` periods (opened before a moment), oldest first, with the growing one.

    Where nothing was traded a period may be missing. An exchange that can't be asked is no error where all finished
    bars are stored. Raises InvalidInput for a symbol that isn't traded, GatewayError.
    """
    step = timeframe_ms(timeframe)
    now_ms = to_millis(SYSTEM_CLOCK.now())
    # The exchange's clock may be ahead of ours: the period after this one counts as begun.
    end_ms = now_ms + step if before is None else min(to_millis(before), now_ms + step)
    if end_ms <= 0:
        return []
    start_ms = max(min(end_ms - 1, now_ms) // step * step - (limit - 1) * step, 0)
    span = from_millis(start_ms), from_millis(end_ms)
    stored = bar_store.between(feed, symbol, timeframe, *span)
    finished = len(range(start_ms, min(end_ms, now_ms - step + 1), step))
    is_whole = len(stored) == finished
    if is_whole and end_ms <= now_ms - step:
        return stored
    if not connection.in_atomic_block:
        close_old_connections()  # to the pool: while the exchange is asked, others may use it
    try:
        told = read_candles(feed, symbol, timeframe, step, *span)
    except GatewayError:
        if is_whole and stored:
            return stored
        raise
    known = {bar.opened_at: bar for bar in told} | {bar.opened_at: bar for bar in stored}
    return [known[opened_at] for opened_at in sorted(known)][-limit:]
