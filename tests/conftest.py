"""What every test may use: a Redis of its own, users alice, bob and charlie."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management.commands import flush
from django.db import connections, transaction

from accounts.models import User
from audit import append_only
from connections import database, history
from connections.budget import ledgers
from desproject import private_redis


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of an empty Redis: the database that REDIS_URL names, else a private server on a unix socket."""
    if settings.CONFIG.redis_url:
        yield settings.REDIS_URL
        return
    socket: Path = settings.PRIVATE_REDIS_SOCKET
    server = subprocess.Popen(private_redis.command(socket, flushable=True), stdout=subprocess.DEVNULL)
    wait_for_redis(settings.REDIS_URL)
    yield settings.REDIS_URL
    server.terminate()
    server.wait(10)


@pytest.fixture(scope="session", autouse=True)
def _named_redis() -> Iterator[None]:
    """The database that REDIS_URL names is emptied at the end. Before the first test, and not only before the first
    that asks for it: others leave keys there in passing."""
    if not settings.CONFIG.redis_url:
        yield
        return
    client = redis.Redis.from_url(settings.REDIS_URL)
    if client.dbsize():
        pytest.fail("the database that REDIS_URL names isn't empty, and tests would empty it: name another one")
    yield
    client.flushdb()
    client.close()


def wait_for_redis(url: str, *, seconds: float = 30) -> None:
    """Returns when a server answers at ``url``; fails the test when none does in time."""
    client = redis.Redis.from_url(url)
    end = time.monotonic() + seconds
    while True:
        try:
            client.ping()
            client.close()
            return
        except redis.RedisError:
            if time.monotonic() > end:
                pytest.fail(f"no Redis answers at {url}")
            time.sleep(0.02)


@pytest.fixture(autouse=True)
def _whole_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test has no Redis, its process is the only one that sends to its exchange."""
    monkeypatch.setattr(ledgers, "share_alone", lambda: 1.0)


@pytest.fixture(scope="session", autouse=True)
def _flush_append_only_tables(django_db_setup: None) -> Iterator[None]:
    """Tests that commit empty all tables when they end. Only then the triggers of the append-only ones are away."""
    handle = flush.Command.handle

    def without_triggers(command: flush.Command, **options: Any) -> None:
        connection = connections[options["database"]]
        with transaction.atomic(using=options["database"]):
            append_only.remove(connection)
            handle(command, **options)
            append_only.install(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flush.Command, "handle", without_triggers)
        yield


PASSWORD = "correct-horse-battery"


def _user(name: str) -> User:
    return User.objects.create_user(f"{name}@example.org", PASSWORD)


@pytest.fixture
def alice(db: None) -> User:
    return _user("alice")


@pytest.fixture
def bob(db: None) -> User:
    return _user("bob")


@pytest.fixture
def charlie(db: None) -> User:
    return _user("charlie")


@pytest.fixture(scope="session", autouse=True)
def _threads(django_db_setup: None) -> Iterator[None]:
    """Threads of the process end before the test database does: some hold connections to it."""
    yield
    history.shut_down()
    database.shut_down()


_SERVICES = {"db", "transactional_db", "redis_server"}
_ON_SERVICES = ("django_db", "system", "browser")


def _database() -> str:
    """What the tests run on: "embedded" (SQLite), or the "postgresql" that DATABASE_URL names."""
    url = os.environ.get("DATABASE_URL", "")
    return "postgresql" if url.startswith("postgres") else "other" if url else "embedded"


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what another database is for (`database`), and marks what touches a database or Redis (`services`): the
    rest shows the same wherever it runs, and needn't be done again for other services."""
    for item in items:
        for marker in item.iter_markers("database"):
            (wanted,), why = marker.args, marker.kwargs["reason"]
            if wanted != _database():
                item.add_marker(pytest.mark.skip(reason=f"for the {wanted} database: {why}"))
        asked = _SERVICES.intersection(getattr(item, "fixturenames", ()))
        if asked or any(item.get_closest_marker(name) for name in _ON_SERVICES):
            item.add_marker(pytest.mark.services)
