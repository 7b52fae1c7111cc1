"""Processes of a benchmark: started, waited for until they say that they are ready, ended, and heard out."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from desproject.config import BASE_DIR

_END_SECONDS = 30.0


class ChildFailed(Exception):
    """A process of the benchmark ended before its time; what it said is on stderr."""


class Child:
    """A Python process that prints one line of JSON when it is ready, and one more when it was told to end."""

    def __init__(
        self, *arguments: str, environment: Mapping[str, str] | None = None, stderr: IO[bytes] | None = None
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments], cwd=BASE_DIR, env={**os.environ, **(environment or {})}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
        )  # fmt: skip

    def ready(self) -> Any:
        """What it says when it is ready."""
        return self._line()

    def ask(self) -> Any:
        """What it says while it works, where it answers SIGUSR1."""
        self._process.send_signal(signal.SIGUSR1)
        return self._line()

    def end(self) -> Any:
        """Ends it and returns its report; nothing where it has none."""
        self._process.send_signal(signal.SIGTERM)
        told, _ = self._process.communicate(timeout=_END_SECONDS)
        return json.loads(told) if told.strip() else None

    def _line(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ChildFailed(f"{self._process.args!r} ended with {self._process.wait()}")
        return json.loads(line)

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_seconds(self) -> float:
        """What it has used of the processors so far, its threads included: others on the machine don't change that."""
        used = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def say(told: Any) -> None:
    """For a child: one line to its parent."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
