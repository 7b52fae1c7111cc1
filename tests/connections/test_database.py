"""Database work from asyncio: the caller's scope goes along, stale connections don't."""

import asyncio
import contextlib
import threading

import pytest
from django.db import DatabaseError, connection

from accounts.models import User
from accounts.tenancy import ScopeError, tenant_scope
from connections import database
from connections.database import DatabaseThreads
from connections.models import Connection

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_job_sees_the_callers_tenant_scope_and_nobody_elses(alice: User) -> None:
    with tenant_scope(alice.pk):
        assert await database.run(Connection.objects.count) == 0

    def unscoped() -> object:
        return Connection.objects.count()

    with pytest.raises(ScopeError):
        await database.run(unscoped)


async def test_a_jobs_own_scope_doesnt_stay_in_the_thread(alice: User) -> None:
    def scoped() -> object:
        with tenant_scope(alice.pk):
            return Connection.objects.count()

    await asyncio.gather(*(database.run(scoped) for _ in range(10)))
    with pytest.raises(ScopeError):
        await database.run(lambda: Connection.objects.count())


async def test_what_a_job_raises_is_raised_to_its_caller() -> None:
    def fail() -> None:
        raise LookupError("as it was")

    with pytest.raises(LookupError, match="as it was"):
        await database.run(fail)


async def test_the_threads_are_few_and_not_the_loops() -> None:
    threads = DatabaseThreads(2)
    names = await asyncio.gather(*(threads.run(threading.get_ident) for _ in range(20)))
    threads.close()

    assert len(set(names)) <= 2
    assert threading.get_ident() not in names


@pytest.mark.database("postgresql", reason="an embedded database's connection can't be cut")
async def test_a_connection_that_the_server_cut_is_replaced_before_the_next_job() -> None:
    threads = DatabaseThreads(1)

    def cut() -> None:
        with contextlib.suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    def ask() -> object:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return cursor.fetchone()

    await threads.run(ask)
    await threads.run(cut)
    assert await threads.run(ask) == (1,)
    await threads.run(lambda: connection.close())
    threads.close()
