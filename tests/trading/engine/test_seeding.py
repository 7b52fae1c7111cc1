"""Bars begin with the exchange's history, and with one that was asked for after everything that was missed."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from connections.gateways import Candle
from trading.bars import BarBuilder, BarSeries
from trading.engine import bar_store, market

SYMBOL, FEED = "BTC/USDT", "binance_spot:simulator"


class _Gateway:
    """Tells no history until it is let."""

    def __init__(self) -> None:
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def candles(self, *_: Any) -> Sequence[Candle]:
        self.asked.set()
        await self.may_answer.wait()
        return ()


async def _in_place(job: Any, *args: Any) -> Any:
    return job(*args)


@pytest.mark.parametrize("is_missed", [False, True], ids=["whole", "with-a-gap"])
async def test_history_that_was_asked_for_before_a_gap_makes_nothing_warm(
    monkeypatch: pytest.MonkeyPatch, is_missed: bool
) -> None:
    gateway, user, instance, connection = _Gateway(), uuid4(), uuid4(), uuid4()

    async def lent(*_: Any) -> _Gateway:
        return gateway

    row = SimpleNamespace(connection_id=connection)
    state = SimpleNamespace(instances={instance: row}, accounts={connection: None})
    found: Any = SimpleNamespace(gateway=lent, figures={})
    tenants: Any = {user: SimpleNamespace(state=state)}
    fed = market.Market(found, None, tenants)  # type: ignore[arg-type]  # asks no Redis here
    monkeypatch.setattr(market, "run_in_db", _in_place)
    monkeypatch.setattr(bar_store, "newest", lambda *_: [])
    group: Any = SimpleNamespace(members=[market._Member(user, instance)])
    chart = market._Chart(FEED, SYMBOL, "1m", 5, BarBuilder(SYMBOL, "1m"), BarSeries("1m", 7), [group])
    fed._charts[FEED, SYMBOL, "1m"] = chart
    seeding = asyncio.create_task(fed._seed(chart))
    await gateway.asked.wait()
    if is_missed:
        fed._unseed(FEED)
    gateway.may_answer.set()
    await seeding
    assert chart.seeded is not is_missed
    assert not chart.seeding
