"""Rows of high volume stored a second: finished bars through the batch writer.

DES: ``BatchWriter`` with batches of 50, from ``keep`` to the last row stored. Floor: the same rows by the same model,
one INSERT each, each with a commit of its own. Wanted: three times the floor. A call is 500 rows.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

from tests.bench.measure import Figures, Result, rate
from trading.engine.batch_writer import BatchWriter
from trading.models import Bar

_ROWS = 500
_START = datetime(2026, 1, 1, tzinfo=UTC)


def run(seconds: float) -> Iterator[Result]:
    numbers = count()
    samples: tuple[list[float], list[float]] = ([], [])
    end = time.monotonic() + 2 * seconds
    while not samples[0] or time.monotonic() < end:
        for found, work in zip(samples, (_in_batches, _one_by_one), strict=True):
            rows = [_bar(next(numbers)) for _ in range(_ROWS)]
            found.append(_timed(work, rows))
    yield Result("rows_stored_a_second", "1/s", _rate(samples[0]), _rate(samples[1]), about={"rows": _ROWS})


def _in_batches(rows: list[Bar]) -> None:
    writer: BatchWriter[Bar] = BatchWriter(
        lambda batch: Bar.objects.bulk_create(batch, ignore_conflicts=True), bound=len(rows)
    )
    writer.keep(rows)
    asyncio.run(_flushed(writer))


async def _flushed(writer: BatchWriter[Bar]) -> None:
    await writer.flush()


def _one_by_one(rows: list[Bar]) -> None:
    for row in rows:
        row.save(force_insert=True)


def _bar(number: int) -> Bar:
    price = Decimal(60_000)
    return Bar(
        feed="bench", symbol="BTC/USDT", timeframe="1s", opened_at=_START + timedelta(seconds=number), open=price,
        high=price, low=price, close=price, volume=Decimal(1),
    )  # fmt: skip


def _timed(work: Callable[[list[Bar]], None], rows: list[Bar]) -> float:
    started = time.perf_counter()
    work(rows)
    return (time.perf_counter() - started) * 1000


def _rate(samples: list[float]) -> Figures:
    return rate(_ROWS * len(samples) / (sum(samples) / 1000), samples)
