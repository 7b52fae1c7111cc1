"""An engine in a process of its own that fires an arbitrage and dies at a point; and another one that makes both sides
even again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from multiprocessing.connection import Connection as Pipe
from typing import Any

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from connections import database
from connections.custody import seal_credentials
from connections.gateways import Credentials
from connections.models import Connection
from connections.streaming.host import StreamHost
from desproject.mismatches import compare
from tests.trading.engine.dying_engine import arm, ledger, until
from tests.trading.engine.forked import heard
from trading.engine.engine import Engine
from trading.models import ArbitrageFire, Balance, FireStatus, Order
from trading.order_states import TERMINAL
from trading.serializers import FireSerializer
from trading.services import create_instance, start_instance

VENUES = ("upbit", "bithumb")


async def fire(pipe: Pipe, point: str) -> None:
    """Fires once, and dies at the point."""
    async with _running():
        user = await database.run(User.objects.create_user, "alice@example.org", "correct-horse-battery")
        first, second = await database.run(_bind, user)
        await until(_are_known)
        arm(point, "kill")
        await database.run(_start, user, first, second)
        await heard(pipe)


async def recover(pipe: Pipe, control: tuple[str, str]) -> None:
    """Says the fire and every difference from the simulator's ledger, once both sides are even."""
    async with _running():
        await until(_is_even)
        for _ in range(50):  # balances are told by the streams
            found = await database.run(_summary, await ledger(control))
            if not found["differences"]:
                break
            await asyncio.sleep(0.2)
        pipe.send(found)


@asynccontextmanager
async def _running() -> AsyncIterator[None]:
    engine, streams = Engine(), StreamHost(look_seconds=0.1)
    running = [asyncio.create_task(engine.run()), asyncio.create_task(streams.run())]
    yield
    engine.desk.keeper.draining.set()
    streams.drain()
    await asyncio.gather(*running)


def key_of(venue: str) -> Credentials:
    return Credentials(f"alice-{venue}-key-0000", f"alice-{venue}-secret")


def _bind(user: User) -> list[Connection]:
    found = []
    for venue in VENUES:
        row = Connection(user=user, name=venue, exchange=venue, mode="simulator")
        seal_credentials(key_of(venue), user_id=user.pk, connection_id=row.pk, exchange=venue).store_in(row)
        with tenant_scope(user.pk):
            row.save(force_insert=True)
        found.append(row)
    return found


def _start(user: User, first: Connection, second: Connection) -> None:
    with tenant_scope(user.pk):
        instance = create_instance(
            user=user, connection=first, connection_b=second, name="pair", strategy="arbitrage", symbol="BTC/KRW",
            timeframe="1m", sizing={"type": "base_amount", "amount": "0.01"},
            params={"fee_rate": 0.0005, "fee_rate_b": 0.0005, "pause_seconds": 3600},
        )  # fmt: skip
        start_instance(user=user, instance=instance)


def _are_known() -> bool:
    with everyone():
        return bool(Balance.objects.filter(asset="KRW").count() == 2)


def _is_even() -> bool:
    with everyone():
        is_open = Order.objects.exclude(status__in=TERMINAL).exists()
        return not is_open and not ArbitrageFire.objects.exclude(status=FireStatus.SETTLED).exists()


def _summary(ledger: Any) -> dict[str, Any]:
    with everyone():
        keys = {row.pk: key_of(row.exchange).api_key for row in Connection.objects.all()}
        fires = ArbitrageFire.objects.prefetch_related("legs__order")
        told = [dict(row) for row in FireSerializer(fires, many=True).data]
        owners = list(User.objects.values_list("pk", flat=True))
    differences = compare(ledger, keys, owners)
    coins = sum(
        (Decimal(amount) for key in keys.values() for amount in ledger["accounts"][key]["balances"]["BTC"].values()),
        Decimal(0),
    )
    return {"fires": told, "coins": str(coins), "differences": [str(each) for each in differences]}
