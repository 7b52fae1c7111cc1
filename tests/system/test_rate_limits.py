"""LIM-1 over two web processes: limits are shared, and what must work is answered while they are exhausted."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest

from desproject import private_redis
from desproject.config import BASE_DIR
from desproject.lib.crypto import new_master_key
from tests.conftest import wait_for_redis

pytestmark = pytest.mark.database("embedded", reason="counted in Redis: the same on every database")
# LIM-1's own 100 and 100 take a minute: `make rate-limits` asks for those.
USERS, REQUESTS = (int(os.environ.get(name, usual)) for name, usual in (("LIMIT_USERS", 10), ("LIMIT_REQUESTS", 20)))
# How often an order is tried at one process right after one at the other: a busy machine may let a second pass.
_TRIES = 20
# Prints access tokens of so many new users. Only in the test: no password is hashed.
_TOKENS = """
import uuid, django; django.setup()
from accounts import tokens; from accounts.models import Device, User
from desproject.lib.clock import SYSTEM_CLOCK
for number in range({users}):
    user = User.objects.create(email=f"user{{number}}@example.org", password="!")
    device = Device.objects.create(user=user, name="a", refresh_jti=uuid.uuid4(), last_used_at=SYSTEM_CLOCK.now())
    print(tokens.issue(user, device, "access", now=SYSTEM_CLOCK.now()))
"""
# Makes a connection of the first user's; prints its id.
_CONNECTION = """
import django; django.setup()
from accounts.models import User
from tests.web.exchange import ALICE_KEY
from tests.web.rows import make_connection
print(make_connection(User.objects.get(email="user0@example.org"), ALICE_KEY).pk)
"""


class Site:
    """Two web processes on one database and one Redis."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        self.urls: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=BASE_DIR, env=self._environment, check=True, capture_output=True, text=True
        ).stdout

    def start(self, **limits: str) -> None:
        for _ in range(2):
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            options = ["-v", "0", "-b", "127.0.0.1", "-p", str(port), "desproject.asgi:application"]
            environment = {**self._environment, "DES_ROLE": "web", **limits}
            command = [sys.executable, "-m", "desproject.web_server", *options]
            self._processes.append(subprocess.Popen(command, cwd=BASE_DIR, env=environment))
            self.urls.append(f"http://127.0.0.1:{port}")

    def end(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(20)
        self._processes, self.urls = [], []


@pytest.fixture
def site(tmp_path: Path, services: dict[str, str]) -> Iterator[Site]:
    """Migrated, not started; its Redis is the test's own where REDIS_URL names none."""
    server = None
    if "REDIS_URL" not in services:
        path = private_redis.socket_path(tmp_path / "r")
        services["REDIS_URL"] = f"unix://{path}"
        server = subprocess.Popen(private_redis.command(path, flushable=True), stdout=subprocess.DEVNULL)
        wait_for_redis(services["REDIS_URL"])
    own = {"MASTER_ENCRYPTION_KEY": new_master_key(), "DES_DATA_DIR": str(tmp_path), "LOG_LEVEL": "ERROR"}
    site = Site({**own, "DJANGO_SETTINGS_MODULE": "desproject.settings", **services})
    site.manage("manage.py", "migrate", "-v", "0")
    yield site
    site.end()
    if server is not None:
        server.terminate()
        server.wait(10)


@pytest.fixture
def tokens(site: Site) -> list[str]:
    return site.manage("-c", _TOKENS.format(users=USERS)).split()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def _session(site: Site) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=40)) as session:
        for url in site.urls:
            end = time.monotonic() + 60
            while True:
                try:
                    async with session.get(f"{url}/api/health") as answer:
                        assert answer.status == 200
                        break
                except aiohttp.ClientConnectionError:
                    assert time.monotonic() < end, "a web process didn't start"
                    await asyncio.sleep(0.1)
        yield session


