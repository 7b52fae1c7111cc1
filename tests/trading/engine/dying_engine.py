"""An engine in a process of its own that places one order, and dies or freezes at a point; and another one that finds
out what happened."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection as Pipe
from typing import Any

import aiohttp

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections import database, gateways
from connections.events import MarketBatch, Quote, encode, feed_stream
from connections.gateways import OrderType
from connections.models import Connection
from connections.simulator.control import TOKEN_HEADER
from desproject.lib import bus
from desproject.mismatches import compare
from tests.connections.simulator.server import Keys
from tests.trading.engine.forked import heard
from tests.trading.engine.harness import FEED, SYMBOL, _bind, _order
from trading.engine import committer, failpoints, sending
from trading.engine.desk import Desk
from trading.engine.engine import Engine
from trading.engine.state import Account, LiveOrder
from trading.engine.tenant import Tenant
from trading.models import Balance, Order, OrderEvent, Reservation
from trading.order_states import TERMINAL, OrderStatus
from trading.services import cancel_order

Prices = tuple[str, str]


async def serve(pipe: Pipe, without: str = "") -> None:
    """An engine that does what it is told, one thing after the other, until the end or its death."""
    if without:
        _TAKEN_OUT[without]()
    prices: dict[str, Prices] = {}
    engine = Engine()
    running = asyncio.create_task(engine.run())
    telling = asyncio.create_task(quotes(prices))
    while (asked := await heard(pipe)) != "end":
        prices["now"] = asked["prices"]
        keys = Keys(asked["key"], asked["secret"])
        if "point" in asked:
            await _place(keys, asked)
        else:
            pipe.send(await _settle(keys, asked))
    telling.cancel()
    engine.desk.keeper.draining.set()
    await running


async def _place(keys: Keys, asked: Mapping[str, Any]) -> None:
    """Places an order of a new user, at the market or so that it rests, and the engine that works on it is struck."""
    user = await database.run(User.objects.create_user, f"{keys.api_key}@example.org", "correct-horse-battery")
    connection = await database.run(_bind, user, keys)
    await until(partial(_is_known, user))
    wanted = {"type": OrderType.LIMIT, "price": Decimal(asked["prices"][0]) - 500} if asked["rests"] else {}
    if asked["point"].endswith("cancel"):
        await database.run(_order, user, connection, wanted)
        await until(partial(rests, user))
        arm(asked["point"], asked["action"])
        await database.run(_cancel, user)
    else:
        arm(asked["point"], asked["action"])
        await database.run(_order, user, connection, wanted)


async def _settle(keys: Keys, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Once nothing is open: how it ended, and what differs from the ledger. Where ``cancels`` is said its owner cancels
    it first."""
    user = await database.run(User.objects.get, email=f"{keys.api_key}@example.org")
    if asked.get("cancels"):
        await until(partial(rests, user))
        await database.run(_cancel, user)
    with suppress(TimeoutError):  # then it isn't, and is told so
        await until(partial(is_settled, user), asked["patience"])
    return await database.run(_summary, await ledger(asked["control"]), keys, user)


def arm(point: str, action: str) -> None:
    os.environ["DES_FAILPOINT"] = f"{point}:{action}"
    failpoints._ARMED = failpoints._armed()


def _endless_deadlines() -> None:
    def endless(deadline: gateways.SendDeadline, monotonic: float) -> None:
        object.__setattr__(deadline, "monotonic", time.monotonic() + 5)

    gateways.SendDeadline.__init__ = endless  # type: ignore[method-assign,assignment]


def _no_fence() -> None:
    committer._fenced = lambda statements, sets: dict


def _blind_resending() -> None:
    def resend(desk: Desk, tenant: Tenant, account: Account, live: LiveOrder) -> None:
        result = ("unknown", 0.0, "")
        if live.order.pk not in desk.in_flight:
            tenant.post(partial(sending._next_attempt, desk, tenant, live.order.pk, result), key=live.order.pk)

    sending.ask_for = resend


# Guards of the order path, without which a test must fail.
_TAKEN_OUT: Mapping[str, Callable[[], None]] = {
    "deadline of a send": _endless_deadlines, "fence": _no_fence, "asking before sending again": _blind_resending,
}  # fmt: skip


async def quotes(prices: Mapping[str, Prices]) -> None:
    """Prices for the engine, as a stream process would tell them."""
    client, sequence, size = bus.connect(), 0, Decimal(1)
    while True:
        await asyncio.sleep(0.1)
        if not prices:
            continue
        sequence += 1
        bid, ask = map(Decimal, prices["now"])
        batch = MarketBatch(os.getpid(), sequence, (Quote(SYMBOL, time.time_ns(), bid, size, ask, size),))
        await bus.append(client, feed_stream(FEED), encode(batch), keep=1000)


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Returns when it holds. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not await database.run(condition):
        if time.monotonic() > end:
            raise TimeoutError("it didn't come true in time")
        await asyncio.sleep(0.05)


def _is_known(user: User) -> bool:
    with tenant_scope(user.pk):
        return bool(Balance.objects.exists())


def is_settled(user: User) -> bool:
    with tenant_scope(user.pk):
        is_open = Order.objects.exclude(status__in=TERMINAL).exists()
        return not is_open and not Reservation.objects.filter(released_at__isnull=True).exists()


def rests(user: User) -> bool:
    with tenant_scope(user.pk):
        return bool(Order.objects.filter(status=OrderStatus.SUBMITTED).exists())


def _cancel(user: User) -> None:
    with tenant_scope(user.pk):
        cancel_order(user=user, order=Order.objects.get())


async def ledger(control: tuple[str, str]) -> Any:
    """The simulator's; ``control`` is the address and the token."""
    url, token = control
    headers = {TOKEN_HEADER: token}
    async with aiohttp.ClientSession() as session, session.get(f"{url}/ledger", headers=headers) as answer:
        return await answer.json()


def _summary(told: Any, keys: Keys, user: User) -> dict[str, Any]:
    with tenant_scope(user.pk):
        connection, order = Connection.objects.get(), Order.objects.get()
        moves = list(OrderEvent.objects.order_by("pk").values_list("from_status", "to_status"))
    differences = compare(told, {connection.pk: keys.api_key}, [user.pk])
    account = told["accounts"][keys.api_key]
    return {
        "status": OrderStatus(order.status).value,
        "settled": is_settled(user),
        "leaps": [(before, after) for before, after in pairwise(moves) if before[1] != after[0]],
        "received": account["received"],
        "orders": len(account["orders"]),
        "differences": [str(difference) for difference in differences],
    }
