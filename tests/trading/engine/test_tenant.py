"""The mailbox: one message after the other, none twice that waits already, and nothing for a closed tenant."""

import asyncio
from uuid import uuid4

from trading.engine.send_slots import SendSlots
from trading.engine.state import TenantState
from trading.engine.tenant import Message, Tenant


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


async def test_one_connection_whose_exchange_hangs_leaves_slots_for_others() -> None:
    slots, hanging, other = SendSlots(4), uuid4(), uuid4()
    release = asyncio.Event()

    async def hang() -> None:
        async with slots.slot(hanging):
            await release.wait()

    stuck = [asyncio.create_task(hang()) for _ in range(10)]
    await asyncio.sleep(0)
    async with asyncio.timeout(1), slots.slot(other):
        pass
    release.set()
    await asyncio.gather(*stuck)
    assert slots._connections == {}
