"""Each statement on PostgreSQL runs in the tenant scope that holds where it is run, and leaves none behind."""

import asyncio
import threading
from uuid import UUID

import psycopg
import pytest
from django.db import ProgrammingError, connection, transaction

from accounts.tenancy import everyone, tenant_scope
from connections import database
from desproject.postgresql.base import DatabaseWrapper
from tests.project.three_tenants import ask, on_postgresql, owners, tenants
from trading.engine.statements import together
from trading.models import Order

__all__ = ["tenants"]

pytestmark = [on_postgresql, pytest.mark.django_db]
# Statements outside of a transaction, other threads.
committed = pytest.mark.django_db(transaction=True)


def test_it_ends_with_its_block(tenants: list[UUID]) -> None:
    with transaction.atomic():
        with tenant_scope(tenants[0]):
            assert owners("orders") == {tenants[0]}
        assert owners("orders") == set()


def test_the_outer_one_holds_again_after_an_inner_one(tenants: list[UUID]) -> None:
    with tenant_scope(tenants[0]), transaction.atomic():
        with everyone():
            assert owners("orders") == set(tenants)
        assert owners("orders") == {tenants[0]}
        with tenant_scope(tenants[1]):
            assert owners("orders") == {tenants[1]}
        assert owners("orders") == {tenants[0]}


def look_and_fail() -> None:
    """A statement succeeded, then its block fails."""
    assert len(owners("orders")) == 1
    raise LookupError


def test_an_exception_ends_it(tenants: list[UUID]) -> None:
    with pytest.raises(LookupError), tenant_scope(tenants[0]):
        look_and_fail()
    assert owners("orders") == set()


def test_after_a_savepoint_was_rolled_back_the_scope_is_the_blocks(tenants: list[UUID]) -> None:
    """What was told inside of it is undone by the server."""
    with tenant_scope(tenants[0]):
        assert owners("orders") == {tenants[0]}
        with pytest.raises(LookupError), transaction.atomic(), tenant_scope(tenants[1]):
            look_and_fail()
        assert owners("orders") == {tenants[0]}


def test_going_back_to_a_savepoint_of_another_scope_doesnt_bring_that_scope_back(tenants: list[UUID]) -> None:
    with tenant_scope(tenants[0]):
        savepoint = transaction.savepoint()
    with tenant_scope(tenants[1]):
        transaction.savepoint_rollback(savepoint)
        assert owners("orders") == {tenants[1]}


def test_a_statement_that_failed_leaves_no_scope_behind(tenants: list[UUID]) -> None:
    with pytest.raises(ProgrammingError), transaction.atomic(), tenant_scope(tenants[0]):
        ask("SELECT no_such_column FROM orders")
    assert owners("orders") == set()


def test_a_statement_that_never_left_leaves_the_right_scope(tenants: list[UUID]) -> None:
    with transaction.atomic():
        with tenant_scope(tenants[0]):
            owners("orders")
        with pytest.raises(ProgrammingError):  # it can't be put together: nothing was sent
            ask("SELECT %s, %s", 1)
        assert owners("orders") == set()


def test_rows_that_the_server_holds_ready_are_those_of_the_scope(tenants: list[UUID]) -> None:
    with tenant_scope(tenants[0]):
        rows = Order._base_manager.iterator(chunk_size=1)
        first = next(rows)
    assert {row.user_id for row in [first, *rows]} == {tenants[0]}


def test_a_statement_of_many_runs_is_in_the_scope(tenants: list[UUID]) -> None:
    with tenant_scope(tenants[0]), connection.cursor() as cursor:
        cursor.executemany("DELETE FROM balances WHERE user_id = %s", [[tenant] for tenant in tenants])
        assert cursor.rowcount == 1


def test_a_pipeline_is_in_the_scope(tenants: list[UUID]) -> None:
    with tenant_scope(*tenants[:2]), transaction.atomic(), together() as statements:
        found = statements.read("SELECT user_id FROM orders", [])
        assert {user_id for (user_id,) in found()} == set(tenants[:2])
    assert owners("orders") == set()


