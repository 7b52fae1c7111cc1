"""One child process of an installation: started in a session of its own, watched, started again when it dies.

Signals go to the process alone: a SIGTERM to the whole group of a django-q cluster would hang it. Groups are only ever
killed, so that no orphan goes on beside its successor.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import structlog

from desproject import reaper
from desproject.config import BASE_DIR

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
# Who ran this long was healthy: the next pause starts from the shortest again.
HEALTHY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of process: how to start it."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


class Reaper:
    """Our end of the process that kills what we leave behind when we are killed ourselves (desproject/reaper.py)."""

    def __init__(self) -> None:
        theirs, ours = os.pipe()
        command = [sys.executable, "-I", "-S", reaper.__file__]
        self._process = subprocess.Popen(command, stdin=theirs, start_new_session=True)  # noqa: S603  # our own script
        os.close(theirs)
        self._pipe = os.fdopen(ours, "w", buffering=1)

    def watch(self, group: int) -> None:
        self._tell(f"+{group}")

    def forget(self, group: int) -> None:
        self._tell(f"-{group}")

    def close(self) -> None:
        self._pipe.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._pipe.write(line + "\n")


class Child:
    """One process that is started again, after a growing pause, whenever it ends before it was told to."""

    def __init__(self, part: Part, reaper: Reaper, log_dir: Path | None, environment: Mapping[str, str]) -> None:
        self.part = part
        self.restarts = 0
        self.pid: int | None = None
        self._reaper = reaper
        self._log_dir = log_dir
        self._environment = {**os.environ, **environment, **part.environment}
        self._stopping = asyncio.Event()

    async def keep_running(self) -> None:
        """Returns when the process has ended after ``stop``, with nothing of its group left."""
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            started = time.monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            self.restarts += 1
            if time.monotonic() - started >= HEALTHY_SECONDS:
                pause = FIRST_PAUSE
            log.warning("process_ended", name=self.part.name, code=code, restarts=self.restarts, pause_seconds=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def expect_end(self) -> None:
        """It is about to end by itself, and that will be right."""
        self._stopping.set()

    def stop(self) -> None:
        """Asks the process, not its group, to end; it won't be started again."""
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the process and all that it started, at once."""
        self._stopping.set()
        if self.pid is not None:
            _kill_group(self.pid)

    async def _run_once(self) -> int:
        with self._output() as output:
            process = await asyncio.create_subprocess_exec(
                *self.part.command, env=self._environment, cwd=BASE_DIR, start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self.pid = process.pid
        self._reaper.watch(process.pid)
        if self._stopping.is_set():
            self._signal(signal.SIGTERM)
        code = await process.wait()
        # Workers of a cluster outlive its parent: nothing of the old group may go on beside the new one.
        _kill_group(process.pid)
        self._reaper.forget(process.pid)
        self.pid = None
        return code

    @contextlib.contextmanager
    def _output(self) -> Iterator[IO[bytes] | int]:
        if self._log_dir is None:
            yield sys.stderr.fileno()
            return
        with (self._log_dir / f"{self.part.name}.log").open("ab") as file:
            yield file

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
