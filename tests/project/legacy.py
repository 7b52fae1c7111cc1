"""A former single-user installation, made as docs/legacy.md describes it: on SQLite, or on a PostgreSQL of its own."""

import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

_TABLES = (
    "CREATE TABLE connections (id INTEGER PRIMARY KEY, name TEXT, exchange TEXT NOT NULL, testnet INTEGER, "
    "api_key TEXT NOT NULL, api_secret TEXT NOT NULL)",
    "CREATE TABLE traders (id INTEGER PRIMARY KEY, name TEXT, strategy TEXT, connection_id INTEGER, symbol TEXT, "
    "timeframe TEXT, params TEXT)",
    "CREATE TABLE trades (id INTEGER PRIMARY KEY, connection_id INTEGER, exchange_trade_id TEXT, symbol TEXT, "
    "side TEXT, quantity TEXT, price TEXT, fee TEXT, fee_asset TEXT, executed_at TEXT)",
)


class Legacy:
    """``where`` is what --from takes."""

    def __init__(self, where: str) -> None:
        self.where = where
        for statement in _TABLES:
            self.query(statement)

    @property
    def path(self) -> Path | None:
        """Its file, where it is one."""
        return None if self.where.startswith("postgresql") else Path(self.where)

    def fill(self, connections: int) -> None:
        """So many connections, each with a trader and a trade."""
        numbers = range(1, connections + 1)
        self._insert("connections", [(each, f"account {each}", "binance", 1, *self.key(each)) for each in numbers])
        params = '{"fast": 3, "slow": 9}'
        self._insert("traders", [(each, "trend", "ema_cross", each, "BTC/USDT", "5m", params) for each in numbers])
        trade = ("BTC/USDT", "BUY", "0.015", "50000.5", "0.1", "USDT", "2025-03-01T12:00:00")
        self._insert("trades", [(each, each, f"t{each}", *trade) for each in numbers])

    @staticmethod
    def key(number: int) -> tuple[str, str]:
        return f"legacy-plain-key-{number:05d}", f"legacy-plain-secret-{number:05d}"

    def insert(self, table: str, *values: object) -> None:
        self._insert(table, [values])

    def _insert(self, table: str, rows: Sequence[Sequence[object]]) -> None:
        values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
        self.query(f"INSERT INTO {table} VALUES {values}")  # noqa: S608  # our own values

    def keys(self) -> list[tuple[str, str]]:
        return [(key, secret) for key, secret in self.query("SELECT api_key, api_secret FROM connections ORDER BY id")]

    def query(self, statement: str) -> Sequence[Any]:
        if self.path is None:
            with psycopg.connect(self.where, autocommit=True) as server:
                found = server.execute(statement.encode())
                return found.fetchall() if found.description else []
        with closing(sqlite3.connect(self.path)) as file, file:
            return file.execute(statement).fetchall()


def _literal(value: object) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


@contextmanager
def legacy_database(folder: Path) -> Iterator[Legacy]:
    """On PostgreSQL where DATABASE_URL names one, else a file."""
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        yield Legacy(str(folder / "old.sqlite3"))
        return
    name = sql.Identifier(f"des_legacy_{secrets.token_hex(4)}")
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            yield Legacy(f"{url.rpartition('/')[0]}/{name.as_string(None).strip(chr(34))}")
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
