"""An engine is killed between the legs of an arbitrage: the next one makes both sides even. The marker file proves that
the point was hit, the simulator's counter that the other leg never arrived."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from desproject.lib.crypto import new_master_key
from tests.connections.simulator.server import RunningSimulator, running_simulator
from tests.trading.engine.arbitrage_desk import CHEAP, DEAR, FEES, MARKET, plant

pytestmark = [
    pytest.mark.system,
    pytest.mark.usefixtures("redis_server"),
    pytest.mark.database("embedded", reason="on files of its own"),
]
VENUES = ("upbit", "bithumb")


async def run_engine(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """The exit code and the last line that the process printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.trading.engine.dying_arbitrage", *arguments,
        env=environment, cwd=settings.BASE_DIR, stdout=subprocess.PIPE,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode is not None
    return process.returncode, output.decode().strip().rpartition("\n")[2]


def prepared(simulator: RunningSimulator, folder: Path) -> dict[str, str]:
    """The environment of both engines, with an empty database."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "desproject.settings",
        "MASTER_ENCRYPTION_KEY": new_master_key(),
        "DATABASE_URL": "",
        "DES_DATA_DIR": str(folder),
        "REDIS_URL": settings.REDIS_URL,
        "LEASE_SECONDS": "1.5",
        "SEND_WINDOW_SECONDS": "0.5",
        "CLOCK_SKEW_SECONDS": "0.2",
        "SWEEP_SECONDS": "0.1",
        "SIMULATOR_URL": simulator.rest_url,
        "TEST_CONTROL_URL": simulator.control_url,
        "TEST_CONTROL_TOKEN": simulator.control_token,
    }
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity=0"], env=environment, cwd=settings.BASE_DIR, check=True
    )
    return environment


@pytest.mark.parametrize("arrives", [False, True])
async def test_killed_between_the_legs_both_sides_end_even(arrives: bool, tmp_path: Path) -> None:
    """Upbit's purchase was answered; Bithumb's sale never arrives, or its answer is never heard."""
    folder = tmp_path / "data"
    folder.mkdir()
    async with running_simulator(won_markets=(MARKET,), symbols=()) as simulator:
        for venue in VENUES:
            key = {"api_key": f"alice-{venue}-key-0000", "api_secret": f"alice-{venue}-secret", "exchange": venue}
            await simulator.control(
                "POST", "/accounts", {**key, "balances": {"KRW": "100000000", "BTC": "1"}, "fees": FEES}
            )
        plant(simulator.server, "upbit", CHEAP)
        plant(simulator.server, "bithumb", DEAR)
        there = await asyncio.to_thread(prepared, simulator, folder)
        if not arrives:
            await simulator.fault("drop_before", method="POST", path="/v2/orders", count=1)
        else:
            await simulator.fault("accept_then_timeout", method="POST", path="/v2/orders", seconds=3, count=1)
        code, _ = await run_engine(there, "fire", "after_send")
        assert (code, (folder / "failpoint-fired").read_text().split()[0]) == (-signal.SIGKILL, "after_send")
        code, printed = await run_engine(there, "recover")
        assert code == 0
        struck = (await simulator.counters())["faults"]
    shutil.rmtree(folder)
    found: dict[str, Any] = json.loads(printed)
    (fire,) = found["fires"]
    assert struck == {"accept_then_timeout" if arrives else "drop_before": 1}
    assert found["differences"] == []
    assert fire["status"] == "settled"
    assert Decimal(found["coins"]) == 2
    assert (fire["exposed_seconds"] is None) == arrives
    assert [leg["role"] for leg in fire["legs"]] == ["buy", "sell"] + ([] if arrives else ["hedge"])
