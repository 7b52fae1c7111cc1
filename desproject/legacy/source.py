"""The database of a former installation: SQLite or PostgreSQL, read in batches, its plain keys blanked at the end."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import psycopg
from psycopg.rows import dict_row

Row = Mapping[str, Any]
# All that is ever read; no other name gets into a statement.
TABLES = ("connections", "traders", "trades")
_SECONDS = 20.0


class SourceUnusable(Exception):
    """It can't be opened, or doesn't have the tables and columns of a former installation. Holds no password."""


class Source(Protocol):
    """A former installation's tables. Ids are what its primary keys hold: integers or texts."""

    def tables(self) -> set[str]: ...

    def count(self, table: str) -> int: ...

    def rows(self, table: str, after: Any, limit: int) -> Sequence[Row]:
        """So many by id, beginning after one (None: at the first)."""

    def blank(self, rows: Sequence[Row]) -> int:
        """Empties ``api_key`` and ``api_secret`` of these, where they still are what was read. How many were."""

    def forget(self) -> None:
        """Removes what blanking leaves of the old values in the database's own files."""


@contextmanager
def opened(where: str, *, to_write: bool) -> Iterator[Source]:
    """The source at a path or a postgresql:// URL; for reading only, unless it is to be blanked.

    Raises SourceUnusable, also for what goes wrong with it inside the block.
    """
    try:
        if where.startswith(("postgresql://", "postgres://")):
            with psycopg.connect(where, connect_timeout=int(_SECONDS), autocommit=True, row_factory=dict_row) as server:
                server.read_only = not to_write
                yield _checked(_Postgresql(server))
        else:
            with closing(_open_file(where, to_write=to_write)) as file:
                yield _checked(_Sqlite(file))
    except (psycopg.Error, sqlite3.Error) as error:
        raise SourceUnusable(f"the former installation's database: {type(error).__name__}: {_plain(error)}") from None


def _plain(error: Exception) -> str:
    """The first line: what follows may quote a row."""
    return (str(error).splitlines() or [""])[0]


def _open_file(where: str, *, to_write: bool) -> sqlite3.Connection:
    path = Path(where.removeprefix("sqlite:///")).absolute()
    if not path.is_file():
        raise SourceUnusable(f"there is no file {path}")
    mode = "rw" if to_write else "ro"
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=_SECONDS)
    connection.isolation_level = None
    connection.row_factory = sqlite3.Row
    return connection


def _checked(source: Source) -> Source:
    if "connections" not in source.tables():
        raise SourceUnusable("it has no table connections: that is no former installation")
    for row in source.rows("connections", None, 1):
        if missing := {"id", "exchange", "api_key", "api_secret"} - set(row):
            raise SourceUnusable(f"its table connections has no column {', '.join(sorted(missing))}")
    return source


class _Sqlite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def tables(self) -> set[str]:
        found = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {row["name"] for row in found} & set(TABLES)

    def count(self, table: str) -> int:
        return int(self._connection.execute(f"SELECT count(*) FROM {_known(table)}").fetchone()[0])  # noqa: S608

    def rows(self, table: str, after: Any, limit: int) -> Sequence[Row]:
        past = "" if after is None else "WHERE id > :after"
        statement = f"SELECT * FROM {_known(table)} {past} ORDER BY id LIMIT :limit"  # noqa: S608
        return [dict(row) for row in self._connection.execute(statement, {"after": after, "limit": limit})]

    def blank(self, rows: Sequence[Row]) -> int:
        # What is overwritten is also wiped from the pages.
        self._connection.execute("PRAGMA secure_delete = ON")
        self._connection.execute("BEGIN IMMEDIATE")
        statement = (
            "UPDATE connections SET api_key = '', api_secret = '' "
            "WHERE id = :id AND api_key = :api_key AND api_secret = :api_secret"
        )
        done = sum(self._connection.execute(statement, _key_of(row)).rowcount for row in rows)
        self._connection.execute("COMMIT")
        return done

    def forget(self) -> None:
        self._connection.execute("VACUUM")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


class _Postgresql:
    def __init__(self, connection: "psycopg.Connection[dict[str, Any]]") -> None:
        self._connection = connection

    def tables(self) -> set[str]:
        found = self._connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = ANY(current_schemas(false))"
        )
        return {row["table_name"] for row in found} & set(TABLES)

    def count(self, table: str) -> int:
        row = self._connection.execute(f"SELECT count(*) AS n FROM {_known(table)}".encode()).fetchone()  # noqa: S608
        return int(row["n"]) if row else 0

    def rows(self, table: str, after: Any, limit: int) -> Sequence[Row]:
        past = "" if after is None else "WHERE id > %(after)s"
        statement = f"SELECT * FROM {_known(table)} {past} ORDER BY id LIMIT %(limit)s"  # noqa: S608
        return self._connection.execute(statement.encode(), {"after": after, "limit": limit}).fetchall()

    def blank(self, rows: Sequence[Row]) -> int:
        statement = (
            "UPDATE connections SET api_key = '', api_secret = '' "
            "WHERE id = %(id)s AND api_key = %(api_key)s AND api_secret = %(api_secret)s"
        )
        with self._connection.transaction():
            return sum(self._connection.execute(statement, _key_of(row)).rowcount for row in rows)

    def forget(self) -> None:
        self._connection.execute("VACUUM FULL connections")


def _key_of(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "api_key", "api_secret")}


def _known(table: str) -> str:
    if table not in TABLES:
        raise ValueError(table)
    return table
