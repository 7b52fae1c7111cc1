"""An outside strategy in its own process: whatever it does, its engine hears of it in time and can end it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.trading.market_data import walk, window
from tests.trading.outside.files import write
from trading.outside.messages import Acted
from trading.outside.process import OutsideFailed, OutsideProcess

pytestmark = [pytest.mark.database("embedded", reason="the same on any database"), pytest.mark.system]
BARS = window(walk(20))


@asynccontextmanager
async def running(folder: Path, behave: str, *, seconds: float = 30) -> AsyncIterator[OutsideProcess]:
    process = await OutsideProcess.start(str(write(folder)), {"behave": behave}, memory_mib=512, seconds=seconds)
    try:
        yield process
    finally:
        await process.end()


@pytest.mark.parametrize("behave", ["well", "talk"])
async def test_it_acts_whatever_it_prints(tmp_path: Path, behave: str) -> None:
    async with running(tmp_path, behave) as process:
        for price in (None, 5.0):
            assert await process.evaluate(BARS, price) == Acted(1, {"close": float(BARS.close[-1])})


async def test_it_holds_until_it_is_warm(tmp_path: Path) -> None:
    async with running(tmp_path, "raise") as process:
        assert await process.evaluate(window(walk(1)), None) == Acted(0, {})


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        ("raise", "ValueError: a fault of its own"), ("hang", "took longer than"), ("eat", "MemoryError"),
        ("leave", "its process ended"), ("none", "no evaluation"), ("many", "shape"), ("unknown", "neither HOLD"),
        ("nan", "finite"),
    ],
)  # fmt: skip
async def test_misbehaviour_is_told(tmp_path: Path, behave: str, said: str) -> None:
    async with running(tmp_path, behave, seconds=1 if behave == "hang" else 30) as process:
        with pytest.raises(OutsideFailed, match=said) as caught:
            await process.evaluate(BARS, None)
        if behave == "raise":
            assert "in on_bar" in caught.value.stack
    assert process._process.returncode is not None


async def test_a_secret_of_the_engine_is_not_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTER_ENCRYPTION_KEY_PLANTED", "secret")
    async with running(tmp_path, "environment") as process:
        seen = (await process.evaluate(BARS, None)).seen
    assert "PATH" in seen
    assert not any("KEY" in name or "URL" in name for name in seen)
    assert "MASTER_ENCRYPTION_KEY_PLANTED" in os.environ


async def test_a_file_that_cant_be_loaded_is_told_with_its_stack(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("1 / 0\n")
    with pytest.raises(OutsideFailed, match="ZeroDivisionError") as caught:
        await OutsideProcess.start(str(path), {}, memory_mib=512, seconds=30)
    assert "broken.py" in caught.value.stack
