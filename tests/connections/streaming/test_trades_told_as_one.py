"""Polled trades that are told as one, between single ones of the stream: each id counts once, and a hole shows."""

from collections import Counter
from decimal import Decimal
from typing import cast

import pytest
import redis.asyncio

from connections.events import FeedState, PublicTrade
from connections.exchanges import venue
from connections.exchanges.network import Network
from connections.prices import PriceCache
from connections.streaming.market import MarketStream
from connections.streaming.market_publisher import MarketPublisher
from desproject.lib.clock import SYSTEM_CLOCK
from tests.connections.streaming.conftest import FEED, QUICK

SYMBOL = "BTC/USDT"


def trade(last: int, first: int | None = None) -> PublicTrade:
    return PublicTrade(SYMBOL, 1, last, Decimal(60_000), Decimal("0.1"), 1_700_000_000_000, first)


@pytest.mark.parametrize(
    ("polled", "published", "complaint"),
    [
        ([(14, 11)], [14], ""),
        ([(14, 11), (15, 15), (19, 16)], [14, 15, 19], ""),
        ([(10, 8)], [], ""),
        ([(14, 11), (14, 11)], [14], ""),
        ([(14, 11), (19, 17)], [14, 19], "trades 15 to 16 are missing"),
        ([(14, 9)], [14], "trades 9 to 10 are told twice"),
    ],
    ids=["follows", "several", "known", "repeated", "hole", "partly known"],
)
async def test_after_trade_ten_of_the_stream(
    polled: list[tuple[int, int]], published: list[int], complaint: str
) -> None:
    events: list[object] = []
    publisher = MarketPublisher(cast(redis.asyncio.Redis, None), FEED, 1, Counter())
    publisher.put = events.append  # type: ignore[method-assign, assignment]
    stream = MarketStream(
        FEED, venue("binance_spot"), Network(), publisher, PriceCache(), timing=QUICK, figures=Counter(),
        clock=SYSTEM_CLOCK,
    )  # fmt: skip
    stream.want({SYMBOL: ()})
    stream.take(trade(10))
    events.clear()

    for last, first in polled:
        stream.take_polled(trade(last, first))

    assert [event.trade_id for event in events if isinstance(event, PublicTrade)] == published
    reasons = [event.reason for event in events if isinstance(event, FeedState)]
    assert len(reasons) == bool(complaint)
    assert complaint in "".join(reasons)
