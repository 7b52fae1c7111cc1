"""KEY-5: an import that is killed again and again, and resumed, ends as one that nobody disturbed."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from desproject.config import BASE_DIR
from tests.bench.services import POSTGRESQL, SQLITE, Databases, Environment, data_folder
from tests.project.legacy import Legacy, legacy_database

pytestmark = pytest.mark.system

CONNECTIONS = 600
_BATCH = 10
# Lines of progress: one a batch, of connections, traders and trades, then of connections that are blanked.
_IMPORTING, _BLANKING = 3 * CONNECTIONS // _BATCH, CONNECTIONS // _BATCH


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Legacy]:
    with legacy_database(tmp_path) as legacy:
        legacy.fill(CONNECTIONS)
        yield legacy


@pytest.fixture
def installations() -> Iterator[list[Environment]]:
    """Two of them, empty: on PostgreSQL where DATABASE_URL names one."""
    kind = POSTGRESQL if os.environ.get("DATABASE_URL", "").startswith("postgres") else SQLITE
    with (
        data_folder() as own, closing(Databases(kind, own)) as databases, databases.fresh() as one,
        databases.fresh() as other,
    ):  # fmt: skip
        yield [own | {"DATABASE_URL": url, "PYTHONUNBUFFERED": "1"} for url in (one, other)]


def command(old: Legacy, *options: str) -> list[str]:
    take_in = ["manage.py", "encrypt_connections", "--from", old.where, "--batch-size", str(_BATCH)]
    return [sys.executable, *take_in, *options]


def run_through(old: Legacy, installation: Environment, *options: str) -> str:
    done = subprocess.run(
        command(old, *options), cwd=BASE_DIR, env=installation, capture_output=True, text=True, check=True
    )
    return done.stdout


def kill_after(old: Legacy, installation: Environment, lines: int) -> str:
    """What it had told: it was killed somewhere between the last of these lines and the next."""
    with subprocess.Popen(
        command(old, "--blank-source"), cwd=BASE_DIR, env=installation, text=True, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.kill()
    assert process.returncode == -signal.SIGKILL, told[-1]
    return "".join(told)


def imported(installation: Environment) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.project.imported"], cwd=BASE_DIR, env=installation, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_an_import_killed_at_random_moments_ends_as_an_undisturbed_one(
    old: Legacy, installations: list[Environment], tmp_path: Path
) -> None:
    killed, undisturbed = installations
    run_through(old, undisturbed)

    chance = random.Random(seed := random.randrange(10**6))
    moments = [
        chance.randint(2, _IMPORTING // 2),
        chance.randint(_IMPORTING // 2, _IMPORTING - 1),
        # Past the first line and the one that ends the import; early, for it goes on until it is hit.
        _IMPORTING + 2 + chance.randint(1, _BLANKING // 4),
    ]
    for moment in moments:
        kill_after(old, killed, moment)
    assert 0 < old.keys().count(("", "")) < CONNECTIONS, f"seed {seed}: killed in the middle of blanking"
    told = run_through(old, killed, "--blank-source")

    assert f"0 rows imported, {3 * CONNECTIONS} were here already" in told, f"seed {seed}"
    found = imported(killed)
    assert found == imported(undisturbed), f"seed {seed}"
    assert sorted(map(tuple, found["keys"])) == [old.key(number) for number in range(1, CONNECTIONS + 1)]
    assert old.keys() == [("", "")] * CONNECTIONS
    for path in tmp_path.iterdir() if old.path else ():
        assert b"legacy-plain" not in path.read_bytes(), path
