"""Exchanges whose answers don't fit any more are only watched, by every process, until they fit again."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import redis.asyncio

from connections import watch_only
from connections.gateways import OutcomeUnknown, Throttled, UnexpectedShape, UnreadableRefusal
from connections.watch_only import WINDOW_SECONDS, Watch, watched_feeds
from desproject.lib import bus
from desproject.lib.clock import ManualClock

FEED = "upbit:live"
MISFIT = UnexpectedShape("no such field")


@pytest.fixture
async def client(redis_server: str) -> AsyncIterator["redis.asyncio.Redis"]:
    connected = bus.connect()
    await connected.delete(f"des:watch-only:{FEED}")
    yield connected
    await connected.delete(f"des:watch-only:{FEED}")
    await connected.aclose()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 21, tzinfo=UTC))


@pytest.fixture
def watch(clock: ManualClock) -> Watch:
    return Watch(clock)


def note(watch: Watch, times: int, error: Exception | None, call: str = "account", account: str = "alice") -> None:
    for _ in range(times):
        watch.shapes(FEED).note(call, account, error)


async def test_past_a_tenth_of_its_answers_an_exchange_is_only_watched(
    watch: Watch, client: "redis.asyncio.Redis"
) -> None:
    note(watch, 27, None)
    note(watch, 3, MISFIT)
    assert not await watch.refresh(client)
    assert watch.reason(FEED) == ""

    note(watch, 1, MISFIT)

    (finding,) = (await watch.refresh(client)).values()
    assert (finding.call, finding.misfits, finding.answers) == ("account", 4, 31)
    assert "account" in watch.reason(FEED)
    assert not await watch.refresh(client), "told once"
    assert watched_feeds(bus.sync_client()) == [FEED]


@pytest.mark.parametrize(
    "error", [UnreadableRefusal("a page of a proxy"), Throttled("later"), OutcomeUnknown("no answer")]
)
async def test_what_isnt_an_answer_says_nothing_about_shapes(
    watch: Watch, client: "redis.asyncio.Redis", error: Exception
) -> None:
    note(watch, 50, error)

    assert not await watch.refresh(client)


async def test_one_answer_that_doesnt_fit_is_a_temporary_failure(watch: Watch, client: "redis.asyncio.Redis") -> None:
    note(watch, 2, MISFIT)

    assert not await watch.refresh(client)


async def test_an_order_whose_answer_cant_be_read_counts(watch: Watch, client: "redis.asyncio.Redis") -> None:
    unread = OutcomeUnknown("it may have been taken")
    unread.__cause__ = MISFIT
    note(watch, 3, unread, call="place_order")

    assert (await watch.refresh(client))[FEED].call == "place_order"


async def test_calls_are_judged_each_for_itself(watch: Watch, client: "redis.asyncio.Redis") -> None:
    note(watch, 500, None, call="order")
    note(watch, 3, MISFIT, call="account")

    assert (await watch.refresh(client))[FEED].call == "account"


async def test_one_account_of_many_that_nobody_can_read_is_its_own_trouble(
    watch: Watch, client: "redis.asyncio.Redis"
) -> None:
    note(watch, 3, None, account="bob")
    note(watch, 30, MISFIT, account="alice")
    assert not await watch.refresh(client)

    note(watch, 1, MISFIT, account="bob")
    assert FEED in await watch.refresh(client)


async def test_other_processes_hear_of_it(watch: Watch, clock: ManualClock, client: "redis.asyncio.Redis") -> None:
    other = Watch(clock)
    note(other, 1, None)
    note(watch, 3, MISFIT)
    await watch.refresh(client)

    assert not await other.refresh(client), "who found it alerts"
    assert other.reason(FEED) == watch.reason(FEED)
    note(other, 3, MISFIT)
    assert not await other.refresh(client), "and nobody else who finds the same"


async def test_it_returns_by_itself_and_a_call_that_was_at_fault_is_on_probation(
    watch: Watch, clock: ManualClock, client: "redis.asyncio.Redis"
) -> None:
    note(watch, 3, MISFIT)
    await watch.refresh(client)
    clock.advance(WINDOW_SECONDS + 1)
    await watch.refresh(client)
    await client.delete(f"des:watch-only:{FEED}")  # its time is over
    await watch.refresh(client)
    assert watch.reason(FEED) == ""

    note(watch, 1, MISFIT)
    assert FEED in await watch.refresh(client)
    clock.advance(WINDOW_SECONDS + 1)
    note(watch, 1, None)
    note(watch, 1, MISFIT)
    await client.delete(f"des:watch-only:{FEED}")
    await watch.refresh(client)
    assert watch.reason(FEED) == "", "it fitted once: one more shows nothing"


async def test_without_redis_a_process_goes_by_what_it_found(watch: Watch) -> None:
    away = redis.asyncio.Redis.from_url("unix:///nowhere/redis.sock")
    note(watch, 3, MISFIT)

    assert FEED in await watch.refresh(away)
    assert watch.reason(FEED)
    await away.aclose()


async def test_a_redis_that_never_answers_holds_up_no_finding(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Frozen:
        async def mget(self, keys: object) -> object:
            return await asyncio.Event().wait()

    monkeypatch.setattr(watch_only, "_PATIENCE", 0.01)
    watch.shapes(FEED)
    async with asyncio.timeout(2):
        assert await watch.refresh(Frozen()) == {}  # type: ignore[arg-type]
