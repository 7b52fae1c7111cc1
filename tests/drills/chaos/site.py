"""Everything that a chaos run breaks: a PostgreSQL cluster, a Redis, a simulated exchange and a DES, all its own."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import redis as redis_client

from connections.simulator.control import TOKEN_HEADER
from desproject import private_redis
from desproject.lib.crypto import new_master_key
from tests.bench.children import Child
from tests.system.installation import QUICK, Installation
from tests.system.postgresql import Cluster

LEASE_SECONDS = float(QUICK["LEASE_SECONDS"])
# What is measured is what survives, not how often one may call; breaker and back-off end soon, so that orders go on.
_ENVIRONMENT = {
    **QUICK, "ENGINE_PROCESSES": "2", "LOG_LEVEL": "INFO", "RATE_LIMIT_REQUESTS": "100000",
    "RATE_LIMIT_GLOBAL_REQUESTS": "1000000", "ACCESS_TOKEN_MINUTES": "1440", "BREAKER_SECONDS": "3",
    "STREAM_BACKOFF_CAP_SECONDS": "5", "STREAM_SILENCE_SECONDS": "20",
}  # fmt: skip
_START_SECONDS = 120.0


class OwnRedis:
    """A Redis server that forgets everything when it is restarted."""

    def __init__(self, folder: Path) -> None:
        self._socket = private_redis.socket_path(folder / "r")
        self.url = f"unix://{self._socket}"
        self._start()

    def _start(self) -> None:
        self._server = subprocess.Popen(private_redis.command(self._socket), stdout=subprocess.DEVNULL)
        with redis_client.Redis.from_url(self.url) as client:
            end = time.monotonic() + 10
            while time.monotonic() < end:
                try:
                    client.ping()
                    return
                except redis_client.RedisError:
                    time.sleep(0.02)
        raise TimeoutError("Redis didn't start")

    def restart_empty(self) -> int:
        """Kills it and starts another one; returns the pid of the killed."""
        killed = self._server.pid
        self._server.kill()
        self._server.wait(10)
        self._start()
        return killed

    def destroy(self) -> None:
        self._server.kill()
        self._server.wait(10)


@dataclass(frozen=True, slots=True)
class Site:
    """Where everything is, while it runs."""

    folder: Path
    installation: Installation
    environment: dict[str, str]
    cluster: Cluster
    redis: OwnRedis
    exchange: Mapping[str, Any]
    exchange_pid: int
    url: str

    async def control(self, session: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> Any:
        """Asks the simulator's control."""
        headers = {TOKEN_HEADER: self.exchange["control_token"]}
        address = f"{self.exchange['control']}/{path}"
        timeout = aiohttp.ClientTimeout(total=60)
        async with session.request(method, address, json=body, headers=headers, timeout=timeout) as answer:
            told = await answer.json()
            if answer.status != 200:
                raise RuntimeError(f"the simulator answered {answer.status} to {method} {path}: {told}")
            return told

    async def save_ledger(self, session: aiohttp.ClientSession) -> Path:
        """The simulator's ledger as a file: it grows too large for a pipe."""
        headers = {TOKEN_HEADER: self.exchange["control_token"]}
        path = self.folder / "ledger.json"
        timeout = aiohttp.ClientTimeout(total=120)
        async with session.get(f"{self.exchange['control']}/ledger", headers=headers, timeout=timeout) as answer:
            path.write_bytes(await answer.read())
        return path

    def log(self) -> Path:
        """What all processes of DES said, one JSON object a line."""
        return self.folder / "stderr.log"

    async def wait_until_up(self, session: aiohttp.ClientSession) -> None:
        """Returns when the web process answers and an engine has the shards."""
        end = asyncio.get_running_loop().time() + _START_SECONDS
        while True:
            try:
                async with session.get(f"{self.url}/api/health") as answer:
                    if answer.status == 200 and self.installation.engine():
                        return
            except aiohttp.ClientError:
                pass
            if asyncio.get_running_loop().time() > end:
                raise TimeoutError(f"not up within {_START_SECONDS:.0f} s\n{self.installation.story()}")
            await asyncio.sleep(0.3)

    def processes(self, role: str) -> list[int]:
        """The living processes of one role: web, streams, engine or tasks; those of the clusters too."""
        mark = f"DES_ROLE={role}".encode()
        return sorted(pid for pid in self.installation.processes() if mark in _environment_of(pid))


def _environment_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


@contextmanager
def running(*exchange_options: str, environment: Mapping[str, str] | None = None) -> Iterator[Site]:
    """A site that is being started; everything of it is gone at the end, by SIGTERM too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="des-chaos-") as name, _ending() as at_end:
        folder = Path(name)
        cluster = Cluster()
        at_end(cluster.destroy)
        redis = OwnRedis(folder)
        at_end(redis.destroy)
        own = {"MASTER_ENCRYPTION_KEY": new_master_key(), "JWT_SECRET": secrets.token_urlsafe(32), "DES_ROLE": ""}
        with (folder / "simexchange.log").open("wb") as log:
            exchange = Child("manage.py", "simexchange", *exchange_options, environment=own, stderr=log)
        at_end(lambda: _end_exchange(exchange))
        told = exchange.ready()
        installation = Installation(folder, {"DATABASE_URL": cluster.url, "REDIS_URL": redis.url})
        at_end(installation.destroy)
        full = {
            **own, **_ENVIRONMENT, **(environment or {}), **installation.services,
            "SIMULATOR_URL": told["rest"], "DES_DATA_DIR": str(installation.folder),
        }  # fmt: skip
        port = _free_port()
        installation.start("--port", str(port), command="up", environment=full)
        yield Site(
            folder, installation, full, cluster, redis, told, exchange.pid, f"http://127.0.0.1:{port}"
        )


@contextmanager
def _ending() -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Undoes, in reverse, what was begun, however the block ends."""
    undo: list[Callable[[], Any]] = []
    try:
        yield undo.append
    finally:
        for step in reversed(undo):
            try:
                step()
            except (OSError, subprocess.SubprocessError):
                continue


def _end_exchange(exchange: Child) -> None:
    os.kill(exchange.pid, signal.SIGKILL)
    exchange.__exit__(None, None, None)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
