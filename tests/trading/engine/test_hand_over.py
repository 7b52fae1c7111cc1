"""Engines come and go: what one hands over another goes on with at once, and nobody waits for somebody else's rows."""

import asyncio
import threading
from decimal import Decimal
from uuid import UUID

import pytest

from accounts.models import User
from connections import database
from connections.gateways import OrderType
from desproject.lib.clock import Clock
from desproject.mismatches import compare
from tests.trading.engine.harness import running_bench, until
from trading.engine import state
from trading.engine.engine import Engine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


async def test_an_engine_that_drains_finishes_what_it_sent_and_the_next_goes_on(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bench(monkeypatch) as bench:
        connection, keys = await bench.bind(alice, USDT="100000")
        bid, _ = await bench.quote_of_the_simulator()
        resting = await bench.order(alice, connection, type=OrderType.LIMIT, price=bid - 500)

        async def rests() -> bool:
            return (await bench.refreshed(resting)).status == "submitted"

        await until(rests)
        heir = Engine()
        running = asyncio.create_task(heir.run())
        try:
            await bench.simulator.fault("delay", path="/api/v3/order", method="POST", seconds=0.4, count=1)
            await bench.quote_of_the_simulator()
            in_flight = await bench.order(alice, connection)

            async def is_sent() -> bool:
                return in_flight.pk in bench.engine.desk.in_flight | heir.desk.in_flight

            await until(is_sent)
            drained = bench.engine if alice.pk in bench.engine.tenants else heir
            left = heir if drained is bench.engine else bench.engine
            drained.desk.keeper.draining.set()

            async def is_taken_over() -> bool:
                tenant = left.tenants.get(alice.pk)
                return tenant is not None and all(account.entries_open for account in tenant.state.accounts.values())

            await until(is_taken_over)
            # Its answer was waited for and booked by who had sent it: nothing had to be asked for.
            assert (await bench.refreshed(in_flight)).status == "filled"
            assert drained.desk.figures["acknowledged"] >= 1
            assert not drained.desk.keeper.held
            await bench.quote_of_the_simulator()
            later = await bench.order(alice, connection)

            async def is_filled() -> bool:
                return (await bench.refreshed(later)).status == "filled"

            await until(is_filled)
            ledger = await bench.simulator.ledger(keys)
        finally:
            heir.desk.keeper.draining.set()
            await running
    assert set(ledger["received"].values()) == {1}
    differences = await database.run(
        compare, {"accounts": {keys.api_key: ledger}}, {connection.pk: keys.api_key}, [alice.pk]
    )
    assert {str(each.kind) for each in differences} == {"order_unsettled", "reservation_left"}  # the one that rests
    assert resting.quantity == Decimal("0.01")


async def test_a_tenant_that_takes_long_to_read_holds_up_no_other(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, may_go_on = state.load, threading.Event()

    def load(user_id: UUID, clock: Clock) -> state.TenantState:
        if user_id == alice.pk:
            may_go_on.wait(20)
        return original(user_id, clock)

    monkeypatch.setattr(state, "load", load)
    async with running_bench(monkeypatch) as bench:
        await bench.bind(alice, USDT="100000")
        connection, _ = await bench.bind(bob, USDT="100000")
        await bench.quote_of_the_simulator()
        order = await bench.order(bob, connection)

        async def is_filled() -> bool:
            return (await bench.refreshed(order)).status == "filled"

        try:
            await until(is_filled)
            assert alice.pk not in bench.engine.tenants
        finally:
            may_go_on.set()
