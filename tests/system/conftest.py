"""Installations for the system tests: on the embedded default, or on what DATABASE_URL and REDIS_URL name."""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql

from tests.system.installation import Installation


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.timeout(300))


def _fresh_database(url: str) -> Iterator[str]:
    name = f"des_system_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield f"{url.rpartition('/')[0]}/{name}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _own_redis(url: str) -> Iterator[str]:
    client = redis.Redis.from_url(url)
    if client.dbsize():
        pytest.fail("the database that REDIS_URL names isn't empty, and tests would empty it: name another one")
    yield url
    client.flushdb()
    client.close()


@pytest.fixture
def services() -> Iterator[dict[str, str]]:
    """Where the installation keeps its things: a database of its own and an empty Redis, or nothing (embedded)."""
    makers = {"DATABASE_URL": _fresh_database, "REDIS_URL": _own_redis}
    running = {name: make(os.environ[name]) for name, make in makers.items() if os.environ.get(name)}
    yield {name: next(maker) for name, maker in running.items()}
    for maker in running.values():
        next(maker, None)


@pytest.fixture
def installation(tmp_path: Path, services: dict[str, str]) -> Iterator[Installation]:
    """One that isn't started yet; nothing of it is left after the test."""
    installation = Installation(tmp_path, services)
    yield installation
    installation.destroy()


@pytest.fixture
def start_trading(installation: Installation) -> Callable[..., Installation]:
    """Starts the demo and returns when both users have traded."""

    def start(*arguments: str, **options: dict[str, str]) -> Installation:
        installation.start(*arguments, **options)  # type: ignore[arg-type]
        installation.wait_until(
            lambda: installation.count("SELECT count(DISTINCT user_id) FROM trades") == 2, "both users traded"
        )
        return installation

    return start
