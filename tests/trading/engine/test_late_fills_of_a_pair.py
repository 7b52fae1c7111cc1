"""An order of a settled arbitrage that trades after all is hedged, also where the next fire is under way already."""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from trading.engine import arbitrage_settling
from trading.engine.pairs import OpenFire
from trading.engine.state import TenantState
from trading.engine.tenant import Tenant
from trading.models import ArbitrageFire


async def test_a_late_fill_is_looked_at_when_the_fire_under_way_is_even(monkeypatch: pytest.MonkeyPatch) -> None:
    late_order, instance_id, looked = uuid4(), uuid4(), asyncio.Event()
    late, under_way = (OpenFire(ArbitrageFire(instance_id=instance_id), []) for _ in range(2))

    async def read(_: Any, user_id: UUID, order_id: UUID) -> OpenFire:
        return late

    async def go_on(_: Any, tenant: Tenant, found: UUID) -> None:
        if tenant.state.pairs.fires[found] is late:
            looked.set()

    async def same(user_id: UUID) -> TenantState:
        raise AssertionError("something raised inside the tenant")

    monkeypatch.setattr(arbitrage_settling, "run_in_db", read)
    monkeypatch.setattr(arbitrage_settling, "_go_on", go_on)
    monkeypatch.setattr(arbitrage_settling, "_REOPEN_PAUSE", 0.01)
    spawned: list[asyncio.Task[None]] = []
    desk: Any = SimpleNamespace(spawn=lambda work, name: spawned.append(asyncio.create_task(work)))
    tenant = Tenant(TenantState(uuid4()), 0, 1, same)
    tenant.state.pairs.take(under_way)
    tenant.post(partial(arbitrage_settling._reopen, desk, tenant, late_order))
    while not spawned:
        await asyncio.sleep(0)
    assert tenant.state.pairs.fires[instance_id] is under_way
    tenant.state.pairs.fires.pop(instance_id)
    await asyncio.wait_for(looked.wait(), 2)
