"""A short soak of the gateway pool; `make pool-soak` is the long one."""

import json
import subprocess
import sys

import pytest

from desproject.config import BASE_DIR

pytestmark = [pytest.mark.database("embedded", reason="the same on any database"), pytest.mark.system]


def test_each_connection_has_one_gateway_at_a_time_and_none_is_left_behind() -> None:
    command = [sys.executable, "-m", "tests.drills.pool", "--duration", "9", "--connections", "30"]

    run = subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, timeout=110, check=False)

    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-3000:]
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["good"]
    assert result["most_open_of_one"] == 1
    assert result["closed"] == result["created"] > 30
