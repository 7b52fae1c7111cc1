"""The database is restarted and Redis forgets everything while users trade: it recovers by itself."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from desproject import private_redis
from tests.conftest import wait_for_redis
from tests.system.installation import QUICK, Installation
from tests.system.postgresql import Cluster

on_services = pytest.mark.database("postgresql", reason="services that are no children of ours")
embedded = pytest.mark.database("embedded", reason="children of ours")


def _start(installation: Installation) -> None:
    installation.start(environment=QUICK)
    installation.wait_for_trades(4)


@embedded
def test_the_private_redis_is_killed(installation: Installation) -> None:
    _start(installation)
    (server,) = (pid for pid, command in installation.processes().items() if "redis-server" in command)
    os.kill(server, signal.SIGKILL)
    installation.wait_for_trades(8)
    installation.stop().assert_nothing_differs()


@pytest.fixture
def own_redis(tmp_path: Path, services: dict[str, str]) -> Iterator[redis.Redis]:
    """A Redis server of the test's own in place of the machine's, which others may use too."""
    socket_path = private_redis.socket_path(tmp_path / "r")
    server = subprocess.Popen(private_redis.command(socket_path, flushable=True), stdout=subprocess.DEVNULL)
    services["REDIS_URL"] = f"unix://{socket_path}"
    wait_for_redis(services["REDIS_URL"])
    client = redis.Redis.from_url(services["REDIS_URL"])
    yield client
    client.close()
    server.terminate()
    server.wait(10)


def test_redis_is_emptied_again_and_again(own_redis: redis.Redis, installation: Installation) -> None:
    _start(installation)
    for _ in range(3):
        own_redis.flushall()
        installation.wait_for_trades(4)
    installation.stop().assert_nothing_differs()


@pytest.fixture
def cluster(services: dict[str, str]) -> Iterator[Cluster]:
    if not Cluster.is_possible():
        pytest.fail("no PostgreSQL server is installed here, and this test restarts one of its own")
    cluster = Cluster()
    services["DATABASE_URL"] = cluster.url
    yield cluster
    cluster.destroy()


@on_services
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgresql_is_restarted(cluster: Cluster, installation: Installation, mode: str) -> None:
    _start(installation)
    cluster.restart(mode)
    installation.wait_for_trades(8)
    installation.stop().assert_nothing_differs()


@on_services
def test_postgresql_is_restarted_and_redis_emptied(
    cluster: Cluster, own_redis: redis.Redis, installation: Installation
) -> None:
    _start(installation)
    cluster.restart("fast")
    own_redis.flushall()
    installation.wait_for_trades(8)
    installation.stop().assert_nothing_differs()
