"""All processes of an installation on one machine: starts them, starts again what dies, drains, stops cleanly."""

import asyncio
import contextlib
import fcntl
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import redis.asyncio
import redis.exceptions
import structlog
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, InterfaceError
from django.db import connection as database_connection
from django.db import connections as database_connections

from connections import database, key_holders
from connections.leases import end_drain, request_drain
from connections.models import Process
from desproject import private_redis
from desproject.config import BASE_DIR
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.postgresql import row_security
from desproject.processes import Child, Part, Reaper

log = structlog.get_logger(__name__)
Result = TypeVar("Result")

DRAIN_SECONDS = 15.0
STOP_SECONDS = 15.0
READY_SECONDS = 60.0
# django-q's: the engine's runs one long task, for whose end it waits.
_CLUSTERS = {"engine", "tasks"}


class CannotStart(Exception):
    """Something that the processes need isn't there; the text says what, in one line."""


class AlreadyRunning(CannotStart):
    """Another supervisor works on this data folder."""


def redis_part() -> Part:
    """The private Redis of this data folder."""
    return Part("redis", tuple(private_redis.command(settings.PRIVATE_REDIS_SOCKET)))


def parts(host: str, port: int) -> list[Part]:
    """The processes of DES itself; all take their configuration from the environment."""
    # Checks are skipped: they load the whole site, and the command that starts these processes has run them.
    manage = (sys.executable, str(BASE_DIR / "manage.py"))
    # What a browser doesn't read waits in this process: one that answers no ping within these seconds is cut off.
    pings = ("--ping-interval", "10", "--ping-timeout", "10")
    options = ("-v", "0", *pings, "-b", host, "-p", str(port), "desproject.asgi:application")
    return [
        Part("web", (sys.executable, "-m", "desproject.web_server", *options), {"DES_ROLE": "web"}),
        Part("streams", (*manage, "runworker", "exchange-streams", "--skip-checks"), {"DES_ROLE": "streams"}),
        Part("engine", (*manage, "qcluster", "--skip-checks"), {"DES_ROLE": "engine", "Q_CLUSTER_NAME": "trading"}),
        Part("tasks", (*manage, "qcluster", "--skip-checks"), {"DES_ROLE": "tasks"}),
    ]


