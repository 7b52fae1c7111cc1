"""The ORM's tenant scope, told to PostgreSQL, whose policies (``row_security``) then hold for whatever SQL comes.

The scope that holds where a statement is run goes ahead of it, in the same message, as settings of the transaction
only: outside of one, a message is a transaction. So nothing is left behind on a connection for whoever gets it next
from a pool, ours or a pooler's, and no other way to the server is needed. A scope is told once for a transaction, and
again when it changes.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

import psycopg
from django.db.backends.postgresql import base
from django_scopes.state import get_scope
from psycopg.pq import TransactionStatus

from desproject.postgresql.row_security import SETTING, SYSTEM_SUFFIX


@dataclass(frozen=True, slots=True)
class Scope:
    """What a transaction may see and write: rows of ``tenants`` (UUIDs by commas), or all for a system job."""

    tenants: str = ""
    is_system: bool = False


NOBODY = Scope()
EVERYONE = Scope(is_system=True)

_TELL = (
    f"SELECT set_config('{SETTING}', {{}}, true),"
    f" set_config('role', CASE WHEN {{}} THEN session_user || '{SYSTEM_SUFFIX}' ELSE 'none' END, true)"
)
_PREPARED = _TELL.format("%s", "%s")


def current() -> Scope:
    """The scope that the ORM holds to here (accounts/tenancy.py opens it)."""
    held = get_scope()
    if not held.get("_enabled", True):
        return EVERYONE
    tenants: Iterable[UUID] = held.get("user") or ()
    return Scope(",".join([str(tenant) for tenant in tenants])) if tenants else NOBODY


class SessionScope:
    """What the server knows of the scope, on one connection."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection
        self._told: Scope | None = NOBODY  # None: not known any more

    def forget(self) -> None:
        """Something was rolled back: what was told may have been undone with it."""
        self._told = None

    def due(self) -> Scope | None:
        """What the server must be told ahead of the next statement; None when it knows."""
        status = self._connection.pgconn.transaction_status
        if status == TransactionStatus.INERROR:  # takes nothing but its own end
            return None
        if status == TransactionStatus.IDLE:
            self._told = NOBODY
        wanted = current()
        return None if wanted == self._told else wanted

    @contextmanager
    def telling(self, scope: Scope) -> Iterator[None]:
        """Around the statement that carries the scope: one that fails may not have been told at all."""
        self.forget()
        yield
        self._told = scope

    def follow(self) -> None:
        """Tells what is due by a statement of its own, prepared: for pipelines, where that costs no way."""
        if (scope := self.due()) is not None:
            with self.telling(scope):
                psycopg.Cursor(self._connection).execute(_PREPARED, [scope.tenants, scope.is_system], prepare=True)


def _statement(scope: Scope) -> str:
    tenants = scope.tenants.replace("'", "''")  # UUIDs hold none
    return _TELL.format(f"'{tenants}'", "true" if scope.is_system else "false")


class _Scoped(psycopg.Cursor[Any]):
    """A cursor whose statements run in the scope that holds where they are run."""

    # Without one (psycopg's own statements) nothing is told, and nothing is seen.
    session: SessionScope | None = None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """For what can't share a message: it shares a transaction."""
        scope = self.session.due() if self.session else None
        if self.session is None or scope is None:
            yield
            return
        connection = self._conn
        with ExitStack() as stack:
            if connection.autocommit and connection.pgconn.transaction_status == TransactionStatus.IDLE:
                stack.enter_context(connection.transaction())
            self.session.follow()
            yield

    def executemany(self, *args: Any, **options: Any) -> None:
        with self._told():
            super().executemany(*args, **options)

    @contextmanager
    def copy(self, *args: Any, **options: Any) -> Iterator[psycopg.Copy]:
        with self._told(), super().copy(*args, **options) as copy:
            yield copy

    def stream(self, *args: Any, **options: Any) -> Iterator[Any]:
        with self._told():
            yield from super().stream(*args, **options)


class ScopedCursor(_Scoped, base.Cursor):
    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        scope = self.session.due() if self.session else None
        if self.session is None or scope is None:
            return super().execute(query, params, **options)
        if self._conn.pgconn.pipeline_status:  # takes no message of two statements
            self.session.follow()
            return super().execute(query, params, **options)
        with self.session.telling(scope):
            merged = self.mogrify(query, params)  # type: ignore[attr-defined]  # the stubs don't know what we derive from
            super().execute(f"{_statement(scope)};\n{merged}".encode(), **options)
        self.nextset()  # over the answer to ours
        return self


class ScopedServerSideCursor(_Scoped, base.ServerSideCursor):
    """Rows that the server holds ready: they are those of the scope that held when the statement began."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        with self._told():
            return super().execute(query, params, **options)
