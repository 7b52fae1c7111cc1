"""Raw SQL on the walls between three tenants (test_row_security.py, test_scoped_statements.py)."""

from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from accounts.models import DisclosureAcceptance, User
from accounts.tenancy import tenant_scope
from connections.gateways import Credentials
from desproject.postgresql.row_security import is_bypassed
from tests.web.rows import AT, make_everything

Rows = list[tuple[Any, ...]]
on_postgresql = pytest.mark.database("postgresql", reason="row-level security is PostgreSQL's")


@pytest.fixture
def tenants(alice: User, bob: User, charlie: User) -> list[UUID]:
    """Alice, Bob and Charlie, each with a row in every tenant table. Refuses a role to which no policy applies."""
    assert not is_bypassed(connection), "the role of DATABASE_URL passes by row-level security: name an ordinary one"
    for user in (alice, bob, charlie):
        make_everything(user, Credentials(f"{user.pk}-key", f"{user.pk}-secret"))
        with tenant_scope(user.pk):
            DisclosureAcceptance.objects.create(user=user, version="1", accepted_at=AT)
    return [alice.pk, bob.pk, charlie.pk]


def ask(sql: str, *parameters: Any) -> Rows:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def write(sql: str, *parameters: Any) -> int:
    """How many rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


def owners(table: str) -> set[UUID]:
    return {user_id for (user_id,) in ask(f"SELECT user_id FROM {table}")}  # noqa: S608
