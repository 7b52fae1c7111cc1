"""An engine in a process of its own that fills a part of a paper order and dies; and another one that goes on."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from multiprocessing.connection import Connection as Pipe
from typing import Any

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import database, paper
from connections.events import MarketBatch, PublicTrade, encode, feed_stream
from connections.gateways import OrderType
from connections.models import Connection
from desproject.lib import bus
from desproject.lib.money import plain
from tests.connections.simulator.server import Keys
from tests.trading.engine.dying_engine import Prices, arm, is_settled, quotes, rests, until
from tests.trading.engine.harness import FEED, SYMBOL, _bind, _order
from trading.engine.engine import Engine
from trading.models import Balance, Order, Trade

QUANTITY, PART = Decimal("0.05"), Decimal("0.02")
_NAME = "alice@example.org"


async def fill_a_part(pipe: Pipe, keys: Keys, prices: Prices, point: str) -> None:
    """Dies at the point."""
    async with _running(prices) as engine:
        user = await database.run(User.objects.create_user, _NAME, "correct-horse-battery")
        account = await database.run(_account, user, keys)
        await until(partial(_has_money, user))
        wanted = {"type": OrderType.LIMIT, "price": _price(prices), "quantity": QUANTITY}
        await database.run(_order, user, account, wanted)
        await until(partial(rests, user))
        while any(tenant.is_busy for tenant in engine.tenants.values()):  # it is past the points of that booking
            await asyncio.sleep(0.01)
        arm(point, "kill")
        await _trades(prices, PART)


async def fill_the_rest(pipe: Pipe, prices: Prices) -> None:
    """Says how the order ended, its trades and the paper account's balances."""
    user = await database.run(User.objects.get, email=_NAME)
    async with _running(prices):
        trades = asyncio.create_task(_trades(prices, Decimal(1)))
        await until(partial(is_settled, user))
        trades.cancel()
        pipe.send(await database.run(_summary, user, _price(prices)))


@asynccontextmanager
async def _running(prices: Prices) -> AsyncIterator[Engine]:
    engine = Engine()
    running = asyncio.create_task(engine.run())
    telling = asyncio.create_task(quotes({"now": prices}))
    yield engine
    telling.cancel()
    engine.desk.keeper.draining.set()
    await running


def _price(prices: Prices) -> Decimal:
    return Decimal(prices[0]) - 100


async def _trades(prices: Prices, quantity: Decimal) -> None:
    """Trades below the order's price, again and again."""
    client, number = bus.connect(), 1_000_000
    while True:
        number += 1
        now = time.time_ns()
        trade = PublicTrade(SYMBOL, now, number, _price(prices) - 1, quantity, now // 1_000_000)
        await bus.append(client, feed_stream(FEED), encode(MarketBatch(os.getpid(), number, (trade,))), keep=1000)
        await asyncio.sleep(0.1)


def _account(user: User, keys: Keys) -> Connection:
    real = _bind(user, keys)
    with tenant_scope(user.pk):
        return paper.open_account(user=user, connection=real, balances={"USDT": Decimal(100_000)})


def _has_money(user: User) -> bool:
    with tenant_scope(user.pk):
        return bool(Balance.objects.filter(connection__mode="paper").exists())


def _summary(user: User, price: Decimal) -> dict[str, Any]:
    with tenant_scope(user.pk):
        order = Order.objects.get()
        balances = Balance.objects.filter(connection__mode="paper")
        return {
            "status": str(order.status),
            "filled": plain(order.filled_quantity),
            "trades": [plain(row.quantity) for row in Trade.objects.order_by("executed_at")],
            "spent": plain(100_000 - balances.get(asset="USDT").total),
            "worth": plain(QUANTITY * price),
        }