async def _statuses(session: aiohttp.ClientSession, site: Site, token: str, many: int) -> Counter[int]:
    """What so many requests of one user are answered, by turns of both processes."""
    found: Counter[int] = Counter()
    for number in range(many):
        async with session.get(f"{site.urls[number % 2]}/api/prices", headers=_bearer(token)) as answer:
            found[answer.status] += 1
            if answer.status == 429:
                assert 0 < int(answer.headers["Retry-After"]) <= 3600
                assert (await answer.json())["error"]["code"] == "RATE_LIMITED"
    return found


async def test_each_user_has_the_same_limit_over_both_processes(site: Site, tokens: list[str]) -> None:
    # An hour, so that on a slow machine the first request still counts when the last one comes.
    site.start(RATE_LIMIT_GLOBAL_REQUESTS="20000", RATE_LIMIT_REQUESTS=str(REQUESTS), RATE_LIMIT_WINDOW="3600")
    async with _session(site) as session:
        greedy, *others = tokens
        assert await _statuses(session, site, greedy, REQUESTS + 5) == {200: REQUESTS, 429: 5}
        answers = await asyncio.gather(*(_statuses(session, site, token, REQUESTS) for token in others))
        assert sum(answers, Counter()) == {200: REQUESTS * (USERS - 1)}, "the greedy one hurt nobody"
        ends = await asyncio.gather(*(_statuses(session, site, token, 2) for token in tokens))
        assert sum(ends, Counter()) == {429: USERS * 2}, "each had exactly its own"


async def test_both_processes_share_the_limit_of_everybody(
    site: Site, tokens: list[str]
) -> None:
    site.start(RATE_LIMIT_GLOBAL_REQUESTS="25", RATE_LIMIT_WINDOW="3600")
    async with _session(site) as session:
        answers = await asyncio.gather(*(_statuses(session, site, token, 4) for token in tokens[:10]))
        assert sum(answers, Counter()) == {200: 25, 429: 15}
        for url in site.urls:
            await _assert_exempt_routes_answer(session, url, tokens[0])
        for url in site.urls:
            async with session.post(f"{url}/api/logout", headers=_bearer(tokens[1])) as answer:
                assert answer.status == (200 if url == site.urls[0] else 401)


async def test_both_processes_share_the_limit_of_a_connection(site: Site, tokens: list[str]) -> None:
    connection = site.manage("-c", _CONNECTION).strip()
    site.start(RATE_LIMIT_ORDERS="1", RATE_LIMIT_REQUESTS="1000")
    first, second = site.urls
    async with _session(site) as session:
        assert await _order(session, first, tokens[0], connection) == 202
        for _ in range(_TRIES):
            await asyncio.sleep(1.1)  # the second process's own order, if it took one, is over by then
            at_the_first = await _order(session, first, tokens[0], connection)
            at_the_second = await _order(session, second, tokens[0], connection)
            if (at_the_first, at_the_second) == (202, 429):
                return
    pytest.fail("an order at one process never counted at the other")


async def _order(session: aiohttp.ClientSession, url: str, token: str, connection: str) -> int:
    body = {"connection": connection, "symbol": "BTC/USDT", "side": "buy", "type": "market", "quantity": "0.01"}
    async with session.post(f"{url}/api/orders", json=body, headers=_bearer(token)) as answer:
        if answer.status == 429:
            assert (await answer.json())["error"]["code"] == "RATE_LIMITED"
        return answer.status


async def _assert_exempt_routes_answer(session: aiohttp.ClientSession, url: str, token: str) -> None:
    async with session.get(f"{url}/api/health") as answer:
        assert answer.status == 200
    async with session.delete(f"{url}/api/orders/{UUID(int=7)}", headers=_bearer(token)) as answer:
        assert answer.status == 404
    press = {"level": "user", "reason": "a flood"}
    async with session.post(f"{url}/api/kill-switch", json=press, headers=_bearer(token)) as answer:
        assert answer.status == 201
