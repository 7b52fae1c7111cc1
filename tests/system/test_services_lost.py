"""The database is restarted and Redis forgets everything while users trade: it recovers by itself."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from desproject import private_redis
from tests.conftest import wait_for_redis
from tests.system.installation import QUICK, Installation

_POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
on_services = pytest.mark.skipif("DATABASE_URL" not in os.environ, reason="for PostgreSQL: DATABASE_URL isn't set")
embedded = pytest.mark.skipif("DATABASE_URL" in os.environ, reason="for the embedded default: DATABASE_URL is set")


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


class Cluster:
    """A PostgreSQL of the test's own, run as an unprivileged user: the server refuses to be root."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="des-postgres-"))
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user:
            found = pwd.getpwnam(self._user)
            os.chown(self._folder, found.pw_uid, found.pw_gid)
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._port = server.getsockname()[1]
        self._run("initdb", "--auth=trust", "--username=des", "--no-sync")
        self._control("start")
        self._run_client("createdb", "--host=127.0.0.1", f"--port={self._port}", "--username=des", "des")

    @property
    def url(self) -> str:
        return f"postgresql://des@127.0.0.1:{self._port}/des"

    def restart(self, mode: str) -> None:
        self._control("restart", f"--mode={mode}")

    def destroy(self) -> None:
        self._control("stop", "--mode=immediate")
        shutil.rmtree(self._folder)

    def _control(self, action: str, *arguments: str) -> None:
        options = f"-h 127.0.0.1 -p {self._port} -k {self._folder}"
        self._run("pg_ctl", action, "--wait", f"--log={self._folder}/log", f"--options={options}", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        self._run_client(program, f"--pgdata={self._folder}/data", *arguments)

    def _run_client(self, program: str, *arguments: str) -> None:
        # No pipe: the server would inherit it, and whoever reads it would wait for the server's end.
        subprocess.run(
            [str(_POSTGRES[-1] / program), *arguments], check=True, user=self._user, group=self._user, cwd=self._folder,
            extra_groups=[] if self._user else None, stdout=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip


@pytest.fixture
def cluster(services: dict[str, str]) -> Iterator[Cluster]:
    if not _POSTGRES:
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
