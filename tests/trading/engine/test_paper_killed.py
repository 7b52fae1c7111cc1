"""An engine is killed while it books a part of a paper order's fill; the next one fills the rest, and no more."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.connections.simulator.server import running_simulator
from tests.trading.engine.test_failpoints import environment, of_simulator, run_engine

__all__ = ["environment"]
pytestmark = [pytest.mark.system, pytest.mark.usefixtures("redis_server")]


@pytest.mark.database("embedded", reason="on files of its own")
@pytest.mark.parametrize(
    ("point", "trades"), [("before_booking", ["0.05"]), ("after_booking", ["0.02", "0.03"])]
)
async def test_a_paper_order_is_filled_once_wherever_its_engine_dies(
    point: str, trades: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(environment["DES_DATA_DIR"], tmp_path / "data")
    async with running_simulator() as simulator:
        await simulator.create_account("alice", USDT="1000")
        there = environment | await of_simulator(simulator) | {"DES_DATA_DIR": str(tmp_path / "data")}
        code, _ = await run_engine(there, "place", point, module="dying_paper")
        assert (tmp_path / "data" / "failpoint-fired").read_text().split()[0] == point
        assert code == -signal.SIGKILL
        code, printed = await run_engine(there, "recover", module="dying_paper")
        assert code == 0
    found: dict[str, Any] = json.loads(printed)
    assert (found["status"], found["filled"], found["trades"]) == ("filled", "0.05", trades)
    assert found["spent"] == found["worth"]
