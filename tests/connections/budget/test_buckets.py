"""The bucket of one limit: what it lets through in any stretch of time, and to whom. In Redis and alone."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime
from random import Random
from typing import cast
from uuid import uuid4

import pytest
import redis.asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from connections.budget import budget as budget_module
from connections.budget import ledgers
from connections.budget.budget import Budget
from connections.budget.ledgers import OwnLedger, SharedLedger, Told, Wanted
from connections.budget.limits import Bucket, LimitRow, bucket_of
from connections.budget.urgency import Urgency, urgency_of, working_at
from connections.gateways import Banned, OutOfBudget, Throttled
from desproject.lib import bus
from desproject.lib.clock import SYSTEM_CLOCK, ManualClock

# Refills so slowly that a test sees what is there and nothing more.
STILL = Bucket(rate=0.001, burst=100.0, reserved=0.0, ahead=0)
EXIT, ENTRY, READ, BACKGROUND = Urgency
LIMITS = [(6000, 60), (2400, 60), (150, 1), (30, 1), (10, 1), (8, 1)]


@pytest.fixture
async def client(redis_server: str) -> AsyncIterator["redis.asyncio.Redis"]:
    connected = bus.connect()
    async for key in connected.scan_iter("des:budget:*"):
        await connected.delete(key)
    yield connected
    await connected.aclose()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 21, tzinfo=UTC))


def wants(urgency: Urgency, *tenants: str, cost: int = 1) -> list[Wanted]:
    return [Wanted(urgency, tenant, cost) for tenant in tenants]


@pytest.mark.parametrize(("limit", "seconds"), LIMITS)
async def test_no_stretch_of_a_window_holds_more_than_the_limit(clock: ManualClock, limit: int, seconds: int) -> None:
    """Asked for all it has, all the time; what was sent late in one window arrives with the next one's."""
    ledger, cost = OwnLedger(bucket_of(LimitRow(limit, seconds, "address")), clock), max(limit // 100, 1)
    passed: list[float] = []
    for _ in range(200):
        while (await ledger.ask(wants(EXIT, "alice", cost=cost), Told())).requests[0]:
            passed.append(clock.monotonic())
        clock.advance(seconds / 50)

    late = seconds / 12
    most = max(sum(start <= moment < start + seconds + late for moment in passed) for start in passed)
    assert limit * 0.6 < most * cost <= limit * 0.95 + cost


async def test_exits_find_what_entries_leave_them(client: "redis.asyncio.Redis") -> None:
    ledger = SharedLedger("a", STILL, client, SYSTEM_CLOCK)

    entries = (await ledger.ask(wants(ENTRY, *["alice"] * 48), Told())).requests
    exits = (await ledger.ask(wants(EXIT, *["bob"] * 48), Told())).requests

    assert (sum(entries), sum(exits)) == (25, 25), "an emptied Redis begins with half of 100; entries leave 25"


async def test_background_work_leaves_most_to_others(client: "redis.asyncio.Redis") -> None:
    ledger = SharedLedger("a", Bucket(1000.0, 100.0, 0.0, 0), client, SYSTEM_CLOCK)
    await ledger.ask([], Told())
    await asyncio.sleep(0.2)

    background = (await ledger.ask(wants(BACKGROUND, *["alice"] * 48), Told())).requests
    reads = (await ledger.ask(wants(READ, *["bob"] * 48), Told())).requests

    assert 29 <= sum(background) <= 35
    assert sum(reads) == 48 or sum(reads) >= 20


async def test_two_processes_share_one_bucket(client: "redis.asyncio.Redis") -> None:
    one, other = (SharedLedger("a", STILL, client, SYSTEM_CLOCK) for _ in range(2))

    granted = (await one.ask(wants(EXIT, *["alice"] * 40), Told())).requests
    rest = (await other.ask(wants(EXIT, *["bob"] * 40), Told())).requests

    assert (sum(granted), sum(rest)) == (40, 10)


async def test_who_had_least_comes_first_whichever_process_asks(client: "redis.asyncio.Redis") -> None:
    bucket = Bucket(100.0, 30.0, 0.0, 0)
    one, other = (SharedLedger("a", bucket, client, SYSTEM_CLOCK) for _ in range(2))
    had: Counter[str] = Counter()
    for _ in range(60):
        for ledger, tenants in ((one, ["alice"] * 20 + ["bob"] * 5), (other, ["charlie"] * 3)):
            wanted = wants(ENTRY, *tenants)
            answer = await ledger.ask(wanted, Told())
            had.update(want.tenant for want, granted in zip(wanted, answer.requests, strict=True) if granted)
        await asyncio.sleep(0.02)

    assert sum(had.values()) > 60
    assert max(had.values()) <= 1.35 * min(had.values()), had


TENANTS = ("alice", "bob", "charlie", "dora", "emil", "frida")


async def pass_time(client: "redis.asyncio.Redis", key: str, seconds: float) -> None:
    """All that Redis remembers of a bucket happened so much longer ago."""
    await cast(Awaitable[int], client.hincrby(key, "at", -int(seconds * 1_000_000)))
    for urgency in (1, 2, 3):
        for tenant in await client.zrange(f"{key}:waiting:{urgency}", 0, -1):
            await client.zincrby(f"{key}:waiting:{urgency}", -seconds * 1_000_000, tenant)


@given(
    processes=st.lists(st.integers(0, 2), min_size=6, max_size=6),
    patience=st.lists(st.integers(1, 8), min_size=3, max_size=3),
    greed=st.lists(st.floats(0, 0.15), min_size=6, max_size=6),
    seed=st.integers(0, 2**16),
)
@settings(
    max_examples=3, deadline=None, phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
async def test_who_wants_all_the_time_gets_as_much_as_others_whoever_is_greedy_in_between(
    client: "redis.asyncio.Redis", processes: list[int], patience: list[int], greed: list[float], seed: int
) -> None:
    """Everybody reads as much as they get, some also enter now and then: what is had in all is shared alike, however
    tenants are spread over processes and however slowly these ask."""
    chance, had, bucket = Random(seed), Counter[str](dict.fromkeys(TENANTS, 0)), Bucket(80.0, 600.0, 0.0, 8)
    name = f"fair-{uuid4()}"
    ledgers_ = [SharedLedger(name, bucket, client, SYSTEM_CLOCK) for _ in range(3)]
    for tick in range(150):
        for process, ledger in enumerate(ledgers_):
            if tick % patience[process]:
                continue
            mine = [tenant for tenant, place in zip(TENANTS, processes, strict=True) if place == process]
            entering = [each for each in mine if chance.random() < greed[TENANTS.index(each)] * patience[process]]
            wanted = [*wants(ENTRY, *entering), *wants(READ, *mine, *mine, cost=20)]
            answer = await ledger.ask(wanted, Told())
            for want, granted in zip(wanted, answer.requests, strict=True):
                had[want.tenant] += want.cost if granted else 0
        await pass_time(client, f"des:budget:{{{name}}}", 0.05)

    assert sum(had.values()) > 500
    assert max(had.values()) - min(had.values()) <= 2 * 20 + 3, had


async def test_what_an_idle_tenant_leaves_is_the_others(client: "redis.asyncio.Redis") -> None:
    ledger = SharedLedger("a", STILL, client, SYSTEM_CLOCK)
    await ledger.ask(wants(ENTRY, "bob"), Told())

    granted = (await ledger.ask(wants(ENTRY, *["alice"] * 48), Told())).requests

    assert sum(granted) == 24


async def test_what_the_exchange_says_is_left_counts(client: "redis.asyncio.Redis") -> None:
    ledger = SharedLedger("a", STILL, client, SYSTEM_CLOCK)

    granted = (await ledger.ask(wants(EXIT, *["alice"] * 20), Told(room=7.0))).requests
    assert sum(granted) == 7

    entries = SharedLedger("b", STILL, client, SYSTEM_CLOCK)
    told = Told(exits_only=30.0)
    assert not any((await entries.ask(wants(ENTRY, "alice"), told)).requests)
    assert not any((await entries.ask(wants(ENTRY, "alice"), Told())).requests)
    assert all((await entries.ask(wants(EXIT, "alice"), Told())).requests)


async def test_a_shut_exchange_is_shut_for_every_process(client: "redis.asyncio.Redis") -> None:
    one, other = (SharedLedger("a", STILL, client, SYSTEM_CLOCK) for _ in range(2))

    await one.shut(30.0, banned=True)
    await one.shut(5.0, banned=False)
    answer = await other.ask(wants(EXIT, "alice"), Told())

    assert (answer.requests, answer.banned) == ([False], True)
    assert answer.shut_seconds == pytest.approx(30, abs=5)


async def test_without_redis_a_part_goes_on_and_is_no_more_than_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "share_alone", lambda: 1 / 8)
    away = redis.asyncio.Redis.from_url("unix:///nowhere/redis.sock")
    ledger = SharedLedger("a", STILL, away, SYSTEM_CLOCK)

    first = (await ledger.ask(wants(EXIT, *["alice"] * 48), Told())).requests
    again = (await ledger.ask(wants(EXIT, "alice"), Told())).requests

    assert (sum(first), sum(again)) == (12, 0)
    assert ledger._alone.bucket.rate == STILL.rate / 8 > 0
    await away.aclose()


# Waiting.


@pytest.fixture
def budget(client: "redis.asyncio.Redis") -> Budget:
    return Budget("a_test", STILL, SharedLedger("a", STILL, client, SYSTEM_CLOCK), SYSTEM_CLOCK)


async def test_what_waits_too_long_is_told_that_nothing_happened(budget: Budget) -> None:
    for _ in range(25):
        await budget.take(1, ENTRY, "alice")

    with pytest.raises(OutOfBudget):
        await budget.take(1, ENTRY, "alice", patience=0.05)
    await budget.aclose()


async def test_an_exit_overtakes_all_that_waits(budget: Budget) -> None:
    waiting = [asyncio.create_task(budget.take(1, ENTRY, "alice")) for _ in range(60)]
    await asyncio.sleep(0.2)

    await budget.take(1, EXIT, "alice", patience=5.0)

    assert sum(not task.done() for task in waiting) == 35
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await budget.aclose()


async def test_a_ban_ends_what_waits_and_refuses_what_comes(budget: Budget) -> None:
    waiting = asyncio.gather(*(budget.take(1, ENTRY, "alice") for _ in range(30)), return_exceptions=True)
    await asyncio.sleep(0.2)

    await budget.shut(30.0, banned=True)

    assert sum(isinstance(each, Banned) for each in await waiting) == 5
    with pytest.raises(Banned) as caught:
        await budget.take(1, EXIT, "alice")
    assert caught.value.retry_after == pytest.approx(30, abs=5)
    await budget.aclose()


async def test_a_read_that_waited_long_is_let_through_anothers_flood_of_entries(
    client: "redis.asyncio.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget_module, "_READ_WAITS", 0.05)
    bucket = Bucket(100.0, 20.0, 0.0, 0)
    budget = Budget("a_test", bucket, SharedLedger("a", bucket, client, SYSTEM_CLOCK), SYSTEM_CLOCK)

    async def flood() -> None:
        while True:
            await budget.take(1, ENTRY, "alice")

    floods = [asyncio.create_task(flood()) for _ in range(20)]
    await asyncio.sleep(0.2)
    await budget.take(1, READ, "bob")
    for task in floods:
        task.cancel()
    assert not any(task.done() for task in floods), "still wanted more"
    await asyncio.gather(*floods, return_exceptions=True)
    await budget.aclose()


async def test_those_who_gave_up_hold_up_nobody(clock: ManualClock) -> None:
    """A ledger of this process alone never suspends: nobody else would ever run."""
    budget = Budget("a_test", STILL, OwnLedger(STILL, clock), SYSTEM_CLOCK)
    waiting = [asyncio.create_task(budget.take(1, ENTRY, "alice")) for _ in range(90)]
    await asyncio.sleep(0)
    for task in waiting[:50]:
        task.cancel()

    async with asyncio.timeout(5):
        await asyncio.gather(*waiting, return_exceptions=True)
        await budget.take(1, EXIT, "alice")
    await budget.aclose()


async def test_another_process_learns_of_a_ban_before_its_next_request(
    budget: Budget, client: "redis.asyncio.Redis"
) -> None:
    other = Budget("another", STILL, SharedLedger("a", STILL, client, SYSTEM_CLOCK), SYSTEM_CLOCK)
    await other.take(1, ENTRY, "bob")
    await budget.shut(30.0)

    with pytest.raises(Throttled):
        await other.take(1, EXIT, "bob")
    await budget.aclose()
    await other.aclose()


async def test_weight_ahead_spares_the_way_to_redis_and_is_given_back(client: "redis.asyncio.Redis") -> None:
    bucket = Bucket(0.001, 100.0, 0.0, 7)
    ledger = SharedLedger("a", bucket, client, SYSTEM_CLOCK)
    await cast(Awaitable[int], client.hset("des:budget:{a}", mapping={"tokens": "100"}))
    asked = 0

    class Counted:
        async def ask(self, *args: object) -> object:
            nonlocal asked
            asked += 1
            return await ledger.ask(*args)  # type: ignore[arg-type]

    budget = Budget("a_test", bucket, Counted(), SYSTEM_CLOCK)  # type: ignore[arg-type]
    await budget.take(1, ENTRY, "alice")
    for _ in range(5):
        await budget.take(1, ENTRY, "alice")
    assert asked == 1
    await asyncio.sleep(0.3)

    left = float(await cast(Awaitable[str], client.hget("des:budget:{a}", "tokens")))
    assert left == pytest.approx(100 - 6 - 7, abs=0.1), "two were given back, seven are ahead again"
    await budget.aclose()


def test_urgency_is_what_the_task_said() -> None:
    assert urgency_of(ENTRY) is ENTRY
    with working_at(BACKGROUND):
        assert urgency_of(ENTRY) is BACKGROUND
        with working_at(EXIT):
            assert urgency_of(READ) is EXIT
    assert urgency_of(READ) is READ
