"""Four processes write the audit log at once while two seal it, until all are killed: nothing gets lost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from desproject.config import BASE_DIR
from tests.bench.services import POSTGRESQL, SQLITE, Databases, Environment, data_folder

pytestmark = pytest.mark.system

WRITERS = ("alice", "bob", "charlie", "dora")
_ACTS = 100
_SECONDS = 60.0


@pytest.fixture
def environment() -> Iterator[Environment]:
    """Of processes on an empty database: on PostgreSQL where DATABASE_URL names one."""
    kind = POSTGRESQL if os.environ.get("DATABASE_URL", "").startswith("postgres") else SQLITE
    with data_folder() as own, closing(Databases(kind, own)) as databases, databases.fresh() as url:
        yield own | {"DATABASE_URL": url}


@dataclass(frozen=True, slots=True)
class Process:
    process: "subprocess.Popen[bytes]"
    said: Path

    def lines(self) -> list[str]:
        """Whole ones only: the last may be cut off by a kill."""
        return self.said.read_text().split("\n")[:-1]


@dataclass(frozen=True, slots=True)
class Office:
    """The processes at work, all ended with it."""

    folder: Path
    environment: Environment
    stack: ExitStack

    def start(self, *arguments: str) -> Process:
        said = self.folder / "-".join((*arguments, str(time.monotonic_ns())))
        with said.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.audit.writing", *arguments], cwd=BASE_DIR, env=self.environment,
                stdout=output,
            )  # fmt: skip
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return Process(process, said)

    def wait_for(self, writers: dict[str, Process], acts: int) -> None:
        end = time.monotonic() + _SECONDS
        while not all(len(writer.lines()) >= acts for writer in writers.values()):
            assert time.monotonic() < end, {name: len(writer.lines()) for name, writer in writers.items()}
            assert all(writer.process.poll() is None for writer in writers.values())
            time.sleep(0.02)

    def check(self) -> dict[str, Any]:
        checking = self.start("check")
        assert checking.process.wait(_SECONDS) == 0
        found: dict[str, Any] = json.loads(checking.lines()[-1])
        return found


@pytest.fixture
def office(tmp_path: Path, environment: Environment) -> Iterator[Office]:
    with ExitStack() as stack:
        yield Office(tmp_path, environment, stack)


def test_four_writing_and_two_sealing_processes_lose_nothing_when_all_are_killed_in_the_middle(office: Office) -> None:
    writers = {name: office.start("act", name) for name in WRITERS}
    sealers = [office.start("seal") for _ in range(2)]
    office.wait_for(writers, _ACTS)
    for each in (*writers.values(), *sealers):
        each.process.kill()
    assert {each.process.wait(_SECONDS) for each in (*writers.values(), *sealers)} == {-signal.SIGKILL}

    found = office.check()

    assert found["findings"] == []
    assert found["unsealed"] == 0
    assert found["rows"] == found["acts"]
    # One that had committed when it was killed may not have been able to say so; none that was said is missing.
    for name, writer in writers.items():
        assert found["acts"][name] - len(writer.lines()) in (0, 1)
