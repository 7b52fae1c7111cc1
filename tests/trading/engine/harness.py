"""An engine in this process against a simulator over real sockets, with market events put onto the bus by hand."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import custody, database
from connections.events import AnyMarketEvent, MarketBatch, Quote, encode, feed_stream
from connections.gateways import Credentials, OrderType, Side
from connections.models import Connection
from desproject.lib import bus
from tests.connections.simulator.server import Keys, RunningSimulator, running_simulator
from trading.engine.engine import Engine
from trading.models import Order
from trading.services import place_order

FEED = "binance_spot:simulator"
SYMBOL = "BTC/USDT"


class Bench:
    """A simulator, a running engine and the means to look at both."""

    def __init__(self, simulator: RunningSimulator) -> None:
        self.simulator = simulator
        self.engine = Engine()
        self._task: asyncio.Task[None] | None = None
        self._sequence = 0
        self._redis = bus.connect()

    async def start(self) -> None:
        self._task = asyncio.create_task(self.engine.run())

    async def stop(self) -> None:
        self.engine.desk.keeper.draining.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def bind(self, user: User, **balances: Any) -> tuple[Connection, Keys]:
        """A funded account at the simulator and the user's connection to it."""
        keys = await self.simulator.create_account(user.email.split("@")[0], **balances)
        return await database.run(_bind, user, keys), keys

    async def bind_another(self, user: User) -> Connection:
        """Another account of the user, called ``second``, without money."""
        keys = await self.simulator.create_account(f"{user.email.split('@')[0]}-second")
        return await database.run(_bind, user, keys, "second")

    async def tell(self, *events: AnyMarketEvent) -> None:
        self._sequence += 1
        batch = MarketBatch(1, self._sequence, events)
        await bus.append(self._redis, feed_stream(FEED), encode(batch), keep=1000)

    async def quote(self, bid: str, ask: str) -> None:
        size = Decimal(100)
        await self.tell(Quote(SYMBOL, time.time_ns(), Decimal(bid), size, Decimal(ask), size))

    async def quote_of_the_simulator(self) -> tuple[Decimal, Decimal]:
        """Puts the simulator's own best prices on the bus; returns (bid, ask)."""
        best = (await self.simulator.public("/api/v3/ticker/bookTicker", symbol="BTCUSDT")).body
        await self.quote(best["bidPrice"], best["askPrice"])
        return Decimal(best["bidPrice"]), Decimal(best["askPrice"])

    async def order(self, user: User, connection: Connection, **wanted: Any) -> Order:
        return await database.run(_order, user, connection, wanted)

    async def refreshed(self, order: Order) -> Order:
        return await database.run(_read, order)


def _bind(user: User, keys: Keys, name: str = "spot") -> Connection:
    row = Connection(id=uuid4(), user=user, name=name, exchange="binance_spot", mode="simulator")
    custody.seal_credentials(
        Credentials(keys.api_key, keys.api_secret), user_id=user.pk, connection_id=row.pk, exchange="binance_spot"
    ).store_in(row)
    with tenant_scope(user.pk):
        row.save(force_insert=True)
    return row


def _order(user: User, connection: Connection, wanted: dict[str, Any]) -> Order:
    with tenant_scope(user.pk):
        chosen = {"symbol": SYMBOL, "side": Side.BUY, "type": OrderType.MARKET, "quantity": Decimal("0.01"), **wanted}
        return place_order(user=user, connection=connection, **chosen)


def _read(order: Order) -> Order:
    with tenant_scope(order.user_id):
        found: Order = Order.objects.get(pk=order.pk)
        return found


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 10) -> None:
    """Waits for something to become true; fails the test when it doesn't in time."""
    end = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > end:
            pytest.fail("it didn't come true in time")
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running_bench(monkeypatch: pytest.MonkeyPatch, **simulator: Any) -> AsyncIterator[Bench]:
    """A bench until the block ends, with lease and sweep times fit for a test."""
    async with running_simulator(**simulator) as sim:
        monkeypatch.setattr(settings.CONFIG, "simulator_url", sim.rest_url)
        monkeypatch.setattr(settings.CONFIG, "sweep_seconds", 0.1)
        monkeypatch.setattr(settings.CONFIG, "lease_seconds", 3.0)
        monkeypatch.setattr(settings.CONFIG, "send_window_seconds", 1.0)
        monkeypatch.setattr(settings.CONFIG, "clock_skew_seconds", 0.2)
        bench = Bench(sim)
        await bench.start()
        try:
            yield bench
        finally:
            await bench.stop()
            await bench._redis.aclose()
