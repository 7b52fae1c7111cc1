"""An engine in a process of its own, on its own database: fills a part of a paper order and dies, or goes on.

    python -m tests.trading.engine.dying_paper place <failpoint>
    python -m tests.trading.engine.dying_paper recover

``recover`` prints how the order ended, its trades and the paper account's balances, as JSON.
"""

import asyncio
import json
import os
import sys
import time
from decimal import Decimal
from typing import Any

import tests.trading.engine.dying_engine as dying  # it sets Django up
from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from connections import database, paper
from connections.events import MarketBatch, PublicTrade, encode, feed_stream
from connections.gateways import OrderType
from connections.models import Connection
from desproject.lib import bus
from desproject.lib.money import plain
from tests.trading.engine.harness import FEED, SYMBOL, _bind, _order
from trading.engine import failpoints
from trading.engine.engine import Engine
from trading.models import Balance, Order, Trade

QUANTITY, PART = Decimal("0.05"), Decimal("0.02")


def _price() -> Decimal:
    return Decimal(os.environ["TEST_BID"]) - 100


async def _trades(quantity: Decimal) -> None:
    """Trades below the order's price, again and again."""
    client, number = bus.connect(), 1_000_000
    while True:
        number += 1
        now = time.time_ns()
        trade = PublicTrade(SYMBOL, now, number, _price() - 1, quantity, now // 1_000_000)
        await bus.append(client, feed_stream(FEED), encode(MarketBatch(os.getpid(), number, (trade,))), keep=1000)
        await asyncio.sleep(0.1)


def _account(user: User) -> Connection:
    real = _bind(user, dying.KEYS)
    with tenant_scope(user.pk):
        return paper.open_account(user=user, connection=real, balances={"USDT": Decimal(100_000)})


def _has_money() -> bool:
    with everyone():
        return bool(Balance.objects.filter(connection__mode="paper").exists())


async def _place(point: str) -> None:
    user = await database.run(User.objects.create_user, "alice@example.org", "correct-horse-battery")
    account = await database.run(_account, user)
    await dying._until(_has_money)
    wanted = {"type": OrderType.LIMIT, "price": _price(), "quantity": QUANTITY}
    await database.run(_order, user, account, wanted)
    await dying._until(dying._rests)
    os.environ["DES_FAILPOINT"] = f"{point}:kill"
    failpoints._ARMED = failpoints._armed()
    await _trades(PART)


async def _recover() -> None:
    trades = asyncio.create_task(_trades(Decimal(1)))
    await dying._until(dying._is_settled)
    trades.cancel()
    print(json.dumps(await database.run(_summary)))  # noqa: T201  # the test reads it


def _summary() -> dict[str, Any]:
    with everyone():
        order = Order.objects.get()
        balances = Balance.objects.filter(connection__mode="paper")
        return {
            "status": str(order.status),
            "filled": plain(order.filled_quantity),
            "trades": [plain(row.quantity) for row in Trade.objects.order_by("executed_at")],
            "spent": plain(100_000 - balances.get(asset="USDT").total),
            "worth": plain(QUANTITY * _price()),
        }


async def main(wanted: str, point: str = "") -> None:
    engine = Engine()
    running = asyncio.create_task(engine.run())
    quotes = asyncio.create_task(dying._quotes())
    await (_place(point) if wanted == "place" else _recover())
    quotes.cancel()
    engine.desk.keeper.draining.set()
    await running


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
