"""Django's PostgreSQL backend with a pool that gets over a restart of the server at once.

After a restart every idle connection of the pool is dead. psycopg's pool finds that out one connection after the other,
with a growing pause after each, so that a request waits past its limit and fails. Here the first dead one empties the
pool: what comes next is new.
"""

from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.db.utils import DEFAULT_DB_ALIAS
from psycopg_pool import ConnectionPool


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
    """Django's own, but for the kind of pool."""

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
