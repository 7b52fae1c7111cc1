"""A whole DES under test: `manage.py demo` as a child process, looked at from outside as an operator would."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from desproject.config import BASE_DIR
from tests import behind_the_wall

START_SECONDS = 90.0
# A market in a hurry: what a test waits for happens soon.
_SPEED = "8"
_OWN_VARIABLES = (
    "MASTER_ENCRYPTION_KEY", "JWT_SECRET", "DES_DATA_DIR", "DES_ROLE", "LOG_LEVEL", "DATABASE_URL", "REDIS_URL",
    "SIMULATOR_URL", "DJANGO_SETTINGS_MODULE", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER",
)  # fmt: skip
# Short leases, so that a take-over doesn't take long; strategies trade at once.
QUICK = {
    "LEASE_SECONDS": "3", "SEND_WINDOW_SECONDS": "1.5", "CLOCK_SKEW_SECONDS": "0.5", "DRY_RUN_SECONDS": "0",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ended:
    """How the installation ended: its exit code and the line of JSON that it printed."""

    code: int
    result: dict[str, Any]
    stderr: str

    def assert_nothing_differs(self) -> None:
        """The exchange and the database agree on every order, fill and balance."""
        assert self.result.get("mismatches") == 0, self.stderr
        assert self.code == 0, self.stderr
        assert set(self.result["orders"]) <= {"filled", "cancelled", "expired", "rejected"}


class Installation:
    """One run of the demo with its own data folder; ``services`` are DATABASE_URL and REDIS_URL, or nothing."""

    def __init__(self, folder: Path, services: Mapping[str, str]) -> None:
        self.folder = folder / "data"
        self.services = dict(services)
        self._stderr = folder / "stderr.log"
        self._process: subprocess.Popen[str] | None = None

    # Life.

    def start(self, *arguments: str, environment: Mapping[str, str] = QUICK, command: str = "demo") -> None:
        """Starts it; returns at once."""
        if command == "demo" and "--replay" not in arguments:
            arguments = ("--speed", _SPEED, *arguments)
        inherited = {name: value for name, value in os.environ.items() if name not in _OWN_VARIABLES}
        with self._stderr.open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", command, "--port", "0", "--data", str(self.folder), "--json", *arguments]
                if command == "demo"
                else [sys.executable, "manage.py", command, *arguments],
                cwd=BASE_DIR, env={**inherited, **self.services, **environment}, text=True, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def tell(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self, number: signal.Signals = signal.SIGINT, seconds: float = 90) -> Ended:
        """Ends the trading, and the installation after the comparison."""
        self.tell(number)
        return self.finish(seconds)

    def finish(self, seconds: float) -> Ended:
        """Waits for the end, which must come within ``seconds``."""
        assert self._process is not None
        try:
            stdout, _ = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it didn't end within {seconds} s\n{self.story()}")
        lines = stdout.strip().splitlines()
        return Ended(self._process.returncode, json.loads(lines[-1]) if lines else {}, self._stderr.read_text())

    def destroy(self) -> None:
        """Kills whatever is left."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            if self._process.stdout:
                self._process.stdout.close()

    # What can be seen of it.

    @property
    def note(self) -> dict[str, Any]:
        """Where everything is: written by the demo once its users trade."""
        told: dict[str, Any] = json.loads((self.folder / "demo.json").read_text())
        return told

    def processes(self) -> dict[int, str]:
        """Every living process of this installation: pid to command line.

        Found by the data folder in its environment; Redis overwrites that, but names its socket in its title.
        """
        mark = f"DES_DATA_DIR={self.folder}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                belongs = mark in (entry / "environ").read_bytes().split(b"\0")
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if (belongs and command) or f"unixsocket:{self.folder}/" in command:
                found[int(entry.name)] = command
        return found

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of its database; empty while there is none yet, or it can't be asked."""
        if url := self.services.get("DATABASE_URL"):
            try:
                with behind_the_wall.connect(url, connect_timeout=5) as connection:
                    return connection.execute(sql.encode()).fetchall()
            except psycopg.Error:
                return []
        path = self.folder / "des.sqlite3"
        if not path.exists():
            return []
        embedded = sqlite3.connect(path, timeout=20)
        try:
            return embedded.execute(sql).fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            embedded.close()

    def change(self, sql: str) -> None:
        """Writes into its database, as an operator would."""
        if url := self.services.get("DATABASE_URL"):
            with behind_the_wall.connect(url, connect_timeout=5) as connection:
                connection.execute(sql.encode())
            return
        with contextlib.closing(sqlite3.connect(self.folder / "des.sqlite3", timeout=20)) as embedded, embedded:
            embedded.execute(sql)

    @property
    def true(self) -> str:
        """As its database spells it."""
        return "true" if "DATABASE_URL" in self.services else "1"

    def count(self, sql: str) -> int:
        rows = self.query(sql)
        return int(rows[0][0] or 0) if rows else 0

    def engine(self) -> int:
        """The pid of the engine that gave the newest sign of life; 0 when there is none."""
        return self.count("SELECT pid FROM processes WHERE kind = 'shard' ORDER BY seen_at DESC LIMIT 1")

    def shards_held_by_others(self, engine: int) -> int:
        """How many shards engines other than the one of this pid hold now."""
        now = "strftime('%Y-%m-%d %H:%M:%f', 'now')" if "DATABASE_URL" not in self.services else "now()"
        return self.count(
            "SELECT count(*) FROM leases JOIN processes ON leases.owner = processes.id "  # noqa: S608  # our own figures
            f"WHERE leases.kind = 'shard' AND leases.expires_at > {now} AND processes.pid <> {engine}"
        )

    def leases_held(self) -> int:
        """How many pieces of work somebody still claims."""
        return self.count("SELECT count(*) FROM leases WHERE owner IS NOT NULL")

    def trades(self) -> int:
        return self.count("SELECT count(*) FROM trades")

    def times_received(self, client_order_id: str) -> int:
        """How often an order of this client id reached the exchange."""
        exchange = self.note["exchange"]
        headers = {"X-Sim-Control": exchange["token"]}
        request = urllib.request.Request(f"{exchange['control']}/ledger", headers=headers)  # noqa: S310  # ours
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            accounts = json.load(answer)["accounts"].values()
        return sum(account["received"].get(client_order_id, 0) for account in accounts)

    # Waiting.

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
        """Returns when the condition holds; fails the test when it doesn't in time, or when the installation ended."""
        end = time.monotonic() + seconds
        while not condition():
            if self._process is not None and self._process.poll() is not None:
                pytest.fail(f"it ended while waiting for: {what}\n{self.story()}")
            if time.monotonic() > end:
                pytest.fail(f"not within {seconds} s: {what}\n{self.story()}")
            time.sleep(0.05)

    def wait_until_gone(self, seconds: float = 20) -> None:
        """Returns when none of its processes lives any more."""
        end = time.monotonic() + seconds
        while left := self.processes():
            if time.monotonic() > end:
                pytest.fail(f"still there after {seconds} s: {left}")
            time.sleep(0.05)

    def wait_for_trades(self, more: int, seconds: float = START_SECONDS) -> None:
        """Returns when so many more trades are booked than now."""
        wanted = self.trades() + more
        self.wait_until(lambda: self.trades() >= wanted, f"{more} more trades", seconds)

    def story(self) -> str:
        """What it said, for the one who reads why a test failed."""
        logs = [self._stderr, *sorted((self.folder / "log").glob("*.log"))]
        return "\n".join(f"--- {log.name}\n{_tail(log)}" for log in logs if log.exists())


def _tail(path: Path, lines: int = 20) -> str:
    return "\n".join(line[:1000] for line in path.read_text(errors="replace").splitlines()[-lines:])


def database_name(url: str) -> str:
    """The name of the database in a PostgreSQL URL."""
    return urlsplit(url).path.lstrip("/")
