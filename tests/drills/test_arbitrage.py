"""The arbitrage drill: fire after fire between two simulated exchanges, of which many lose a leg (ARB-3).

``make arbitrage-drill`` runs it with 100 fires and prints its figures as JSON; CI with a few. Faults strike each order
request by chance, hedges too: it is refused, or cut off before the exchange has read it.
"""

import json
import os
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings

from accounts.models import User
from tests.trading.engine.arbitrage_desk import PairDesk, arbitrage

pytestmark = [
    pytest.mark.database("embedded", reason="the same on any database"), pytest.mark.system,
    pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server"),
]  # fmt: skip

FIRES = int(os.environ.get("DRILL_FIRES", "6"))
# Of each order request. A refusal makes the gateway wait, which the next leg feels too: some 30 % of fires lose one.
REFUSED, CUT_OFF = 0.08, 0.04


async def fired(pair: PairDesk) -> list[dict[str, Any]]:
    """Every fire, once there are enough and all are settled."""
    await pair.settled(FIRES, seconds=20 + 5 * FIRES)
    await pair.stop()
    pair.even()
    return await pair.settled(len(await pair.fires()), seconds=60)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else 0.0


async def test_one_side_alone_always_returns_to_zero(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings.CONFIG, "send_window_seconds", 1.0)
    monkeypatch.setattr(settings.CONFIG, "clock_skew_seconds", 0.2)
    monkeypatch.setattr(settings.CONFIG, "breaker_failures", 10_000)  # cut-offs are the test, not the connection's end
    async with arbitrage(alice, monkeypatch) as pair:
        await pair.create(params={"latency_target_ms": 60_000, "pause_seconds": 0.3})
        won, coins = await pair.held("KRW"), await pair.held("BTC")
        for path in ("/v1/orders", "/v2/orders"):
            await pair.desk.simulator.fault(
                "http_error", method="POST", path=path, status=429, probability=REFUSED
            )
            await pair.desk.simulator.fault("drop_before", method="POST", path=path, probability=CUT_OFF)
        # However few fires there are, one loses a leg.
        await pair.desk.simulator.fault("http_error", method="POST", path="/v2/orders", status=429, after=1, count=1)
        # Far more than all fires take.
        pair.uneven(size="100")
        await pair.start()
        fires = await fired(pair)
        gained = await pair.held("KRW") - won
        assert await pair.held("BTC") == coins
        struck = (await pair.desk.simulator.counters())["faults"]
    figures = summary(fires, gained, struck)
    print(json.dumps(figures))  # noqa: T201  # the drill's result
    assert sum(struck.values()) > 0
    assert figures["failed_share"] > 0
    assert figures["profit_of_clean_fires_off_by_won"] < 1
    assert figures["booked_and_real_profit_differ_by_won"] < 1
    assert all(leg["status"] in ("filled", "rejected", "expired") for fire in fires for leg in fire["legs"])


def summary(fires: list[dict[str, Any]], gained: Decimal, struck: dict[str, int]) -> dict[str, Any]:
    exposed = [fire for fire in fires if fire["exposed_seconds"] is not None]
    clean = [fire for fire in fires if fire not in exposed and all(leg["status"] == "filled" for leg in fire["legs"])]
    seconds = [float(fire["exposed_seconds"]) for fire in exposed]
    off = [abs(Decimal(fire["profit"]) - Decimal(fire["expected_profit"])) for fire in clean]
    return {
        "drill": "arbitrage",
        "fires": len(fires),
        "clean": len(clean),
        "exposed": len(exposed),
        "failed_share": round(1 - len(clean) / len(fires), 3),
        "faults": struck,
        "exposed_seconds_p50": round(percentile(seconds, 0.5), 3),
        "exposed_seconds_max": round(max(seconds, default=0.0), 3),
        "exposure_cost_won": float(sum(Decimal(fire["exposure_cost"]) for fire in exposed)),
        "profit_won": float(gained),
        "profit_of_clean_fires_off_by_won": float(max(off, default=Decimal(0))),
        "booked_and_real_profit_differ_by_won": float(
            abs(sum(Decimal(fire["profit"]) for fire in fires) - gained)
        ),
    }
