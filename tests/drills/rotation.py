"""The rotation drill: stored keys are sealed anew while the demo trades, and the rotation is killed again and again.

``python -m tests.drills.rotation --rows 20000 --kills 3``: on SQLite, or on what DATABASE_URL and REDIS_URL name.
A reader opens every sealed value all the time. The last line on standard output is the result as JSON; exit code 1 if
any row was or is unreadable, if one is left under the old key, or if anything differs from what the exchange has.
"""

import argparse
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from desproject.config import BASE_DIR
from desproject.lib.crypto import new_master_key
from tests.bench.children import Child
from tests.system.installation import QUICK, Installation
from tests.system.services import own_services

_LEFT = "SELECT count(*) FROM connections WHERE key_version = 1"
_UNREADABLE = "SELECT count(*) FROM audit_logs WHERE event_type LIKE '%.unreadable'"


class DrillFailed(Exception):
    """The drill couldn't do what it is for, for example kill a rotation before it was through."""


@dataclass(slots=True)
class Result:
    """What came of a drill. ``left_after_kills``: connections still under the old key after each kill."""

    database: str
    rows: int
    left_after_kills: list[int] = field(default_factory=list)
    rotating_seconds: float = 0.0
    rows_a_second: float = 0.0
    left_at_the_end: int = 0
    reader: dict[str, Any] = field(default_factory=dict)
    audited_unreadable: int = 0
    trades_meanwhile: int = 0
    mismatches: int = 0

    @property
    def is_good(self) -> bool:
        return not (
            self.reader["unreadable"] or self.audited_unreadable or self.left_at_the_end or self.mismatches
        ) and set(self.reader["versions"]) == {"2"}

    def line(self) -> str:
        return json.dumps({"drill": "rotation", **asdict(self), "good": self.is_good})


class Drill:
    """One drill on an installation that isn't started yet."""

    def __init__(self, installation: Installation, *, rows: int, kills: int, batch_size: int, seed: int) -> None:
        self._installation = installation
        self._kills = kills
        self._batch_size = batch_size
        self._random = random.Random(seed)
        self._keys = {"MASTER_ENCRYPTION_KEY": new_master_key(), "MASTER_ENCRYPTION_KEY_V2": new_master_key()}
        self._result = Result("postgresql" if installation.services.get("DATABASE_URL") else "sqlite", rows)

    def run(self) -> Result:
        """Raises DrillFailed; fails as a test does where the installation doesn't do its part."""
        installation, result = self._installation, self._result
        installation.start(environment={**QUICK, **self._keys})
        installation.wait_until(
            lambda: installation.count("SELECT count(DISTINCT user_id) FROM trades") == 2, "both users traded"
        )
        _tell(f"the demo trades; making {result.rows} connections under the old key")
        subprocess.run(
            [sys.executable, "-m", "tests.drills.rotation_rows", "seed", str(result.rows)], cwd=BASE_DIR,
            env=self._environment, check=True,
        )  # fmt: skip
        trades = installation.trades()
        with Child("-m", "tests.drills.rotation_rows", "read", environment=self._environment) as reader:
            reader.ready()
            for left in range(self._kills, 0, -1):
                self._rotate_and_kill(left)
            self._rotate()
            installation.wait_for_trades(2)
            result.reader = reader.end()
        result.rows_a_second = round(result.rows_a_second / result.rotating_seconds, 1)
        result.rotating_seconds = round(result.rotating_seconds, 2)
        result.trades_meanwhile = installation.trades() - trades
        result.audited_unreadable = installation.count(_UNREADABLE)
        result.mismatches = installation.stop().result["mismatches"]
        return result

    @property
    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        own = {"DES_DATA_DIR": str(self._installation.folder), "DJANGO_SETTINGS_MODULE": "desproject.settings"}
        own |= {"PYTHONUNBUFFERED": "1", "MASTER_KEY_SOURCE": "environment", "LOG_LEVEL": "ERROR"}
        return {**inherited, **self._installation.services, **self._keys, **own}

    def _rotate_and_kill(self, kills_left: int) -> None:
        """Kills a rotation somewhere in its share of what is left, also between a batch's write and its report."""
        before = self._left()
        last = before // self._batch_size // (kills_left + 1)
        after, pause = self._random.randint(1, max(last, 1)), self._random.uniform(0, 0.02)
        with self._measured(), self._rotation() as rotation:
            for number, _ in enumerate(rotation.stdout or (), 1):
                if number == 1:
                    self._began = time.monotonic()
                if number > after:
                    break
            time.sleep(pause)
            rotation.kill()
            code = rotation.wait()
        left = self._left()
        if code != -signal.SIGKILL or not 0 < left < before:
            raise DrillFailed(f"not killed in the middle: it ended with {code}, {before} rows before and {left} after")
        self._result.left_after_kills.append(left)
        _tell(f"killed after {before - left} rows, {left} left")

    def _rotate(self) -> None:
        """The run that nobody kills."""
        with self._measured(), self._rotation() as rotation:
            told: list[str] = []
            for line in rotation.stdout or ():
                if not told:
                    self._began = time.monotonic()
                told.append(line)
            code = rotation.wait()
        if code:
            raise DrillFailed(f"rotate_keys ended with {code}\n{''.join(told[-5:])}")
        self._result.left_at_the_end = self._left()
        _tell("".join(told[-4:]).strip())

    @contextmanager
    def _rotation(self) -> Iterator["subprocess.Popen[str]"]:
        command = [sys.executable, "manage.py", "rotate_keys", "--batch-size", str(self._batch_size)]
        with subprocess.Popen(
            command, cwd=BASE_DIR, env=self._environment, text=True, stdout=subprocess.PIPE
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def _measured(self) -> Iterator[None]:
        """Adds the rows sealed anew and the time since the first word of the command, so without Python's start."""
        before, self._began = self._left(), time.monotonic()
        yield
        self._result.rotating_seconds += time.monotonic() - self._began
        self._result.rows_a_second += before - self._left()

    def _left(self) -> int:
        return self._installation.count(_LEFT)


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


@contextmanager
def _installation() -> Iterator[Installation]:
    with tempfile.TemporaryDirectory(prefix="des-drill-") as folder, own_services() as services:
        installation = Installation(Path(folder), services)
        try:
            yield installation
        finally:
            installation.destroy()


def main(arguments: Mapping[str, int]) -> int:
    _tell(f"seed {arguments['seed']}")
    with _installation() as installation:
        result = Drill(installation, **arguments).run()
    sys.stdout.write(f"{result.line()}\n")
    return 0 if result.is_good else 1


def _arguments() -> dict[str, int]:
    parser = argparse.ArgumentParser(prog="python -m tests.drills.rotation", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="connections, %(default)s by default")
    parser.add_argument("--kills", type=int, default=3, help="%(default)s by default")
    parser.add_argument("--batch-size", type=int, default=100, help="rows a transaction, %(default)s by default")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the random moments")
    return vars(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main(_arguments()))
