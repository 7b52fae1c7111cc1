"""What goes to Redis while it is there, while it is away, and when too much waits."""

import asyncio
from collections import Counter
from decimal import Decimal
from functools import partial
from itertools import pairwise
from uuid import uuid4

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError as RedisAway

from accounts.tenancy import shard_of
from connections.events import (
    BalancesTold,
    BookState,
    CandleUpdate,
    FeedState,
    PublicTrade,
    Quote,
    StreamTold,
    user_stream,
)
from connections.exchanges.contract import BalanceNews
from connections.gateways import AssetBalance
from connections.streaming import market_publisher, user_publisher
from connections.streaming.market_publisher import MarketPublisher
from connections.streaming.user_publisher import UserPublisher
from desproject.lib.clock import SYSTEM_CLOCK
from tests.connections.streaming.conftest import FEED, MarketReader, UserReader, until

ONE = Decimal(1)


class Switch:
    """A way to Redis that can be broken."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self.works = True
        self._client = client

    async def xadd(self, *args: object, **kwargs: object) -> object:
        if not self.works:
            raise RedisAway
        return await self._client.xadd(*args, **kwargs)  # type: ignore[arg-type]

    def pipeline(self, transaction: bool) -> "redis.asyncio.client.Pipeline":
        if not self.works:
            raise RedisAway
        return self._client.pipeline(transaction=transaction)


@pytest.fixture
def switch(bus_client: "redis.asyncio.Redis") -> Switch:
    return Switch(bus_client)


def quote(price: int, symbol: str = "BTC/USDT") -> Quote:
    return Quote(symbol, price, Decimal(price), ONE, Decimal(price + 1), ONE)


def trade(number: int) -> PublicTrade:
    return PublicTrade("BTC/USDT", number, number, ONE, ONE, number)


def candle(opened_ms: int, *, closed: bool) -> CandleUpdate:
    return CandleUpdate("BTC/USDT", 1, "1m", opened_ms, ONE, ONE, ONE, ONE, ONE, closed)


class TestMarket:
    async def test_what_waits_goes_out_together_latest_quotes_and_every_trade(
        self, switch: Switch, bus_client: "redis.asyncio.Redis", figures: Counter[str]
    ) -> None:
        publisher = MarketPublisher(switch, FEED, 3, figures)  # type: ignore[arg-type]
        for number in range(1, 6):
            publisher.put(quote(number))
            publisher.put(trade(number))
            publisher.put(candle(number // 3, closed=number == 3))
            publisher.put(BookState("BTC/USDT", number, True, ""))
        publisher.put(FeedState("", 9, True, ""))
        task = asyncio.create_task(publisher.run())
        await publisher.flush(5)
        reader = MarketReader(bus_client)
        await until(lambda: reader.batches, "an entry")
        task.cancel()
        reader.task.cancel()

        (batch,) = reader.batches
        assert (batch.epoch, batch.sequence) == (3, 1)
        assert [event.bid for event in reader.of(Quote)] == [Decimal(5)]
        assert [event.trade_id for event in reader.of(PublicTrade)] == [1, 2, 3, 4, 5]
        assert [(event.opened_ms, event.closed) for event in reader.of(CandleUpdate)] == [(1, True), (1, False)]
        assert len(reader.of(BookState)) == len(reader.of(FeedState)) == 1

    async def test_nothing_that_counts_is_lost_while_redis_is_away(
        self, switch: Switch, bus_client: "redis.asyncio.Redis", figures: Counter[str]
    ) -> None:
        publisher = MarketPublisher(switch, FEED, 3, figures)  # type: ignore[arg-type]
        task = asyncio.create_task(publisher.run())
        switch.works = False
        for number in range(3000):
            publisher.put(trade(number))
        await until(lambda: figures["market_write_failures"] >= 2, "two failures")
        switch.works = True
        await publisher.flush(5)
        reader = MarketReader(bus_client)
        await until(lambda: len(reader.events) == 3000, "every trade")
        task.cancel()
        reader.task.cancel()

        assert [event.trade_id for event in reader.of(PublicTrade)] == list(range(3000))
        assert all(after.sequence - before.sequence == 1 for before, after in pairwise(reader.batches))
        assert figures["market_lost"] == 0

    async def test_beyond_the_bound_the_oldest_are_lost_counted_and_seen_by_the_reader(
        self, switch: Switch, bus_client: "redis.asyncio.Redis", figures: Counter[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(market_publisher, "MAX_WAITING", 10)
        publisher = MarketPublisher(switch, FEED, 3, figures)  # type: ignore[arg-type]
        task = asyncio.create_task(publisher.run())
        publisher.put(trade(0))
        await publisher.flush(5)
        for number in range(1, 16):
            publisher.put(trade(number))
        await publisher.flush(5)
        reader = MarketReader(bus_client)
        await until(lambda: len(reader.events) == 11, "what was kept")
        task.cancel()
        reader.task.cancel()

        assert figures["market_lost"] == 5
        assert [event.trade_id for event in reader.of(PublicTrade)] == [0, *range(6, 16)]
        first, second = reader.batches
        assert second.sequence - first.sequence > 1


class TestUsers:
    @pytest.fixture
    def publisher(self, switch: Switch, figures: Counter[str]) -> UserPublisher:
        return UserPublisher(switch, figures, SYSTEM_CLOCK)  # type: ignore[arg-type]

    @staticmethod
    def news(number: int) -> BalanceNews:
        return BalanceNews(0, (AssetBalance("USDT", Decimal(number), Decimal(0)),), number)

    async def test_events_wait_in_order_while_redis_is_away(
        self, publisher: UserPublisher, switch: Switch, bus_client: "redis.asyncio.Redis", figures: Counter[str]
    ) -> None:
        line = publisher.line(uuid4(), uuid4())
        task = asyncio.create_task(publisher.run())
        publisher.up(line)
        switch.works = False
        for number in range(500):
            publisher.balances(line, self.news(number), 1)
            publisher.beat(line)
        await until(lambda: figures["user_write_failures"] >= 2, "two failures")
        switch.works = True
        await publisher.flush(5)
        reader = UserReader(bus_client, [user_stream(shard_of(line.user_id))])
        await until(lambda: len(reader.of(BalancesTold)) == 500, "every event")
        task.cancel()
        reader.task.cancel()

        assert [event.sequence for event in reader.of(BalancesTold)] == list(range(1, 501))
        assert [event.as_of_ms for event in reader.of(BalancesTold)] == list(range(500))
        assert len({event.epoch for event in reader.events}) == 1
        assert len(reader.of(StreamTold)) == 1

    async def test_too_many_are_dropped_and_every_account_starts_a_greater_epoch(
        self,
        publisher: UserPublisher,
        switch: Switch,
        bus_client: "redis.asyncio.Redis",
        figures: Counter[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(user_publisher, "MAX_WAITING", 20)
        user_id = uuid4()
        lines = [publisher.line(uuid4(), user_id) for _ in range(2)]
        for line in lines:
            publisher.up(line)
        before = [line.epoch for line in lines]
        for number in range(30):
            publisher.balances(lines[0], self.news(number), 1)
        task = asyncio.create_task(publisher.run())
        await publisher.flush(5)
        reader = UserReader(bus_client, [user_stream(shard_of(user_id))])
        await until(lambda: len(reader.of(StreamTold)) == 2, "both accounts")
        await until(lambda: reader.of(BalancesTold), "what came later")
        task.cancel()
        reader.task.cancel()

        assert figures["user_events_dropped"] == 20
        assert all(after.epoch > epoch for after, epoch in zip(lines, before, strict=True))
        assert {event.epoch for event in reader.events} == {line.epoch for line in lines}
        numbers = [event.sequence for event in reader.of(BalancesTold)]
        assert numbers == list(range(1, len(numbers) + 1))

    async def test_one_tenants_shard_holds_only_its_own_events(
        self, publisher: UserPublisher, bus_client: "redis.asyncio.Redis"
    ) -> None:
        lines = [publisher.line(uuid4(), uuid4()) for _ in range(20)]
        task = asyncio.create_task(publisher.run())
        for line in lines:
            publisher.up(line)
        await publisher.flush(5)
        task.cancel()

        for line in lines:
            reader = UserReader(bus_client, [line.stream])
            await until(partial(len, reader.events), "events")
            reader.task.cancel()
            assert {shard_of(event.user_id) for event in reader.events} == {shard_of(line.user_id)}
