"""Leases: shared out fairly, taken over from the dead, handed over to those who join."""

import asyncio
from datetime import UTC, datetime

import pytest

from connections.database import run
from connections.leases import HeldLease, LeaseKeeper, end_drain, is_draining, living, request_drain
from connections.models import Lease, Process
from desproject.lib.clock import SYSTEM_CLOCK, ManualClock

pytestmark = pytest.mark.django_db(transaction=True)
KEYS = frozenset(str(number) for number in range(8))
SECONDS = 6.0


class Worker:
    """A process that takes part, moved by hand."""

    def __init__(self, clock: ManualClock) -> None:
        self.lost: list[str] = []
        self.gained: list[str] = []
        self.keeper = LeaseKeeper(
            "shard", lambda: KEYS, run, on_gain=self._gain, on_loss=self._lose, lease_seconds=SECONDS, clock=clock
        )

    async def _gain(self, lease: HeldLease) -> None:
        self.gained.append(lease.key)

    async def _lose(self, key: str) -> None:
        self.lost.append(key)

    def round(self) -> set[str]:
        asyncio.run(self.keeper._round())
        return set(self.keeper.held)

    def drop_expired(self) -> set[str]:
        asyncio.run(self._drop_expired())
        return set(self.keeper.held)

    async def _drop_expired(self) -> None:
        self.keeper._drop_expired()
        await asyncio.wait(self.keeper._leaving.values())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 1, tzinfo=UTC))


def test_the_first_process_takes_everything(clock: ManualClock) -> None:
    assert Worker(clock).round() == KEYS


def test_a_second_process_gets_half(clock: ManualClock) -> None:
    first, second = Worker(clock), Worker(clock)
    first.round()
    assert second.round() == set()
    assert len(first.round()) == 4
    assert len(second.round()) == 4
    assert set(first.keeper.held).isdisjoint(second.keeper.held)


def test_a_lease_is_never_held_twice_at_a_time(clock: ManualClock) -> None:
    workers = [Worker(clock) for _ in range(3)]
    for _ in range(12):
        for worker in workers:
            worker.round()
        clock.advance(1)
        held = [key for worker in workers for key in worker.keeper.held]
        assert len(held) == len(set(held))
    assert sorted(len(worker.keeper.held) for worker in workers) == [2, 3, 3]


def test_the_leases_of_a_dead_process_are_taken_over_under_a_new_epoch(clock: ManualClock) -> None:
    dead, heir = Worker(clock), Worker(clock)
    dead.round()
    epochs = dict(Lease.objects.values_list("key", "epoch"))
    heir.round()
    clock.advance(SECONDS + 0.1)
    assert heir.round() == KEYS
    assert dict(Lease.objects.values_list("key", "epoch")) == {key: epoch + 1 for key, epoch in epochs.items()}


def test_a_process_that_slept_past_its_leases_knows_that_they_are_gone(clock: ManualClock) -> None:
    sleeper, heir = Worker(clock), Worker(clock)
    sleeper.round()
    epoch = sleeper.keeper.held["0"].epoch
    clock.advance(SECONDS + 0.1)
    assert not sleeper.keeper.still_valid("0", epoch)
    heir.round()
    heir.round()
    assert sleeper.drop_expired() == set()
    assert set(sleeper.lost) == KEYS


def test_a_renewed_lease_keeps_its_epoch(clock: ManualClock) -> None:
    worker = Worker(clock)
    worker.round()
    before = worker.keeper.held["0"]
    clock.advance(2)
    worker.round()
    after = worker.keeper.held["0"]
    assert after.epoch == before.epoch
    assert after.valid_until == before.valid_until + 2


def test_a_drained_process_gives_everything_back_at_once(clock: ManualClock) -> None:
    leaving, staying = Worker(clock), Worker(clock)
    leaving.round()
    asyncio.run(leaving.keeper.release_all())
    assert staying.round() == KEYS
    assert set(leaving.lost) == KEYS


def test_a_host_that_drains_tells_its_processes(clock: ManualClock) -> None:
    worker = Worker(clock)
    worker.round()
    host = Process.objects.get().host
    now = SYSTEM_CLOCK.now()
    request_drain(host)
    assert is_draining(host, now)
    worker.round()
    assert worker.keeper.draining.is_set()
    assert living("shard", clock.now()) == 0
    end_drain(host)
    assert not is_draining(host, SYSTEM_CLOCK.now())


