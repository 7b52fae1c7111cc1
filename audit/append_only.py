"""Triggers that make the audit tables append-only, on SQLite and PostgreSQL.

A row of ``audit_logs`` may be deleted once ``audit_purged`` names it; nothing else is ever changed or removed.
"""

from collections.abc import Iterator

from django.db.backends.base.base import BaseDatabaseWrapper

_TABLES = ("audit_logs", "audit_seals", "audit_purges", "audit_purged")
_PURGEABLE = "audit_logs"
_NOT_PURGED = "NOT EXISTS (SELECT 1 FROM audit_purged WHERE audit_log_id = OLD.id)"
_FUNCTION = "audit_append_only"


def install(connection: BaseDatabaseWrapper) -> None:
    """Makes the triggers. They must not be there."""
    _run(connection, _postgresql() if connection.vendor == "postgresql" else _sqlite())


def remove(connection: BaseDatabaseWrapper) -> None:
    """Takes the triggers away; does nothing about those that aren't there."""
    on_table = connection.vendor == "postgresql"
    _run(
        connection,
        (
            f"DROP TRIGGER IF EXISTS {table}_{event}" + (f" ON {table}" if on_table else "")
            for table in _TABLES
            for event in (("update", "delete", "truncate") if on_table else ("update", "delete"))
        ),
    )


def _run(connection: BaseDatabaseWrapper, statements: Iterator[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _sqlite() -> Iterator[str]:
    for table in _TABLES:
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        only_unlisted = f"WHEN {_NOT_PURGED} " if table == _PURGEABLE else ""
        yield f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table} {refuse}"
        yield f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table} {only_unlisted}{refuse}"


def _postgresql() -> Iterator[str]:
    yield f"""
        CREATE OR REPLACE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
        END $$"""
    refuse = f"EXECUTE FUNCTION {_FUNCTION}()"
    for table in _TABLES:
        yield f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table} FOR EACH ROW {refuse}"
        yield f"CREATE TRIGGER {table}_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {refuse}"
        if table != _PURGEABLE:
            yield f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table} FOR EACH ROW {refuse}"
    # A trigger's WHEN can't hold a query.
    yield f"""
        CREATE OR REPLACE FUNCTION {_FUNCTION}_unless_purged() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF {_NOT_PURGED} THEN
                RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN OLD;
        END $$"""
    yield (
        f"CREATE TRIGGER {_PURGEABLE}_delete BEFORE DELETE ON {_PURGEABLE} "
        f"FOR EACH ROW EXECUTE FUNCTION {_FUNCTION}_unless_purged()"
    )
