"""What every test may use: a Redis of its own, users alice, bob and charlie."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings

from accounts.models import User


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of an empty Redis: the one of REDIS_URL, else a private one on a unix socket."""
    if settings.CONFIG.redis_url:
        redis.Redis.from_url(settings.REDIS_URL).flushdb()
        yield settings.REDIS_URL
        return
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        pytest.fail("no redis-server on PATH: see the README's set-up")
    socket: Path = settings.PRIVATE_REDIS_SOCKET
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    server = subprocess.Popen(
        [binary, "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    for _ in range(200):
        if socket.exists():
            break
        time.sleep(0.02)
    yield settings.REDIS_URL
    server.terminate()
    server.wait(10)


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
