"""A newcomer followed docs/recipes/add-an-exchange.md: this folder is all that Tram needs to trade like the others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.exchange_cases import FOLDER

ROOT = Path(__file__).parents[2]


@pytest.mark.database("embedded", reason="the same on any database")
@pytest.mark.system
def test_the_fifth_exchange_passes_the_conformance_suite_and_trades_end_to_end() -> None:
    """In a process of its own, so that nobody else finds five exchanges."""
    named_by_the_caller = ("DATABASE_URL", "REDIS_URL", "PYTEST_XDIST_WORKER")
    environment = {name: value for name, value in os.environ.items() if name not in named_by_the_caller}
    environment[FOLDER] = "tests.fifth_exchange"
    suites = [f"tests/conformance/test_{name}.py" for name in ("gateways", "bad_answers", "streams")]
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", *suites, "-k", "tram"]

    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False)

    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert int(run.stdout.strip().splitlines()[-1].split(" passed")[0].split()[-1]) > 40, "too few of its tests ran"