class Supervisor:
    """Runs the parts until ``stop`` is set, then drains and ends them. One at a time for a data folder.

    ``log_dir``: where each process gets a log file; None sends all to our standard error. ``environment`` is added to
    every process's own.
    """

    def __init__(
        self, host: str, port: int, *, log_dir: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self.children: dict[str, Child] = {}
        self.url = f"http://{_reachable(host)}:{port}"
        self._host = host
        self._port = port
        self._log_dir = log_dir
        self._environment = dict(environment or {})
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Starts everything, returns when all has ended. Raises AlreadyRunning, CannotStart, RedisUnavailable."""
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._log_dir:
            self._log_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _only_one(settings.DATA_DIR / "up.lock"):
            _check_port(self._host, self._port)
            await database.run(_prepare_database)
            watcher = Reaper()
            try:
                await self._start(watcher)
                await self.stop.wait()
            finally:
                await self._end()
                watcher.close()

    async def ready(self) -> None:
        """Returns when the web process answers, or when we are stopping."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            end = time.monotonic() + READY_SECONDS
            while not self.stop.is_set():
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(f"{self.url}/api/health") as answer:
                        if answer.status == 200:
                            return
                if time.monotonic() > end:
                    raise CannotStart(f"The web process didn't answer at {self.url} within {READY_SECONDS:.0f} s.")
                await asyncio.sleep(0.1)

    def request_stop(self) -> None:
        """For signal handlers: the first call stops cleanly, the second one doesn't wait any more."""
        if self.stop.is_set():
            self.hurry.set()
        self.stop.set()

    async def _start(self, watcher: Reaper) -> None:
        if not settings.CONFIG.redis_url:
            self._launch(redis_part(), watcher)
        await _redis_answers(settings.REDIS_URL)
        for part in parts(self._host, self._port):
            self._launch(part, watcher)
        log.info("started", url=self.url, names=sorted(self.children))

    def _launch(self, part: Part, watcher: Reaper) -> None:
        child = Child(part, watcher, self._log_dir, self._environment)
        self.children[part.name] = child
        self._running[part.name] = asyncio.create_task(child.keep_running(), name=part.name)

    async def _end(self) -> None:
        """Hands over, then ends: engines and streams let go of their work before anything is told to stop."""
        self.stop.set()
        redis_task = self._running.pop("redis", None)
        for name in self._running:
            self.children[name].expect_end()
        await database.run(_quietly, _ask_to_drain)
        # A cluster waits for its long task, which the drain ends; told now, it starts no new one in between.
        for name in _CLUSTERS & self._running.keys():
            self.children[name].stop()
        await self._wait_until_drained()
        for name in self._running.keys() - _CLUSTERS:
            self.children[name].stop()
        await self._finish(self._running)
        if redis_task:
            self.children["redis"].stop()
            await self._finish({"redis": redis_task})
        await database.run(_quietly, _drain_is_over)
        log.info("stopped")

    async def _finish(self, running: Mapping[str, "asyncio.Task[None]"]) -> None:
        if not running:
            return
        everything = asyncio.gather(*running.values())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._unless_hurried(asyncio.shield(everything))
        for name, task in running.items():
            if not task.done():
                log.warning("process_killed", name=name)
                self.children[name].kill()
        await everything

    async def _unless_hurried(self, work: "asyncio.Future[Any]") -> None:
        hurry = asyncio.ensure_future(self.hurry.wait())
        try:
            await asyncio.wait([work, hurry], return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurry.cancel()

    async def _wait_until_drained(self) -> None:
        end = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < end and not self.hurry.is_set():
            # None: the database is away, nobody can hand over anything.
            if await database.run(_quietly, _drained) is not False:
                return
            await asyncio.sleep(0.1)
        log.warning("drain_took_too_long", seconds=DRAIN_SECONDS)


def _reachable(host: str) -> str:
    """How to reach, from this machine, a server bound to ``host``."""
    with contextlib.suppress(ValueError):
        if ip_address(host).is_unspecified:
            return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"DES is already running on {settings.DATA_DIR}.") from None
        yield


def _check_port(host: str, port: int) -> None:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise CannotStart(f"Can't serve on {host}:{port}: {error.strerror}. Choose another with --port.") from None


async def _redis_answers(url: str) -> None:
    client = redis.asyncio.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2)
    end = time.monotonic() + READY_SECONDS
    try:
        while True:
            try:
                await client.get("ready?")
                return
            except redis.exceptions.RedisError as error:
                if time.monotonic() > end:
                    raise CannotStart(f"Redis doesn't answer: {error}") from None
            await asyncio.sleep(0.05)
    finally:
        await client.aclose()


# Database work: in a thread, and leaving no connection open, because a supervisor runs for months and asks twice.


def _prepare_database() -> None:
    try:
        call_command("migrate", verbosity=0, interactive=False)
        # Of a supervisor that was killed while it drained.
        _drain_is_over()
        key_holders.forget(settings.CONFIG.host)
        if row_security.is_bypassed(database_connection):
            log.warning("row_security_bypassed", hint="name a role in DATABASE_URL that is no superuser")
    except CommandError as error:
        raise CannotStart(str(error)) from None
    except (DatabaseError, InterfaceError) as error:
        raise CannotStart(f"The database can't be used: {str(error).strip()}") from None
    finally:
        database_connections.close_all()


def _ask_to_drain() -> None:
    request_drain(settings.CONFIG.host)


def _drained() -> bool:
    fresh = SYSTEM_CLOCK.now() - timedelta(seconds=settings.CONFIG.lease_seconds)
    return not Process.objects.filter(host=settings.CONFIG.host, draining=True, seen_at__gt=fresh).exists()


def _drain_is_over() -> None:
    end_drain(settings.CONFIG.host)


def _quietly(work: Callable[[], Result]) -> Result | None:
    try:
        return work()
    except (DatabaseError, InterfaceError) as error:
        log.warning("database_away", error=str(error).strip())
        return None
    finally:
        database_connections.close_all()
