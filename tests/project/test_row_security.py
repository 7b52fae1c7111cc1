"""TEN-3: what raw SQL may see and write on PostgreSQL, with the application's own role."""

from collections.abc import Callable, Iterable
from uuid import UUID

import pytest
from django.apps import apps
from django.core.management import CommandError
from django.db import ProgrammingError, connection, models, transaction
from django.db.migrations.state import ProjectState

from accounts.tenancy import TenantModel, everyone, tenant_scope
from audit.models import AuditLog
from audit.record import record
from desproject.postgresql.row_security import WallTables
from tests.project.three_tenants import ask, on_postgresql, owners, tenants, write

__all__ = ["tenants"]

pytestmark = [on_postgresql, pytest.mark.django_db]

TENANT_MODELS: list[type[models.Model]] = [
    *(model for model in apps.get_models() if issubclass(model, TenantModel)), AuditLog
]  # fmt: skip
TABLES = sorted(model._meta.db_table for model in TENANT_MODELS)


def seen() -> dict[str, set[UUID]]:
    """Whose rows a plain SELECT on each tenant table finds."""
    return {table: owners(table) for table in TABLES}


def everywhere(whose: set[UUID]) -> dict[str, set[UUID]]:
    return dict.fromkeys(TABLES, whose)


def touched(sql: str, *parameters: object) -> dict[str, int]:
    """How many rows the statement changes in each tenant table."""
    return {table: write(sql.format(table), *parameters) for table in TABLES}


def refused(write_to: Callable[[str], object], tables: Iterable[str] = TABLES) -> set[str]:
    """The tables whose policy refuses it."""
    return {table for table in tables if _is_refused(write_to, table)}


def _is_refused(write_to: Callable[[str], object], table: str) -> bool:
    try:
        with transaction.atomic():
            write_to(table)
    except ProgrammingError as error:
        assert "violates row-level security policy" in str(error)  # noqa: PT017  # the others aren't refusals
        return True
    return False


NOTHING = dict.fromkeys(TABLES, 0)


def test_every_tenant_table_is_behind_the_wall() -> None:
    walled = ask(
        "SELECT relname FROM pg_class JOIN pg_policy ON polrelid = pg_class.oid"
        " WHERE relrowsecurity AND relforcerowsecurity AND polcmd = '*'"
    )
    assert sorted(table for (table,) in walled) == TABLES


def test_raw_sql_in_a_tenants_scope_sees_their_rows_only(tenants: list[UUID]) -> None:
    with tenant_scope(tenants[0]):
        assert seen() == everywhere({tenants[0]})


def test_raw_sql_without_a_scope_sees_nothing(tenants: list[UUID]) -> None:
    assert seen() == everywhere(set())


def test_a_scope_of_no_tenant_sees_nothing(tenants: list[UUID]) -> None:
    with tenant_scope():
        assert seen() == everywhere(set())


def test_a_scope_of_two_tenants_sees_both_and_not_a_third(tenants: list[UUID]) -> None:
    with tenant_scope(*tenants[:2]):
        assert seen() == everywhere(set(tenants[:2]))


def test_system_jobs_see_everybody(tenants: list[UUID]) -> None:
    with everyone():
        assert seen() == everywhere(set(tenants))


def copy_row(table: str, source: UUID, target: UUID) -> None:
    """Inserts a copy of a tenant's row that says that it is another one's."""
    columns = ask(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s AND is_identity = 'NO'",
        table,
    )
    values = {name: name for name, _ in columns} | {"user_id": "%s"}
    if ("id", "uuid") in columns:
        values["id"] = "gen_random_uuid()"
    write(
        f"INSERT INTO {table} ({', '.join(values)})"  # noqa: S608  # the catalogue's names
        f" SELECT {', '.join(values.values())} FROM {table} WHERE user_id = %s LIMIT 1",
        target, source,
    )  # fmt: skip


def test_a_row_of_another_tenant_cant_be_inserted(tenants: list[UUID]) -> None:
    with tenant_scope(tenants[0]):
        assert refused(lambda table: copy_row(table, tenants[0], tenants[1])) == set(TABLES)


def test_a_row_cant_be_given_to_another_tenant(tenants: list[UUID]) -> None:
    changeable = set(TABLES) - {"audit_logs"}  # there a trigger refuses every change before the wall is asked

    def give(table: str) -> None:
        write(f"UPDATE {table} SET user_id = %s", tenants[1])  # noqa: S608

    with tenant_scope(tenants[0]):
        assert refused(give, changeable) == changeable


def test_rows_of_another_tenant_cant_be_changed_or_deleted(tenants: list[UUID]) -> None:
    with tenant_scope(tenants[0]):
        assert touched("UPDATE {} SET created_at = now() WHERE user_id = %s", tenants[1]) == NOTHING
        assert touched("DELETE FROM {} WHERE user_id = %s", tenants[1]) == NOTHING


def test_without_a_scope_nothing_can_be_changed_or_deleted(tenants: list[UUID]) -> None:
    assert touched("UPDATE {} SET created_at = now()") == NOTHING
    assert touched("DELETE FROM {}") == NOTHING


def test_what_nobody_known_did_is_seen_by_system_jobs_only(tenants: list[UUID]) -> None:
    record("login.failed", user_id=None)

    with tenant_scope(*tenants):
        assert None not in owners("audit_logs")
    with everyone():
        assert None in owners("audit_logs")


def test_a_table_that_is_made_later_is_open_to_system_jobs(tenants: list[UUID]) -> None:
    write("CREATE TABLE made_later AS SELECT 1 AS one")
    with everyone():
        assert ask("SELECT one FROM made_later") == [(1,)]


def migrate(operation: WallTables, *, back: bool = False) -> None:
    act = operation.database_backwards if back else operation.database_forwards
    with connection.schema_editor() as editor:
        act("desproject", editor, ProjectState(), ProjectState())


def test_a_wall_can_be_put_up_and_taken_away(tenants: list[UUID]) -> None:
    write("CREATE TABLE made_later AS SELECT %s::uuid AS user_id", tenants[0])

    migrate(WallTables("made_later"))
    assert owners("made_later") == set()
    with tenant_scope(tenants[0]):
        assert owners("made_later") == {tenants[0]}
    with everyone():
        assert owners("made_later") == {tenants[0]}

    migrate(WallTables("made_later"), back=True)
    assert owners("made_later") == {tenants[0]}


def test_without_a_system_role_the_migration_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("desproject.postgresql.row_security.SYSTEM_SUFFIX", "_nowhere")
    with pytest.raises(CommandError, match=r"CREATE ROLE \"\w+_nowhere\" NOLOGIN; GRANT \"\w+_nowhere\" TO \"\w+\";"):
        migrate(WallTables("orders"))
