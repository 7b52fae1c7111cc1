"""SQL statements that share their way to the database, inside the caller's transaction.

On PostgreSQL they are prepared and pipelined: they run in the order given, each with a snapshot of its own, and the
first look at an answer waits for all. A round trip costs a thread beside a busy loop far more than the statement does:
it has to get the interpreter back each time. SQLite has no way to go: there each runs at once.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol
from uuid import UUID

import psycopg
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import JSONField

Row = tuple[Any, ...]
# Django sets none, by which psycopg prepares nothing, not even what it is told to. Django's own cursors still don't.
_PREPARES = 5


class Statements(Protocol):
    """Where statements go. What they return looks at the answer; errors may show only there, or at the block's end."""

    def read(self, sql: str, parameters: Sequence[Any]) -> Callable[[], list[Row]]:
        """Runs a statement that answers with rows."""

    def write(self, sql: str, rows: Sequence[Sequence[Any]]) -> Callable[[], int]:
        """Runs a statement once for each row of parameters; its answer is how many rows it changed in all."""


@contextmanager
def together() -> Iterator[Statements]:
    """Everything that was given has run when the block ends. Inside a transaction."""
    if connection.vendor != "postgresql":
        yield _AtOnce(connection.cursor)
        return
    connection.ensure_connection()
    own: psycopg.Connection[Any] = connection.connection
    own.prepare_threshold = _PREPARES
    with connection.wrap_database_errors, own.pipeline() as pipeline:
        connection.session_scope.follow()  # type: ignore[attr-defined]  # our backend has it
        yield _Pipelined(own, pipeline)


class _Pipelined:
    def __init__(self, own: "psycopg.Connection[Any]", pipeline: psycopg.Pipeline) -> None:
        self._own = own
        self._pipeline = pipeline
        self._is_under_way = False

    def read(self, sql: str, parameters: Sequence[Any]) -> Callable[[], list[Row]]:
        self._is_under_way = True
        return psycopg.Cursor(self._own).execute(sql, parameters, prepare=True).fetchall

    def write(self, sql: str, rows: Sequence[Sequence[Any]]) -> Callable[[], int]:
        self._is_under_way = True
        cursor: psycopg.Cursor[Any] = psycopg.Cursor(self._own)
        cursor.executemany(sql, rows)

        def changed() -> int:
            if self._is_under_way:  # a cursor counts its rows only when they are told
                self._pipeline.sync()
                self._is_under_way = False
            return cursor.rowcount

        return changed


class _AtOnce:
    def __init__(self, cursor: Callable[[], CursorWrapper]) -> None:
        self._cursor = cursor

    def read(self, sql: str, parameters: Sequence[Any]) -> Callable[[], list[Row]]:
        with self._cursor() as cursor:
            cursor.execute(sql, parameters)
            found = cursor.fetchall()
        return lambda: found

    def write(self, sql: str, rows: Sequence[Sequence[Any]]) -> Callable[[], int]:
        with self._cursor() as cursor:
            cursor.executemany(sql, rows)
            changed = cursor.rowcount
        return lambda: changed


def one_of(column: str) -> str:
    """The condition that a column's value is in a list, which is one parameter: see ``listed``."""
    if connection.vendor == "postgresql":
        return f"{column} = ANY(%s)"
    return f"{column} IN (SELECT value FROM json_each(%s))"  # noqa: S608  # our columns


def listed(values: Collection[str | UUID]) -> Any:
    """The parameter of ``one_of``."""
    if connection.vendor == "postgresql":
        return list(values)
    texts = [value.hex if isinstance(value, UUID) else value for value in values]
    return JSONField().get_db_prep_value(texts, connection)


def locked_shared() -> str:
    """What locks the rows read against writers; an IMMEDIATE transaction on SQLite excludes them anyway."""
    return " FOR SHARE" if connection.vendor == "postgresql" else ""


def as_uuid(value: UUID | str) -> UUID:
    """A UUID column as it was read: text on SQLite."""
    return value if isinstance(value, UUID) else UUID(value)
