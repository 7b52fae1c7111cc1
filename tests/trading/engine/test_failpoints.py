"""An engine is killed at every point that the code names while it places an order; the next one finds out what
happened. Each point proves by its marker file that it was hit."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from desproject.lib.crypto import new_master_key
from tests.connections.simulator.server import RunningSimulator, running_simulator
from trading.engine import failpoints

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("redis_server")]

# What the next engine may find: an order that was never decided is placed; one that wasn't sent ends expired, and is
# not sent by somebody else; one that was sent is filled.
ENDS = {
    "before_commit": ("filled", 1),
    "after_commit": ("expired", 0),
    "before_send": ("expired", 0),
    "after_send": ("filled", 1),
    "before_booking": ("filled", 1),
    "after_booking": ("filled", 1),
}


def test_every_point_is_tested() -> None:
    assert ENDS.keys() == failpoints.POINTS


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Everything but the data folder, and an empty database to copy from."""
    template = tmp_path_factory.mktemp("template")
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "desproject.settings",
        "MASTER_ENCRYPTION_KEY": new_master_key(),
        "DATABASE_URL": "",
        "DES_DATA_DIR": str(template),
        "REDIS_URL": settings.REDIS_URL,
        "LEASE_SECONDS": "1.5",
        "SEND_WINDOW_SECONDS": "0.5",
        "CLOCK_SKEW_SECONDS": "0.2",
        "SWEEP_SECONDS": "0.1",
        # An order that waited longer for an engine than this is refused: processes start slowly on a busy machine.
        "ORDER_TIMEOUT_SECONDS": "60",
    }
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity=0"], env=environment, cwd=settings.BASE_DIR, check=True
    )
    return environment


async def run_engine(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """The exit code and the last line that the process printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.trading.engine.dying_engine", *arguments,
        env=environment, cwd=settings.BASE_DIR, stdout=subprocess.PIPE,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, output.decode().strip().rpartition("\n")[2]


async def of_simulator(simulator: RunningSimulator) -> dict[str, str]:
    """Where the simulator is, and its prices."""
    best = (await simulator.public("/api/v3/ticker/bookTicker", symbol="BTCUSDT")).body
    return {
        "SIMULATOR_URL": simulator.rest_url,
        "TEST_CONTROL_URL": simulator.control_url,
        "TEST_CONTROL_TOKEN": simulator.control_token,
        "TEST_BID": best["bidPrice"],
        "TEST_ASK": best["askPrice"],
    }


@pytest.mark.parametrize("point", sorted(failpoints.POINTS))
async def test_nothing_is_lost_or_doubled_wherever_an_engine_dies(
    point: str, environment: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(environment["DES_DATA_DIR"], tmp_path / "data")
    async with running_simulator() as simulator:
        await simulator.create_account("alice", USDT="100000")
        there = environment | await of_simulator(simulator) | {"DES_DATA_DIR": str(tmp_path / "data")}
        code, _ = await run_engine(there, "place", point)
        assert (tmp_path / "data" / "failpoint-fired").read_text().split()[0] == point
        assert code == -signal.SIGKILL
        code, printed = await run_engine(there, "recover")
        assert code == 0
    found: dict[str, Any] = json.loads(printed)
    status, orders = ENDS[point]
    assert found["differences"] == []
    assert (found["status"], found["orders"], found["attempts"]) == (status, orders, 1)
    assert set(found["received"].values()) <= {1}
