"""An engine in a process of its own, on its own database: places one order and dies at a point, or recovers.

    python -m tests.trading.engine.dying_engine place <failpoint>
    python -m tests.trading.engine.dying_engine recover

``recover`` prints how the order ended and every difference from the simulator's ledger, as JSON.
"""

import asyncio
import json
import os
import sys
import time
from decimal import Decimal
from typing import Any

import aiohttp
import django

django.setup()

from accounts.models import User  # noqa: E402  # models can be imported only now
from accounts.tenancy import everyone, tenant_scope  # noqa: E402
from connections import database  # noqa: E402
from connections.events import MarketBatch, Quote, encode, feed_stream  # noqa: E402
from connections.gateways import OrderType  # noqa: E402
from connections.models import Connection  # noqa: E402
from connections.simulator.control import TOKEN_HEADER  # noqa: E402
from desproject.lib import bus  # noqa: E402
from desproject.mismatches import compare  # noqa: E402
from tests.connections.simulator.server import Keys  # noqa: E402
from tests.trading.engine.harness import FEED, SYMBOL, _bind, _order  # noqa: E402
from trading.engine import failpoints  # noqa: E402
from trading.engine.engine import Engine  # noqa: E402
from trading.models import Balance, Order, Reservation  # noqa: E402
from trading.order_states import TERMINAL, OrderStatus  # noqa: E402
from trading.services import cancel_order  # noqa: E402

KEYS = Keys("alice-api-key-0000", "alice-secret")
_SECONDS = 20.0


async def _quotes() -> None:
    """Prices for the engine, as a stream process would tell them."""
    client, sequence, size = bus.connect(), 0, Decimal(1)
    bid, ask = Decimal(os.environ["TEST_BID"]), Decimal(os.environ["TEST_ASK"])
    while True:
        sequence += 1
        batch = MarketBatch(os.getpid(), sequence, (Quote(SYMBOL, time.time_ns(), bid, size, ask, size),))
        await bus.append(client, feed_stream(FEED), encode(batch), keep=1000)
        await asyncio.sleep(0.1)


async def _until(condition: Any) -> None:
    end = time.monotonic() + _SECONDS
    while not await database.run(condition):
        if time.monotonic() > end:
            sys.exit("it didn't come true in time")
        await asyncio.sleep(0.05)


def _is_known() -> bool:
    with everyone():
        return bool(Balance.objects.exists())


def _is_settled() -> bool:
    with everyone():
        is_open = Order.objects.exclude(status__in=TERMINAL).exists()
        return not is_open and not Reservation.objects.filter(released_at__isnull=True).exists()


async def _place(point: str) -> None:
    user = await database.run(User.objects.create_user, "alice@example.org", "correct-horse-battery")
    connection = await database.run(_bind, user, KEYS)
    await _until(_is_known)
    resting = await _resting(user, connection) if point.endswith("cancel") else None
    os.environ["DES_FAILPOINT"] = f"{point}:kill"
    failpoints._ARMED = failpoints._armed()
    if resting is None:
        await database.run(_order, user, connection, {})
    else:
        await database.run(_cancel, resting)
    await asyncio.sleep(_SECONDS)


async def _resting(user: User, connection: Connection) -> Order:
    price = Decimal(os.environ["TEST_BID"]) - 500
    order = await database.run(_order, user, connection, {"type": OrderType.LIMIT, "price": price})
    await _until(_rests)
    return order


def _rests() -> bool:
    with everyone():
        return bool(Order.objects.filter(status=OrderStatus.SUBMITTED).exists())


def _cancel(order: Order) -> None:
    with tenant_scope(order.user_id):
        cancel_order(user=order.user, order=order)


async def _recover() -> None:
    await _until(_is_settled)
    url, headers = os.environ["TEST_CONTROL_URL"], {TOKEN_HEADER: os.environ["TEST_CONTROL_TOKEN"]}
    async with aiohttp.ClientSession() as session, session.get(f"{url}/ledger", headers=headers) as answer:
        ledger = await answer.json()
    print(json.dumps(await database.run(_summary, ledger)))  # noqa: T201  # the test reads it


def _summary(ledger: Any) -> dict[str, Any]:
    with everyone():
        connection, order = Connection.objects.get(), Order.objects.get()
    with tenant_scope(order.user_id):
        attempts = [row.client_order_id for row in order.attempts.all()]
    differences = compare(ledger, {connection.pk: KEYS.api_key}, [order.user_id])
    account = ledger["accounts"][KEYS.api_key]
    return {
        "status": OrderStatus(order.status),
        "attempts": len(attempts),
        "received": account["received"],
        "orders": len(account["orders"]),
        "differences": [str(difference) for difference in differences],
    }


async def main(wanted: str, point: str = "") -> None:
    engine = Engine()
    running = asyncio.create_task(engine.run())
    quotes = asyncio.create_task(_quotes())
    await (_place(point) if wanted == "place" else _recover())
    quotes.cancel()
    engine.desk.keeper.draining.set()
    await running


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
