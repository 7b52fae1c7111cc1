"""The second wall between tenants: row-level security of PostgreSQL, under the ORM's scope.

A policy on each tenant table shows, and lets be written, only rows of the tenants that the transaction named in the
setting ``des.tenants``; of nobody when it named none. It also binds the tables' owner, which our role is. System jobs
take on another role, ``<our role>_system``, for which everything is open. A superuser passes by all of it.
"""

from collections.abc import Sequence
from typing import Any

from django.core.management import CommandError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation

SETTING = "des.tenants"
SYSTEM_SUFFIX = "_system"
POLICY = "tenants"

# Each SELECT in brackets is worked out once a statement, not once a row. UUIDs are looked for as text, in which commas
# keep them apart: a group commit names many tenants and runs many statements, and making an array of the names anew for
# each takes longer than the statement. The system role is told by its name alone: a policy made for it would hold for
# its members as well, of which our own role is one.
_OPEN = f"""(
    strpos((SELECT current_setting('{SETTING}', true)), user_id::text) > 0
    OR (SELECT current_user::text = session_user::text || '{SYSTEM_SUFFIX}')
)"""


def is_bypassed(connection: BaseDatabaseWrapper) -> bool:
    """Whether our role is one to which no policy applies: a superuser, or made with BYPASSRLS. Not so on SQLite."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user")
        (answer,) = cursor.fetchone()
    return bool(answer)


class WallTables(Operation):
    """A migration's operation: puts tenant tables behind the wall. Each must have a column ``user_id``.

    A migration that changes rows of walled tables does so inside ``accounts.tenancy.everyone()``: it would find none.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(self, *tables: str) -> None:
        self.tables: Sequence[str] = tables

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__name__, list(self.tables), {}

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The models don't know of the wall."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            return
        _let_system_in(schema_editor)
        for table in self.tables:
            schema_editor.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
            schema_editor.execute(f"CREATE POLICY {POLICY} ON {table} USING {_OPEN}")

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            return
        for table in self.tables:
            schema_editor.execute(f"DROP POLICY {POLICY} ON {table}")
            schema_editor.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")

    def describe(self) -> str:
        return f"Row-level security on {', '.join(self.tables)}"


def _let_system_in(schema_editor: Any) -> None:
    """The system role may do with rows what we may, and save them all, in the tables there are and in those to come."""
    role = schema_editor.quote_name(_system_role(schema_editor.connection))
    for rights, things in (("SELECT, INSERT, UPDATE, DELETE", "TABLES"), ("SELECT", "SEQUENCES")):
        schema_editor.execute(f"GRANT {rights} ON ALL {things} IN SCHEMA public TO {role}")
        schema_editor.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {rights} ON {things} TO {role}")


def _system_role(connection: BaseDatabaseWrapper) -> str:
    """Its name. Raises CommandError when it isn't there, or not ours to take on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT session_user, EXISTS (SELECT 1 FROM pg_roles"
            " WHERE rolname = session_user || %s AND pg_has_role(session_user, oid, 'MEMBER'))",
            [SYSTEM_SUFFIX],
        )
        own, is_ours = cursor.fetchone()
    system = own + SYSTEM_SUFFIX
    if not is_ours:
        ours, theirs = connection.ops.quote_name(own), connection.ops.quote_name(system)
        raise CommandError(
            "System jobs need a PostgreSQL role of their own. Let an administrator of the server run:"
            f" CREATE ROLE {theirs} NOLOGIN; GRANT {theirs} TO {ours};"
        )
    return str(system)
