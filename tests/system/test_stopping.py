"""An installation ends cleanly when it is asked to, and leaves nothing when it is killed."""

import os
import signal
import socket
import urllib.request
from collections.abc import Callable

import pytest

from desproject.lib.crypto import new_master_key
from tests.system.installation import QUICK, Installation

StartTrading = Callable[..., Installation]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_demo_stops_cleanly_while_it_trades(start_trading: StartTrading, number: signal.Signals) -> None:
    installation = start_trading()
    installation.stop(number).assert_nothing_differs()
    assert installation.processes() == {}
    assert installation.leases_held() == 0


def test_the_demo_stops_before_anybody_trades(installation: Installation) -> None:
    installation.start()
    installation.wait_until(lambda: (installation.folder / "log" / "web.log").exists(), "it starts its processes")
    assert installation.stop().code == 0
    assert installation.processes() == {}


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free: int = server.getsockname()[1]
        return free


@pytest.fixture
def up(installation: Installation, port: int) -> Installation:
    """`manage.py up` with every process running."""
    environment = {**QUICK, "MASTER_ENCRYPTION_KEY": new_master_key(), "DES_DATA_DIR": str(installation.folder)}
    installation.start("--port", str(port), command="up", environment=environment)
    installation.wait_until(lambda: _is_healthy(port), "the web process answers")
    installation.wait_until(lambda: installation.engine() != 0, "an engine runs")
    return installation


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_hands_over_and_ends(up: Installation, number: signal.Signals) -> None:
    ended = up.stop(number)
    assert ended.code == 0
    assert up.processes() == {}
    assert up.leases_held() == 0
    assert "process_killed" not in ended.stderr


def test_a_killed_supervisor_leaves_no_process(up: Installation) -> None:
    os.kill(up.pid, signal.SIGKILL)
    up.wait_until_gone()


def test_what_dies_is_started_again(up: Installation, port: int) -> None:
    (web,) = (pid for pid, command in up.processes().items() if "web_server" in command)
    os.kill(web, signal.SIGKILL)
    up.wait_until(lambda: web not in up.processes() and _is_healthy(port), "the web process answers again")


def test_a_second_one_on_the_same_data_is_refused(up: Installation, port: int) -> None:
    (up.folder.parent / "second").mkdir()
    second = Installation(up.folder.parent / "second", up.services)
    environment = {"MASTER_ENCRYPTION_KEY": new_master_key(), "DES_DATA_DIR": str(up.folder)}
    second.start("--port", str(port + 1), command="up", environment=environment)
    ended = second.finish(60)
    assert ended.code == 1
    assert "already running" in ended.stderr
    assert _is_healthy(port)