def test_sql_with_a_percent_sign_and_an_answer_of_two_results_are_as_without_a_scope(tenants: list[UUID]) -> None:
    with tenant_scope(tenants[0]), connection.cursor() as cursor:
        cursor.execute("SELECT '100%'")
        assert cursor.fetchone() == ("100%",)
        cursor.execute("SELECT count(*) FROM orders WHERE symbol LIKE 'BTC%%' AND symbol <> %s", ["%s"])
        assert cursor.fetchone() == (1,)


@committed
def test_each_statement_outside_of_a_transaction_is_in_the_scope_that_holds_then(tenants: list[UUID]) -> None:
    with tenant_scope(tenants[0]):
        assert owners("orders") == {tenants[0]}
        assert owners("orders") == {tenants[0]}
        assert [row.user_id for row in Order._base_manager.iterator(chunk_size=1)] == [tenants[0]]
        with connection.cursor() as cursor:
            cursor.executemany("DELETE FROM balances WHERE user_id = %s", [[tenant] for tenant in tenants])
            assert cursor.rowcount == 1
    assert owners("orders") == set()
    with everyone():
        assert owners("orders") == set(tenants)
    assert owners("orders") == set()


@committed
def test_a_rolled_back_transaction_leaves_nothing(tenants: list[UUID]) -> None:
    with pytest.raises(LookupError), tenant_scope(tenants[0]), transaction.atomic():
        look_and_fail()
    assert owners("orders") == set()
    with tenant_scope(tenants[1]), transaction.atomic():
        assert owners("orders") == {tenants[1]}


@committed
def test_nothing_is_left_on_the_connection_itself(tenants: list[UUID]) -> None:
    """Whoever gets it next, from our pool or a pooler's, begins with nothing."""
    raw = psycopg.Cursor(connection.connection)
    for scope in (tenant_scope(*tenants), everyone()):
        with scope:
            owners("orders")
            with transaction.atomic():
                owners("orders")
        left = raw.execute("SELECT current_setting('des.tenants', true), current_user = session_user").fetchone()
        assert left in {("", True), (None, True)}
        assert raw.execute("SELECT count(*) FROM orders").fetchone() == (0,)


@committed
def test_a_pooled_connection_is_the_next_ones_without_the_scope(tenants: list[UUID]) -> None:
    options = {**connection.settings_dict["OPTIONS"], "pool": {"min_size": 1, "max_size": 1}}
    pooled = DatabaseWrapper({**connection.settings_dict, "CONN_MAX_AGE": 0, "OPTIONS": options}, alias="pooled")

    def asked() -> tuple[int, int]:
        """Which session of the server answered, and how many orders it saw."""
        with pooled.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid(), (SELECT count(*) FROM orders)")
            pid, orders = cursor.fetchone()
        pooled.close()
        return pid, orders

    with tenant_scope(tenants[0]):
        session, orders = asked()
    assert orders == 1
    with everyone():
        assert asked() == (session, 3)
    assert asked() == (session, 0)
    pooled.close_pool()


@committed
def test_two_threads_have_each_their_own_scope(tenants: list[UUID]) -> None:
    both_inside = threading.Barrier(2, timeout=10)
    seen: dict[UUID, set[UUID]] = {}

    def look(tenant: UUID) -> None:
        with tenant_scope(tenant), transaction.atomic():
            owners("orders")
            both_inside.wait()
            seen[tenant] = owners("orders")
            both_inside.wait()
        connection.close()

    threads = [threading.Thread(target=look, args=[tenant]) for tenant in tenants[:2]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == {tenant: {tenant} for tenant in tenants[:2]}


@committed
async def test_tasks_that_share_the_database_threads_have_each_their_own_scope(tenants: list[UUID]) -> None:
    async def look(tenant: UUID) -> set[UUID]:
        with tenant_scope(tenant):
            return await database.run(owners, "orders")

    seen = await asyncio.gather(*(look(tenant) for tenant in tenants * 5))
    assert seen == [{tenant} for tenant in tenants * 5]
    assert await database.run(owners, "orders") == set()
