"""Database work from an asyncio loop: ordinary Django code in a few threads of its own.

A tenant scope lives in a context variable, so each job runs in a copy of its caller's context. Connections are
checked before each job: after a restart of PostgreSQL a long-lived thread would otherwise fail for ever.
"""

import asyncio
import contextvars
import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.db import Error, close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from desproject.lib.metrics.registry import METRICS

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 2


class DatabaseThreads:
    """A small pool of threads that may touch the database. One is shared by a whole process: ``run`` below."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="database")

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs ``job`` in a thread and returns what it returns, or raises what it raises.

        A cancelled caller doesn't stop a job that has begun: its transaction ends as it would have.
        """
        context = contextvars.copy_context()
        call = partial(_prepared, partial(job, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._executor, context.run, call)

    def close(self) -> None:
        """Waits for running jobs, closes each thread's database connections, ends the threads."""
        together = threading.Barrier(self._threads)
        for _ in range(self._threads):
            self._executor.submit(_close_connections, together)
        self._executor.shutdown(wait=True)


def _prepared(call: Callable[[], T]) -> T:
    close_old_connections()
    for connection in connections.all(initialized_only=True):
        if _is_quiet(connection):
            connection.health_check_done = True  # type: ignore[attr-defined]  # the stubs don't know it
    try:
        return call()
    finally:
        close_old_connections()  # a web process keeps none between two jobs: back to its pool


def _is_quiet(connection: BaseDatabaseWrapper) -> bool:
    """Whether a PostgreSQL server has said nothing since the last job. One that goes away closes its sockets, which a
    look shows without asking: Django's own check would be one more way there and back before every commit."""
    if connection.vendor != "postgresql" or connection.connection is None or connection.connection.closed:
        return False
    poller = select.poll()
    poller.register(connection.connection.fileno(), select.POLLIN)
    return not poller.poll(0)


def _close_connections(together: threading.Barrier) -> None:
    together.wait()  # one job a thread
    connections.close_all()


def limit_idle_transactions(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Lets PostgreSQL end the transaction of an engine that froze inside it, when its leases have ended.

    It holds its lease rows locked, so that nobody else could take them over for as long as it stays frozen.
    """
    if settings.ROLE != "engine" or connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        limit = f"{round(settings.CONFIG.lease_seconds * 1000)}ms"
        cursor.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, false)", [limit])


_QUERY = METRICS.recorder("database.query")


def measure_queries(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Times every statement on this connection, and counts those that failed."""
    if _measured not in connection.execute_wrappers:
        connection.execute_wrappers.append(_measured)


def _measured(execute: Callable[..., T], sql: str, params: Any, many: bool, context: dict[str, Any]) -> T:
    started = time.perf_counter()
    try:
        return execute(sql, params, many, context)
    except Error:
        METRICS.count("database.errors")
        raise
    finally:
        _QUERY.record(time.perf_counter() - started)


_shared: DatabaseThreads | None = None


async def run(job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``DatabaseThreads.run`` in this process's shared threads, which start with the first job."""
    global _shared
    if _shared is None:
        _shared = DatabaseThreads()
    return await _shared.run(job, *args, **kwargs)


def shut_down() -> None:
    """Ends this process's shared threads and their connections; the next ``run`` starts new ones."""
    global _shared
    if _shared is not None:
        _shared.close()
        _shared = None
