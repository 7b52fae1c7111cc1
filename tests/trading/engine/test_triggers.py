"""Whatever prices come in whatever order: a stop is triggered at most once, when its trigger was reached, and never for
more than the position."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connections.gateways import Side
from connections.models import Connection
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.errors import InvalidInput
from trading.engine import conditional, decisions, planning
from trading.engine.committer import CommitUnknown
from trading.engine.state import Account, LiveOrder, TenantState, changed
from trading.engine.tenant import Tenant
from trading.engine.triggers import Triggers
from trading.models import Order, Position
from trading.order_types import OrderKind

SYMBOL = "BTC/USDT"
PRICES = st.lists(st.integers(50, 150).map(Decimal), max_size=30)
STOPS = st.lists(
    st.tuples(
        st.sampled_from([OrderKind.STOP_LOSS, OrderKind.TAKE_PROFIT, OrderKind.TRAILING_STOP]),
        st.integers(1, 40).map(Decimal),
        st.integers(1, 5).map(Decimal),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


class _Committer:
    """Every set becomes durable at once."""

    async def commit(self, writes: Any) -> None:
        await asyncio.sleep(0)


class _World:
    """A tenant with waiting orders around a price of 100, and a position of 3 that they may reduce."""

    def __init__(self, stops: Sequence[tuple[OrderKind, Decimal, Decimal, bool]]) -> None:
        connection = Connection(id=uuid4(), exchange="binance_spot", mode="simulator")
        self.account = Account(connection, positions={SYMBOL: Position(symbol=SYMBOL, quantity=Decimal(3))})
        state = TenantState(uuid4(), accounts={connection.pk: self.account})
        self.tenant = Tenant(state, 0, 1, self._reload)
        desk: Any = SimpleNamespace(
            committer=_Committer(), clock=SYSTEM_CLOCK, figures={"triggered": 0},
            tell=lambda *_: None, triggers=Triggers(self._look),
        )  # fmt: skip
        self.desk = desk
        self.sent: list[Order] = []
        first: Order | None = None
        for kind, distance, quantity, grouped in stops:
            order = self._order(kind, distance, quantity)
            order.oco_group = first.pk if first is not None and grouped else None
            first = first or order
            state.remember(LiveOrder(order))
        conditional.watch(desk, self.tenant)

    def _order(self, kind: OrderKind, distance: Decimal, quantity: Decimal) -> Order:
        stop = 100 + distance if kind == OrderKind.TAKE_PROFIT else 100 - distance
        return Order(
            user_id=self.tenant.user_id, connection_id=self.account.connection.pk, symbol=SYMBOL, side=Side.SELL,
            type=kind, quantity=quantity, stop_price=stop, trail_rate=distance / 100, reduce_only=True,
            status="waiting",
        )  # fmt: skip

    async def _reload(self, _: Any) -> TenantState:
        pytest.fail("something raised inside the tenant")

    async def _look(self, tenant: Tenant, instrument: Any, price: Decimal) -> None:
        await conditional.on_price(self.desk, tenant, instrument, price)

    async def decide(self, desk: Any, tenant: Tenant, order_id: Any) -> None:
        """What is left to reduce is sold at once; an order that finds nothing ends."""
        live = tenant.state.orders[order_id]
        try:
            cut = planning.within_position(tenant.state, self.account, live.order)
        except InvalidInput:
            cut = changed(live.order, quantity=Decimal(0), status="rejected")
        else:
            self.account.positions[SYMBOL].quantity -= cut.quantity
            cut.status = "filled"
        live.order = cut
        tenant.state.remember(live)
        self.sent.append(cut)

    async def run(self, prices: Sequence[Decimal]) -> None:
        for price in prices:
            self.desk.triggers.on_price(("binance_spot:simulator", SYMBOL), price)
            if price % 3 == 0:  # some prices come while the tenant is busy with those before
                await asyncio.sleep(0)
        while self.tenant.is_busy:
            await asyncio.sleep(0)


@settings(deadline=None)
@given(STOPS, PRICES)
def test_a_stop_is_triggered_once_at_most_and_sells_no_more_than_the_position(
    stops: Sequence[tuple[OrderKind, Decimal, Decimal, bool]], prices: Sequence[Decimal]
) -> None:
    async def play() -> _World:
        world = _World(stops)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decisions, "on_new_order", world.decide)
            await world.run(prices)
        return world

    world = asyncio.run(play())
    ids = [order.pk for order in world.sent]
    assert len(ids) == len(set(ids))
    assert sum(order.quantity for order in world.sent) <= 3
    groups = [order.oco_group or order.pk for order in world.sent]
    assert len(groups) == len(set(groups))
    for live in world.tenant.state.orders.values():
        order = live.order
        reached = [
            price for price in prices
            if (price >= order.stop_price if order.type == OrderKind.TAKE_PROFIT else price <= order.stop_price)
        ]  # fmt: skip
        if order.type != OrderKind.TRAILING_STOP and order.status == "waiting":
            assert not reached


INSTRUMENT = ("binance_spot:simulator", SYMBOL)
BELOW = {INSTRUMENT: [(Decimal(90), None)]}


class _Looks:
    """Notes the prices that were handed over; the first ``failures`` looks end with a commit of unknown outcome."""

    def __init__(self, failures: int = 0) -> None:
        self.seen: list[Decimal] = []
        self._failures = failures

    async def __call__(self, tenant: Tenant, instrument: Any, price: Decimal) -> None:
        if self._failures:
            self._failures -= 1
            raise CommitUnknown("the database went away")
        self.seen.append(price)


async def _same(user_id: Any) -> TenantState:
    return TenantState(user_id)


async def _idle(tenant: Tenant) -> None:
    while tenant.is_busy:
        await asyncio.sleep(0)


async def test_a_price_that_waited_when_the_shard_was_lost_triggers_nothing_when_it_is_back() -> None:
    looks = _Looks()
    triggers = Triggers(looks)
    before = Tenant(TenantState(uuid4()), 0, 1, _same)
    triggers.watch(before, BELOW)
    triggers.on_price(INSTRUMENT, Decimal(50))
    before.abandon()
    await _idle(before)
    triggers.on_price(INSTRUMENT, Decimal(40))
    again = Tenant(before.state, 0, 3, _same)
    triggers.watch(again, BELOW)
    triggers.on_price(INSTRUMENT, Decimal(89))
    await _idle(again)
    assert looks.seen == [Decimal(89)]


async def test_nothing_of_a_tenant_that_went_to_another_engine_is_kept() -> None:
    triggers = Triggers(_Looks())
    tenant = Tenant(TenantState(uuid4()), 0, 1, _same)
    triggers.watch(tenant, BELOW)
    triggers.on_price(INSTRUMENT, Decimal(50))
    tenant.abandon()
    triggers.forget_all_but(())
    assert not triggers._prices


async def test_a_price_whose_trigger_may_not_be_committed_is_looked_at_again() -> None:
    looks = _Looks(failures=1)
    triggers = Triggers(looks)
    tenant = Tenant(TenantState(uuid4()), 0, 1, _same)
    triggers.watch(tenant, BELOW)
    triggers.on_price(INSTRUMENT, Decimal(80))
    triggers.on_price(INSTRUMENT, Decimal(70))
    await _idle(tenant)
    assert looks.seen == [Decimal(80), Decimal(70)]
