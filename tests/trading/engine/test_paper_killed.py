"""An engine is killed while it books a part of a paper order's fill; the next one fills the rest, and no more."""

import asyncio
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.connections.simulator.server import Keys, running_simulator
from tests.trading.engine.dying_engine import Prices
from tests.trading.engine.dying_paper import fill_a_part, fill_the_rest
from tests.trading.engine.forked import Databases, Forked, Place

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("redis_server")]


def killed_and_filled(place: Place, keys: Keys, prices: Prices, point: str) -> dict[str, Any]:
    """What the second engine says."""
    with closing(Forked(place, fill_a_part, keys, prices, point)) as first:
        assert (first.ended(), place.marker.read_text().split()[0]) == (-signal.SIGKILL, point)
    with closing(Forked(place, fill_the_rest, prices)) as second:
        found: dict[str, Any] = second.hear()
        assert second.ended() == 0
    return found


@pytest.mark.parametrize(
    ("point", "trades"), [("before_booking", ["0.05"]), ("after_booking", ["0.02", "0.03"])]
)
async def test_a_paper_order_is_filled_once_wherever_its_engine_dies(
    point: str, trades: list[str], databases: Databases, tmp_path: Path
) -> None:
    async with running_simulator() as simulator:
        keys = await simulator.create_account("alice", USDT="1000")
        best = (await simulator.public("/api/v3/ticker/bookTicker", symbol="BTCUSDT")).body
        prices = best["bidPrice"], best["askPrice"]
        place = Place(databases.empty("paper"), tmp_path, simulator.rest_url)
        found = await asyncio.to_thread(killed_and_filled, place, keys, prices, point)
    assert (found["status"], found["filled"], found["trades"]) == ("filled", "0.05", trades)
    assert found["spent"] == found["worth"]
