"""The web process's pool gets over a restart of PostgreSQL."""

import os
from collections.abc import Iterator

import psycopg
import pytest

from desproject.postgresql.base import RenewingPool

pytestmark = [
    pytest.mark.services,
    pytest.mark.database("postgresql", reason="its own pool"),
]
IDLE = 5
LIMIT_SECONDS = 5.0


@pytest.fixture
def pool() -> Iterator[RenewingPool]:
    with RenewingPool(
        conninfo=os.environ["DATABASE_URL"], min_size=IDLE, max_size=2 * IDLE, timeout=LIMIT_SECONDS
    ) as pool:
        pool.wait()
        yield pool


def _cut_all(pool: RenewingPool) -> int:
    """Ends the server's side of every connection of the pool, as a restart does; returns how many there were."""
    given = [pool.getconn() for _ in range(IDLE)]
    pids = [connection.info.backend_pid for connection in given]
    for connection in given:
        pool.putconn(connection)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as other:
        found = other.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) pid", [pids]).fetchall()
    return sum(done for (done,) in found)


def test_a_request_after_a_restart_gets_a_living_connection_within_its_limit(pool: RenewingPool) -> None:
    assert _cut_all(pool) == IDLE
    with pool.connection() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