class SlowWorker(Worker):
    """One whose work on key 7 doesn't end before it is told to."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.may_end = asyncio.Event()

    async def _lose(self, key: str) -> None:
        if key == "7":
            await self.may_end.wait()
        await super()._lose(key)


async def test_work_that_wont_end_delays_no_renewal_and_isnt_given_back(clock: ManualClock) -> None:
    slow, other = SlowWorker(clock), Worker(clock)
    await slow.keeper._round()
    await other.keeper._round()
    slow.keeper._seconds = 0.4  # it waits for an eighth of this
    await slow.keeper._round()
    slow.keeper._seconds = SECONDS
    await slow.keeper._round()
    assert set(slow.keeper.held) == {"0", "1", "2", "3"}
    assert {lease.valid_until for lease in slow.keeper.held.values()} == {clock.monotonic() + SECONDS}
    await other.keeper._round()
    assert set(other.keeper.held) == {"4", "5", "6"}
    slow.may_end.set()
    await slow.keeper._round()
    await other.keeper._round()
    assert set(other.keeper.held) == {"4", "5", "6", "7"}


async def test_a_drained_process_gives_back_what_is_done_while_other_work_goes_on(clock: ManualClock) -> None:
    """A send that its exchange doesn't answer keeps its own shard waiting, and no other."""
    slow, other = SlowWorker(clock), Worker(clock)
    await slow.keeper._round()
    leaving = asyncio.create_task(slow.keeper.release_all())
    async with asyncio.timeout(10):
        while other.keeper.held.keys() != KEYS - {"7"}:
            await other.keeper._round()
            await asyncio.sleep(0.01)
    assert not leaving.done()
    slow.may_end.set()
    await leaving
    await other.keeper._round()
    assert set(other.keeper.held) == KEYS


async def test_a_key_isnt_gained_again_while_its_earlier_work_still_ends(clock: ManualClock) -> None:
    worker = SlowWorker(clock)
    await worker.keeper._round()
    clock.advance(SECONDS + 0.1)
    worker.keeper._drop_expired()
    await worker.keeper._round()
    assert set(worker.keeper.held) == KEYS - {"7"}
    worker.may_end.set()
    await asyncio.wait(worker.keeper._leaving.values())
    await worker.keeper._round()
    assert set(worker.keeper.held) == KEYS
    assert worker.gained.count("7") == 2


async def test_an_error_while_leaving_ends_neither_the_keeper_nor_the_others(clock: ManualClock) -> None:
    class Failing(Worker):
        async def _lose(self, key: str) -> None:
            if key == "3":
                raise ValueError(key)
            await super()._lose(key)

    worker = Failing(clock)
    await worker.keeper._round()
    await worker.keeper.release_all()
    assert set(worker.lost) == KEYS - {"3"}
    assert not await run(Lease.objects.filter(owner__isnull=False).exists)


async def test_what_one_lets_go_of_others_take_at_once() -> None:
    """And not only when they renew theirs, which here is after 15 seconds."""
    gained: list[str] = []

    async def gain(lease: HeldLease) -> None:
        gained.append(lease.key)

    async def lose(key: str) -> None:
        assert key in KEYS

    async def tell() -> None:
        second.look()

    first = LeaseKeeper(
        "shard", lambda: KEYS, run, on_gain=gain, on_loss=lose, on_given_back=tell, lease_seconds=60.0
    )
    second = LeaseKeeper("shard", lambda: KEYS, run, on_gain=gain, on_loss=lose, lease_seconds=60.0)
    running = [asyncio.create_task(first.run())]
    async with asyncio.timeout(10):
        while first.held.keys() != KEYS:
            await asyncio.sleep(0.01)
        running.append(asyncio.create_task(second.run()))
        while await run(living, "shard", SYSTEM_CLOCK.now()) < 2:
            await asyncio.sleep(0.01)
        first.draining.set()
        while second.held.keys() != KEYS:
            await asyncio.sleep(0.01)
        second.draining.set()
        await asyncio.gather(*running)
    assert sorted(gained) == sorted([*KEYS, *KEYS])
