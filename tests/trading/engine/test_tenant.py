"""The mailbox: one message after the other, none twice that waits already, and nothing for a closed tenant."""

import asyncio
from uuid import UUID, uuid4

import pytest

from trading.engine.committer import CommitUnknown
from trading.engine.send_slots import SendSlots
from trading.engine.state import TenantState
from trading.engine.tenant import Message, Tenant
from trading.models import Order


async def _never(user_id: object) -> TenantState:
    raise AssertionError("nothing was to be reloaded")


def tenant() -> Tenant:
    return Tenant(TenantState(uuid4()), 1, 1, _never)


def noting(notes: list[str], note: str) -> Message:
    async def message() -> None:
        notes.append(note)

    return message


async def idle(actor: Tenant) -> None:
    while actor.is_busy:
        await asyncio.sleep(0)


async def test_a_message_that_waits_already_is_not_queued_twice() -> None:
    actor, notes = tenant(), list[str]()
    for _ in range(3):
        actor.post(noting(notes, "look"), key="look")
    await idle(actor)
    assert notes == ["look"]
    actor.post(noting(notes, "look again"), key="look")
    await idle(actor)
    assert notes == ["look", "look again"]


async def test_a_kill_overtakes_what_waits() -> None:
    actor, notes = tenant(), list[str]()
    actor.post(noting(notes, "order"))
    actor.post(noting(notes, "kill"), key="kill", first=True)
    await idle(actor)
    assert notes == ["kill", "order"]


async def test_an_abandoned_tenant_handles_nothing_more() -> None:
    actor, notes = tenant(), list[str]()
    actor.post(noting(notes, "waiting"))
    actor.abandon()
    actor.post(noting(notes, "late"))
    await idle(actor)
    assert notes == []


async def test_what_waits_to_be_decided_is_read_anew_after_a_commit_that_may_have_happened() -> None:
    async def read(user_id: UUID) -> TenantState:
        return TenantState(user_id)

    async def commit() -> None:
        raise CommitUnknown

    actor, order = Tenant(TenantState(uuid4()), 1, 1, read), Order(pk=uuid4())
    actor.queue.refill([order.pk], {order.pk: order}, 3)
    actor.post(commit)
    await idle(actor)
    assert (actor.queue.pending, actor.queue.next()) == (0, None)


@pytest.mark.parametrize("is_exit", [False, True])
async def test_one_connection_whose_exchange_hangs_leaves_slots_for_others(is_exit: bool) -> None:
    slots, hanging, other = SendSlots(4), uuid4(), uuid4()
    release = asyncio.Event()

    async def hang() -> None:
        async with slots.slot(hanging, hanging, is_exit=is_exit):
            await release.wait()

    stuck = [asyncio.create_task(hang()) for _ in range(10)]
    await asyncio.sleep(0)
    async with asyncio.timeout(1), slots.slot(other, other, is_exit=is_exit):
        assert slots.in_use == 3
    release.set()
    await asyncio.gather(*stuck)
    assert (slots.in_use, slots.waiting) == (0, 0)


async def test_an_exit_waits_for_no_entries() -> None:
    slots, alice = SendSlots(1), uuid4()
    async with slots.slot(alice, alice), asyncio.timeout(1), slots.slot(alice, alice, is_exit=True):
        assert slots.in_use == 2


@pytest.mark.parametrize("is_exit", [False, True])
async def test_tenants_take_turns_however_many_orders_and_connections_one_of_them_has(is_exit: bool) -> None:
    slots, alice, bob = SendSlots(2), uuid4(), uuid4()
    sent: list[str] = []

    async def send(user: UUID, name: str) -> None:
        async with slots.slot(user, uuid4(), is_exit=is_exit):
            sent.append(name)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as sends:
        for _ in range(6):
            sends.create_task(send(alice, "alice"))
        sends.create_task(send(bob, "bob"))
    assert "bob" in sent[:3]
    assert len(sent) == 7


async def test_who_gives_up_waiting_for_a_slot_leaves_no_trace() -> None:
    slots, user = SendSlots(1), uuid4()

    async def wait() -> None:
        async with slots.slot(user, user):
            pass

    async with slots.slot(user, user):
        waits = asyncio.create_task(wait())
        await asyncio.sleep(0)
        assert slots.waiting == 1
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
        assert slots.waiting == 0
    assert (slots.in_use, slots._entries._lanes, slots._entries._users) == (0, {}, {})
