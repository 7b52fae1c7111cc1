"""An engine is killed at every point that the code names while it places an order; the next one finds out what
happened. Each point proves by its marker file that it was hit."""

import ast
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
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
    # The order rests, and its owner cancels it.
    "before_cancel": ("cancelled", 1),
    "after_cancel": ("cancelled", 1),
}
# What leaves the process or becomes durable, and the points around it.
GUARDED = {
    "place_order": ("before_send", "after_send"),
    "cancel_order": ("before_cancel", "after_cancel"),
    "atomic": ("before_commit", "after_commit"),
    "_commit_booking": ("before_booking", "after_booking"),
}


def functions() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Every function of the engine: where it is, and its calls in their order, (name, first argument if a text)."""
    for path in sorted(Path(failpoints.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
                calls.sort(key=lambda call: (call.lineno, call.col_offset))
                yield f"{path.name}:{node.name}", [(_called(call), _text(call)) for call in calls]


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _text(call: ast.Call) -> str:
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def test_every_point_in_the_code_is_tested() -> None:
    reached = {text for _, calls in functions() for name, text in calls if name == "reach"}
    assert reached == ENDS.keys() == failpoints.POINTS


def test_every_commit_and_every_send_has_a_point_before_and_after_it() -> None:
    guarded = dict.fromkeys(GUARDED, 0)
    for where, calls in functions():
        for index, (name, _) in enumerate(calls):
            # A booking that follows a decision of ours, without a report, is a commit like every other.
            if name not in GUARDED or (name == "_commit_booking" and not where.endswith(":book_report")):
                continue
            before, after = GUARDED[name]
            points = [(at, text) for at, (called, text) in enumerate(calls) if called == "reach"]
            inside = name == "atomic"  # its point stands between what must hold and the rows
            assert any(text == before and (inside or at < index) for at, text in points), where
            assert any(text == after and at > index for at, text in points), where
            guarded[name] += 1
    assert all(guarded.values()), guarded


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


async def run_engine(
    environment: dict[str, str], *arguments: str, module: str = "dying_engine"
) -> tuple[int, str]:
    """The exit code and the last line that the process printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.trading.engine.{module}", *arguments,
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


@pytest.mark.database("embedded", reason="on files of its own")
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
