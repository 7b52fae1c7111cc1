"""The demo proves itself: whole runs, on a random and on a recorded market."""

from pathlib import Path

import pytest

from desproject.config import BASE_DIR
from tests.system.installation import Ended, Installation

_RECORDING = BASE_DIR.parent / "shared" / "data" / "binance" / "spot-btcusdt-20240808.jsonl.gz"
_TRADES = 20
once = pytest.mark.database("embedded", reason="ends before it needs a database")


def _assert_all_adds_up(ended: Ended) -> None:
    ended.assert_nothing_differs()
    result = ended.result
    assert result["traders"] == 2
    assert sum(result["orders"].values()) > _TRADES
    assert result["trades"] == result["simulator"]["fills"]
    assert result["ticks"] > 0
    for span in result["latency"].values():
        assert span["n"] > 0
        assert 0 <= span["p50"] <= span["p99"]


def test_two_users_trade_on_a_random_market(installation: Installation) -> None:
    installation.start("--for", "20", environment={})
    _assert_all_adds_up(installation.finish(120))
    assert installation.processes() == {}


@pytest.mark.skipif(not _RECORDING.is_file(), reason="the recorded market isn't there: ../shared/data")
def test_two_users_trade_on_a_recorded_market(installation: Installation) -> None:
    installation.start("--replay", str(_RECORDING), "--speed", "5", environment={})
    installation.wait_until(lambda: installation.trades() > _TRADES, "enough trades")
    _assert_all_adds_up(installation.stop())


@once
def test_it_refuses_a_folder_that_is_not_empty(installation: Installation) -> None:
    installation.folder.mkdir()
    (installation.folder / "precious").touch()
    installation.start("--for", "1")
    ended = installation.finish(60)
    assert ended.code == 1
    assert "isn't empty" in ended.stderr
    assert [path.name for path in installation.folder.iterdir()] == ["precious"]


@once
def test_a_missing_recording_is_said_in_one_line(installation: Installation, tmp_path: Path) -> None:
    installation.start("--for", "1", "--replay", str(tmp_path / "nothing.gz"))
    ended = installation.finish(60)
    assert ended.code == 1
    assert len(ended.stderr.strip().splitlines()) == 1
