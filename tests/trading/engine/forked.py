"""Processes that start in a moment, each on a database of its own: forked from one that has everything imported.

    with Databases(folder) as databases:
        place = Place(databases.empty("alice"), folder / "alice", simulator.rest_url)
        process = Forked(place, work, "an argument")
        process.hear()
        process.close()

``work`` is a coroutine function, called in the process with its end of a pipe and the arguments.
"""

import asyncio
import multiprocessing
import os
import secrets
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Self

import django
import psycopg
from psycopg import sql

django.setup()

from django.conf import settings  # noqa: E402  # the fork server begins here
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402

Work = Callable[..., Awaitable[None]]

_PATIENCE_SECONDS = 90.0
# What it reads of the environment is the same for all its processes.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["__main__", __name__, "tests.trading.engine.dying_engine", "tests.trading.engine.dying_arbitrage"]
)
# Leases end soon, yet not before a busy machine has come to send what it committed.
_QUICK = {
    "lease_seconds": 3.0, "send_window_seconds": 2.0, "clock_skew_seconds": 0.2, "sweep_seconds": 0.2,
    "order_timeout_seconds": 60.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process works: its database (a name, or a file of SQLite), its data folder, its exchange."""

    database: str
    folder: Path
    simulator_url: str
    settings: dict[str, Any] = field(default_factory=dict)

    def enter(self) -> None:
        """Said first of all in a process: it has no connection yet."""
        connections.databases["default"]["NAME"] = self.database
        settings.DATA_DIR = self.folder
        self.folder.mkdir(exist_ok=True)
        for name, value in {"simulator_url": self.simulator_url, **_QUICK, **self.settings}.items():
            setattr(settings.CONFIG, name, value)

    @property
    def marker(self) -> Path:
        """Exists once a fail point has fired here."""
        return self.folder / "failpoint-fired"


class Forked:
    """A process that works, until it is done or is closed."""

    def __init__(self, place: Place, work: Work, *arguments: Any) -> None:
        self._pipe, theirs = _SERVER.Pipe()
        self._process = _SERVER.Process(target=_work, args=(place, work, theirs, *arguments))
        self._process.start()
        theirs.close()

    def close(self) -> None:
        """Kills it if it still lives."""
        self._process.kill()
        self._process.join(10)
        self._process.close()
        self._pipe.close()

    def tell(self, said: Any) -> None:
        self._pipe.send(said)

    def hear(self) -> Any:
        """What it says next. Raises EOFError where it ended before, TimeoutError where it says nothing."""
        if not self._pipe.poll(_PATIENCE_SECONDS):
            raise TimeoutError("it says nothing")
        return self._pipe.recv()

    def ended(self) -> int:
        """Its exit code, the negative signal where one killed it."""
        self._process.join(_PATIENCE_SECONDS)
        if self._process.exitcode is None:
            raise TimeoutError("it doesn't end")
        return int(self._process.exitcode)

    def is_frozen(self) -> bool:
        """Returns once it is; False where it ended instead."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end and self._process.is_alive():
            if Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                return True
            time.sleep(0.02)
        return False

    def wake(self) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGCONT)


def _work(place: Place, work: Work, pipe: Pipe, *arguments: Any) -> None:
    place.enter()
    asyncio.run(work(pipe, *arguments))  # type: ignore[arg-type]  # a coroutine function


async def heard(pipe: Pipe) -> Any:
    """In the process: what it is told next."""
    while not pipe.poll():
        await asyncio.sleep(0.02)
    return pipe.recv()


async def _migrate(_: Pipe) -> None:
    await asyncio.to_thread(_migrate_all)


def _migrate_all() -> None:
    call_command("migrate", verbosity=0)
    connections.close_all()  # then SQLite has all of it in one file


class Databases:
    """Migrated once, copied for each who needs an empty one; on the server that DATABASE_URL names, or in files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._url = os.environ.get("DATABASE_URL", "")
        self._made: list[str] = []
        self._template = self._new("template")
        if self._url:
            self._run("CREATE DATABASE {}", self._template)
        migrating = Forked(Place(self._template, folder, ""), _migrate)
        assert migrating.ended() == 0
        migrating.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._url:
            for name in reversed(self._made):
                self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def empty(self, name: str) -> str:
        made = self._new(name)
        if self._url:
            self._run("CREATE DATABASE {} TEMPLATE {}", made, self._template)
        else:
            shutil.copy(self._template, made)
        return made

    def _new(self, name: str) -> str:
        name = f"des_{name}_{secrets.token_hex(4)}"
        made = name if self._url else str(self._folder / f"{name}.sqlite3")
        self._made.append(made)
        return made

    def _run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
