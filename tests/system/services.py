"""What an installation under test keeps its things in: named by DATABASE_URL and REDIS_URL, or embedded."""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
import redis
from psycopg import sql


@contextmanager
def own_services() -> Iterator[dict[str, str]]:
    """Where the installation keeps its things: a database of its own and an empty Redis, or nothing (embedded)."""
    makers = {"DATABASE_URL": _fresh_database, "REDIS_URL": _own_redis}
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(make(os.environ[name])) for name, make in makers.items() if os.environ.get(name)
        }


@contextmanager
def _fresh_database(url: str) -> Iterator[str]:
    name = f"des_system_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield f"{url.rpartition('/')[0]}/{name}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _own_redis(url: str) -> Iterator[str]:
    client = redis.Redis.from_url(url)
    if client.dbsize():
        pytest.fail("the database that REDIS_URL names isn't empty, and tests would empty it: name another one")
    yield url
    client.flushdb()
    client.close()
