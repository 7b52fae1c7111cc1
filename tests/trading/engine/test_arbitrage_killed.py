"""An engine is killed between the legs of an arbitrage: the next one makes both sides even. The marker file proves that
the point was hit, the simulator's counter that the other leg never arrived."""

import asyncio
import signal
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.connections.simulator.server import running_simulator
from tests.trading.engine.arbitrage_desk import CHEAP, DEAR, FEES, MARKET, plant
from tests.trading.engine.dying_arbitrage import VENUES, fire, recover
from tests.trading.engine.forked import Databases, Forked, Place

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("redis_server")]


def killed_and_recovered(place: Place, control: tuple[str, str]) -> dict[str, Any]:
    """What the second engine says."""
    with closing(Forked(place, fire, "after_send")) as first:
        assert (first.ended(), place.marker.read_text().split()[0]) == (-signal.SIGKILL, "after_send")
    with closing(Forked(place, recover, control)) as second:
        found: dict[str, Any] = second.hear()
        assert second.ended() == 0
    return found


@pytest.mark.parametrize("arrives", [False, True])
async def test_killed_between_the_legs_both_sides_end_even(
    arrives: bool, databases: Databases, tmp_path: Path
) -> None:
    """Upbit's purchase was answered; Bithumb's sale never arrives, or its answer is never heard."""
    async with running_simulator(won_markets=(MARKET,), symbols=()) as simulator:
        for venue in VENUES:
            key = {"api_key": f"alice-{venue}-key-0000", "api_secret": f"alice-{venue}-secret", "exchange": venue}
            await simulator.control(
                "POST", "/accounts", {**key, "balances": {"KRW": "100000000", "BTC": "1"}, "fees": FEES}
            )
        plant(simulator.server, "upbit", CHEAP)
        plant(simulator.server, "bithumb", DEAR)
        if not arrives:
            await simulator.fault("drop_before", method="POST", path="/v2/orders", count=1)
        else:
            await simulator.fault("accept_then_timeout", method="POST", path="/v2/orders", seconds=3, count=1)
        # The purchase is answered only when the sale has been on its way for long.
        await simulator.fault("delay", method="POST", path="/v1/orders", seconds=0.5, count=1)
        place = Place(databases.empty("arbitrage"), tmp_path, simulator.rest_url)
        control = (simulator.control_url, simulator.control_token)
        found = await asyncio.to_thread(killed_and_recovered, place, control)
        struck = (await simulator.counters())["faults"]
    (fired,) = found["fires"]
    assert struck == {"delay": 1, "accept_then_timeout" if arrives else "drop_before": 1}
    assert found["differences"] == []
    assert fired["status"] == "settled"
    assert Decimal(found["coins"]) == 2
    assert (fired["exposed_seconds"] is None) == arrives
    assert [leg["role"] for leg in fired["legs"]] == ["buy", "sell"] + ([] if arrives else ["hedge"])
