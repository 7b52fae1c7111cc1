"""Rows that are written many at a time: when, and what becomes of them when the database is away."""

import asyncio
from collections.abc import Sequence

import pytest
from django.conf import settings
from django.db import OperationalError

from tests.trading.engine.harness import until
from trading.engine.batch_writer import BatchWriter

# No row is written, but the threads look after the connections that they have from other tests.
pytestmark = pytest.mark.django_db(transaction=True)


class Table:
    """Takes batches, but for the first so many times."""

    def __init__(self, away: int = 0) -> None:
        self.batches: list[Sequence[int]] = []
        self.away = away

    def store(self, rows: Sequence[int]) -> None:
        if self.away:
            self.away -= 1
            raise OperationalError("the database is away")
        self.batches.append(list(rows))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.setattr(settings.CONFIG, "batch_size", 3)
    monkeypatch.setattr(settings.CONFIG, "batch_interval_ms", 60_000)
    return Table()


async def writes(table: Table, count: int) -> None:
    async def are_there() -> bool:
        return sum(map(len, table.batches)) == count

    await until(are_there)


async def test_a_full_batch_is_written_at_once_and_the_rest_at_the_end(table: Table) -> None:
    writer = BatchWriter(table.store, bound=100)
    task = asyncio.create_task(writer.run())
    writer.keep([1, 2])
    await asyncio.sleep(0)
    assert table.batches == []
    writer.keep([3, 4])
    await writes(table, 4)
    writer.keep([5])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await writer.flush()
    assert table.batches == [[1, 2, 3], [4], [5]]
    assert writer.figures == {"batch_writes": 5, "batch_batches": 3, "batch_errors": 0, "batch_dropped": 0}
    assert (writer.last_size, writer.waiting) == (1, 0)
    assert writer.last_flush > 0


async def test_what_waited_long_enough_is_written_before_its_batch_is_full(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings.CONFIG, "batch_interval_ms", 20)
    writer = BatchWriter(table.store, bound=100)
    task = asyncio.create_task(writer.run())
    writer.keep([1])
    await writes(table, 1)
    task.cancel()


async def test_nothing_is_lost_or_reordered_while_the_database_is_away(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings.CONFIG, "batch_interval_ms", 5)
    table.away = 3
    writer = BatchWriter(table.store, bound=100)
    task = asyncio.create_task(writer.run())
    writer.keep(list(range(10)))
    await writes(table, 10)
    task.cancel()
    assert [row for batch in table.batches for row in batch] == list(range(10))
    assert writer.figures["batch_errors"] == 3


async def test_past_the_bound_the_oldest_go_and_are_counted(table: Table) -> None:
    writer = BatchWriter(table.store, bound=4)
    writer.keep(list(range(6)))
    await writer.flush()
    assert table.batches == [[2, 3, 4], [5]]
    assert writer.figures["batch_dropped"] == 2
