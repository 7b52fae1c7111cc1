"""Django's PostgreSQL backend, whose statements carry their tenant scope, with a pool that gets over a restart at once.

After a restart every idle connection of the pool is dead. psycopg's pool finds that out one connection after the other,
with a growing pause after each, so that a request waits past its limit and fails. Here the first dead one empties the
pool: what comes next is new.
"""

from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.db.utils import DEFAULT_DB_ALIAS
from psycopg_pool import ConnectionPool

from desproject.postgresql.scopes import ScopedCursor, ScopedServerSideCursor, SessionScope


class RenewingPool(ConnectionPool[psycopg.Connection[Any]]):
    """Checks each connection that it hands out; a dead one means that the others are dead too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(check=self._check_all, **options)

    def _check_all(self, connection: psycopg.Connection[Any]) -> None:
        try:
            self.check_connection(connection)
        except psycopg.Error:
            self.drain()
            raise


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own, but for the kind of pool and of cursors."""

    # Of the present connection.
    session_scope: SessionScope

    # Django's, of which its type stubs don't know.
    _connection_pools: dict[str, ConnectionPool[Any]]
    _configure_connection: Any

    @property
    def pool(self) -> Any:
        options = self.settings_dict["OPTIONS"].get("pool")
        if options and self.alias == DEFAULT_DB_ALIAS and self.alias not in self._connection_pools:
            made = RenewingPool(
                kwargs={**self.get_connection_params(), "autocommit": True},
                open=False,
                configure=self._configure_connection,
                **options,
            )
            # Threads may come here together: the first one's pool stays, the others' were never opened.
            self._connection_pools.setdefault(self.alias, made)
        return super().pool

    def get_connection_params(self) -> dict[str, Any]:
        return {**super().get_connection_params(), "cursor_factory": ScopedCursor}

    def get_new_connection(self, conn_params: dict[str, Any]) -> "psycopg.Connection[Any]":
        connection: psycopg.Connection[Any] = super().get_new_connection(conn_params)
        self.session_scope = SessionScope(connection)
        return connection

    def create_cursor(self, name: str | None = None) -> ScopedCursor | ScopedServerSideCursor:
        cursor: ScopedCursor | ScopedServerSideCursor
        if name is None:
            cursor = super().create_cursor()
        else:
            cursor = ScopedServerSideCursor(  # type: ignore[call-overload]  # the stubs don't know what it derives from
                self.connection, name=name, scrollable=False, withhold=self.connection.autocommit
            )
        cursor.session = self.session_scope
        return cursor

    def _savepoint_rollback(self, sid: str) -> None:
        super()._savepoint_rollback(sid)  # type: ignore[misc]  # see above
        self.session_scope.forget()
