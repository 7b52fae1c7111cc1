import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from desproject import processes
from desproject.config import BASE_DIR
from desproject.processes import Child, Part, Reaper

# A process that says its own pid and that of a worker it forked, and then waits; both end on SIGTERM.
_PARENT_WITH_WORKER = """
import os, sys, time
worker = os.fork()
if worker:
    with open(sys.argv[1], "a") as file:
        print(os.getpid(), worker, file=file, flush=True)
time.sleep(60)
"""


def _alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has collected yet doesn't."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def _starts(notes: Path) -> list[tuple[int, int]]:
    if not notes.exists():
        return []
    lines = [line.split() for line in notes.read_text().splitlines()]
    return [(int(parent), int(worker)) for parent, worker in lines]


def _part(*arguments: str, code: str = _PARENT_WITH_WORKER) -> Part:
    return Part("part", (sys.executable, "-I", "-S", "-c", code, *arguments))


@pytest.fixture
async def notes(tmp_path: Path) -> AsyncIterator[Path]:
    """The file in which the processes of a test note their pids; whatever still lives at the end is killed."""
    yield tmp_path / "pids"
    for pids in _starts(tmp_path / "pids"):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def _running(part: Part, log_dir: Path) -> AsyncIterator[Child]:
    reaper = Reaper()
    child = Child(part, reaper, log_dir, {})
    task = asyncio.create_task(child.keep_running())
    try:
        yield child
    finally:
        child.stop()
        await task
        reaper.close()


async def test_a_process_that_dies_is_started_again(notes: Path) -> None:
    async with _running(_part(str(notes)), notes.parent) as child:
        await _until(lambda: len(_starts(notes)) == 1)
        os.kill(_starts(notes)[0][0], signal.SIGKILL)
        await _until(lambda: len(_starts(notes)) == 2)
        assert child.restarts == 1


async def test_nothing_of_the_dead_process_group_goes_on_beside_the_new_one(notes: Path) -> None:
    async with _running(_part(str(notes)), notes.parent):
        await _until(lambda: len(_starts(notes)) == 1)
        parent, worker = _starts(notes)[0]
        os.kill(parent, signal.SIGKILL)
        await _until(lambda: len(_starts(notes)) == 2)
        await _until(lambda: not _alive(worker))


async def test_stopping_leaves_nothing_and_starts_nothing(notes: Path) -> None:
    async with _running(_part(str(notes)), notes.parent) as child:
        await _until(lambda: len(_starts(notes)) == 1)
    assert child.restarts == 0
    assert len(_starts(notes)) == 1
    await _until(lambda: not any(_alive(pid) for pid in _starts(notes)[0]))


async def test_pauses_between_starts_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FIRST_PAUSE", 0.01)
    stamps = tmp_path / "stamps"
    code = "import sys, time; open(sys.argv[1], 'a').write(f'{time.monotonic()}\\n')"
    async with _running(_part(str(stamps), code=code), tmp_path) as child:
        await _until(lambda: child.restarts >= 6)
    starts = [float(line) for line in stamps.read_text().splitlines()]
    # Five pauses of 0.01 s doubling come to at least 0.31 s, whatever the machine does.
    assert starts[5] - starts[0] >= 0.31


async def test_its_output_goes_to_its_log_file(tmp_path: Path) -> None:
    code = "import sys, time; print('to stdout', flush=True); print('to stderr', file=sys.stderr); time.sleep(60)"
    async with _running(_part(code=code), tmp_path):
        log = tmp_path / "part.log"
        await _until(lambda: log.exists() and {"to stdout", "to stderr"} == set(log.read_text().splitlines()))


async def test_a_killed_supervisor_takes_everything_with_it(notes: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from desproject.processes import *;"
        "part = Part('part', (sys.executable, '-I', '-S', '-c', sys.argv[1], sys.argv[2]));"
        "asyncio.run(Child(part, Reaper(), Path(sys.argv[3]), {}).keep_running())"
    )
    supervisor = subprocess.Popen(
        [sys.executable, "-c", code, _PARENT_WITH_WORKER, str(notes), str(notes.parent)], cwd=BASE_DIR
    )
    await _until(lambda: len(_starts(notes)) == 1)
    supervisor.kill()
    supervisor.wait()
    await _until(lambda: not any(_alive(pid) for pid in _starts(notes)[0]))


async def test_a_long_life_makes_the_next_pause_short_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "HEALTHY_SECONDS", 0.0)
    monkeypatch.setattr(processes, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(processes, "LONGEST_PAUSE", 60.0)
    started = time.monotonic()
    async with _running(_part(code="pass"), tmp_path) as child:
        # Growing pauses would come to 0.01 * (2**13 - 1) s = 82 s.
        await _until(lambda: child.restarts >= 13)
    assert time.monotonic() - started < 60
