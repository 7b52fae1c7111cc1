"""/ws/stream: prices and candles, and who is asked for them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from channels.db import database_sync_to_async

from accounts.models import User
from connections import demand
from connections.events import Quote
from connections.prices import PriceCache
from desproject.lib import bus
from desproject.lib.clock import SYSTEM_CLOCK, to_millis
from tests.web.exchange import BOB_KEY
from tests.web.rows import Owned, make_everything
from tests.web.stream.market import trade
from tests.web.stream.page import Open, Page, authenticated
from trading.push import News, push

pytestmark = pytest.mark.django_db(transaction=True)


async def test_prices_of_the_users_feeds_come_by_themselves_and_only_when_changed(
    new_page: Open, alices: Owned, token: str
) -> None:
    cache = PriceCache()
    client = bus.connect()
    cache.take("binance_spot:simulator", Quote("BTC/USDT", 1_000_000, Decimal(1), Decimal(5), Decimal(2), Decimal(5)))
    cache.take("binance_spot:live", Quote("BTC/USDT", 1_000_000, Decimal(7), Decimal(5), Decimal(8), Decimal(5)))
    await cache.mirror_once(client)
    page = await authenticated(new_page, token)
    first = await page.hear()
    cache.take("binance_spot:simulator", Quote("BTC/USDT", 2_000_000, Decimal(3), Decimal(5), Decimal(4), Decimal(5)))
    await cache.mirror_once(client)
    second = await page.hear()
    await client.aclose()
    assert [message["type"] for message in (first, second)] == ["prices", "prices"]
    assert first["data"] == [
        {"feed": "binance_spot:simulator", "symbol": "BTC/USDT", "last": None, "bid": "1", "ask": "2", "seen_ms": 1}
    ]
    assert [(row["bid"], row["ask"]) for row in second["data"]] == [("3", "4")]


async def test_the_stream_processes_are_asked_for_the_symbols_on_the_page(
    new_page: Open, alices: Owned, token: str
) -> None:
    client = bus.connect()
    page = await authenticated(new_page, token)
    await page.say({"type": "snapshot"})
    await page.hear_of("snapshot")
    wanted: set[str] = set()
    for _ in range(100):
        wanted = await demand.asked(client, "binance_spot:simulator")
        if wanted:
            break
        await asyncio.sleep(0.02)
    await client.aclose()
    assert wanted == {"BTC/USDT"}


async def candle_like(page: Page, wanted: Callable[[list[Any]], bool]) -> dict[str, Any]:
    """The next candle event that looks as wanted."""
    while True:
        message = await page.hear()
        if message.get("kind") == "candle" and wanted(message["data"]["candle"]):
            return message


@pytest.mark.database("embedded", reason="the same on any database")
async def test_the_candle_of_a_watched_symbol_grows_with_its_trades(
    new_page: Open, alices: Owned, token: str, market: Callable[..., Awaitable[None]]
) -> None:
    page = await authenticated(new_page, token)
    await page.say({"type": "watch", "connection": str(alices.connection.pk), "symbol": "BTC/USDT"})
    minute = to_millis(SYSTEM_CLOCK.now()) // 60_000 * 60_000 + 120_000
    number, first = 0, None
    while first is None:  # until the board reads the feed
        number += 1
        await market(trade(number, "100", "1", minute))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                first = await candle_like(page, lambda bar: bar[0] == minute)
    await market(trade(number + 1, "103", "0.5", minute + 1), trade(number + 1, "999", "9", minute + 1))
    await market(trade(number + 2, "98.50", "0.5", minute + 2), trade(number + 3, "99", "1", minute + 60_000))
    event = await candle_like(page, lambda bar: bar[0] == minute and bar[4] == "98.5")
    assert event["data"]["connection"] == str(alices.connection.pk)
    assert (event["data"]["symbol"], event["data"]["timeframe"]) == ("BTC/USDT", "1m")
    assert event["data"]["candle"][1:4] == ["100", "103", "98.5"]
    following = await candle_like(page, lambda bar: bar[0] == minute + 60_000)
    assert following["data"]["candle"][1:] == ["99", "99", "99", "99", "1"]


async def test_watching_asks_for_the_symbols_prices(new_page: Open, alices: Owned, token: str) -> None:
    client = bus.connect()
    page = await authenticated(new_page, token)
    await page.say({"type": "watch", "connection": str(alices.connection.pk), "symbol": "ETH/USDT"})
    wanted: set[str] = set()
    for _ in range(200):
        wanted = await demand.asked(client, "binance_spot:simulator")
        if "ETH/USDT" in wanted:
            break
        await asyncio.sleep(0.02)
    await client.aclose()
    assert wanted == {"BTC/USDT", "ETH/USDT"}


async def test_anothers_connection_is_told_as_one_that_nobody_has(
    new_page: Open, alice: User, bob: User, token: str
) -> None:
    bobs = await database_sync_to_async(make_everything)(bob, BOB_KEY)
    page = await authenticated(new_page, token)
    answers = []
    for connection in (bobs.connection.pk, uuid4()):
        await page.say({"type": "watch", "connection": str(connection), "symbol": "BTC/USDT"})
        answers.append((await page.hear_of("error"))["error"])
    assert answers[0] == answers[1] == {"code": "NOT_FOUND", "message": "no such connection"}
    await push(alice.pk, News.ORDER, {"id": 1})
    assert (await page.hear_of("event"))["kind"] == "order", "the socket stays open"
