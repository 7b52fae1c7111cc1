"""What every test may use: a Redis of its own, users alice, bob and charlie."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings

from accounts.models import User
from connections import database
from desproject import private_redis


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of an empty Redis: the database that REDIS_URL names, else a private server on a unix socket."""
    if settings.CONFIG.redis_url:
        yield from _named_database()
        return
    socket: Path = settings.PRIVATE_REDIS_SOCKET
    server = subprocess.Popen(private_redis.command(socket, flushable=True), stdout=subprocess.DEVNULL)
    wait_for_redis(settings.REDIS_URL)
    yield settings.REDIS_URL
    server.terminate()
    server.wait(10)


def _named_database() -> Iterator[str]:
    client = redis.Redis.from_url(settings.REDIS_URL)
    if client.dbsize():
        pytest.fail("the database that REDIS_URL names isn't empty, and tests would empty it: name another one")
    yield settings.REDIS_URL
    client.flushdb()
    client.close()


def wait_for_redis(url: str, *, seconds: float = 10) -> None:
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
def _database_threads(django_db_setup: None) -> Iterator[None]:
    """The engine's database threads hold connections: they end before the test database does."""
    yield
    database.shut_down()
