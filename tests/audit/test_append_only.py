"""The database itself refuses to change or remove what the audit log says."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, connection, transaction

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog, AuditPurge, AuditSeal, PurgedAuditLog
from audit.record import record
from audit.sealer import seal_all

AT = datetime(2026, 11, 21, tzinfo=UTC)


def _refused(work: Callable[[], object]) -> bool:
    try:
        with everyone(), transaction.atomic():
            work()
    except DatabaseError as error:
        return "append-only" in str(error)
    return False


@pytest.fixture
def row(alice: User) -> AuditLog:
    row = record("order.placed", user_id=alice.pk)
    seal_all()
    purge = AuditPurge.objects.create(user_id=None, reason="test", rows=0, signature="", purged_at=AT)
    PurgedAuditLog.objects.create(audit_log_id=row.pk + 1, purge=purge)
    return row


@pytest.mark.parametrize("model", [AuditLog, AuditSeal, AuditPurge, PurgedAuditLog])
@pytest.mark.parametrize("act", ["update", "delete"])
def test_no_row_is_changed_or_removed(row: AuditLog, model: type, act: str) -> None:
    def work() -> None:
        with connection.cursor() as cursor:
            table = model._meta.db_table  # type: ignore[attr-defined]
            if act == "delete":
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608  # one of ours
            else:
                column = model._meta.pk.column  # type: ignore[attr-defined]
                cursor.execute(f"UPDATE {table} SET {column} = {column}")  # noqa: S608

    assert _refused(work)


@pytest.mark.database("postgresql", reason="SQLite has no TRUNCATE")
@pytest.mark.parametrize("model", [AuditLog, AuditSeal, AuditPurge, PurgedAuditLog])
def test_no_table_is_emptied(row: AuditLog, model: type) -> None:
    table = model._meta.db_table  # type: ignore[attr-defined]
    connection.check_constraints()  # those that wait for the commit would stop it too

    def work() -> None:
        with tenant_scope(), connection.cursor() as cursor:  # as the tables' owner: the system role has no such right
            cursor.execute(f"TRUNCATE {table} CASCADE")

    assert _refused(work)


def test_a_row_that_a_purge_names_may_go(row: AuditLog) -> None:
    with everyone():
        PurgedAuditLog.objects.create(audit_log_id=row.pk, purge=AuditPurge.objects.get())
        AuditLog.objects.filter(pk=row.pk).delete()
        assert not AuditLog.objects.exists()
