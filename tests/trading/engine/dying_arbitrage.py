"""An engine in a process of its own that fires an arbitrage and dies at a point, or makes both sides even again.

    python -m tests.trading.engine.dying_arbitrage fire <failpoint>
    python -m tests.trading.engine.dying_arbitrage recover

``recover`` prints the fire and every difference from the simulator's ledger, as JSON.
"""

import asyncio
import json
import os
import sys
from decimal import Decimal
from typing import Any

import aiohttp
import django

django.setup()

from accounts.models import User  # noqa: E402  # models can be imported only now
from accounts.tenancy import everyone, tenant_scope  # noqa: E402
from connections import database  # noqa: E402
from connections.custody import seal_credentials  # noqa: E402
from connections.gateways import Credentials  # noqa: E402
from connections.models import Connection  # noqa: E402
from connections.simulator.control import TOKEN_HEADER  # noqa: E402
from connections.streaming.host import StreamHost  # noqa: E402
from desproject.mismatches import compare  # noqa: E402
from tests.trading.engine.dying_engine import _until  # noqa: E402
from trading.engine import failpoints  # noqa: E402
from trading.engine.engine import Engine  # noqa: E402
from trading.models import ArbitrageFire, Balance, FireStatus, Order  # noqa: E402
from trading.order_states import TERMINAL  # noqa: E402
from trading.serializers import FireSerializer  # noqa: E402
from trading.services import create_instance, start_instance  # noqa: E402

VENUES = ("upbit", "bithumb")
_SECONDS = 20.0


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


async def _fire(point: str) -> None:
    user = await database.run(User.objects.create_user, "alice@example.org", "correct-horse-battery")
    first, second = await database.run(_bind, user)
    await _until(_are_known)
    os.environ["DES_FAILPOINT"] = f"{point}:kill"
    failpoints._ARMED = failpoints._armed()
    await database.run(_start, user, first, second)
    await asyncio.sleep(_SECONDS)


async def _recover() -> None:
    await _until(_is_even)
    for _ in range(50):  # balances are told by the streams
        found = await database.run(_summary, await _ledger())
        if not found["differences"]:
            break
        await asyncio.sleep(0.2)
    print(json.dumps(found))  # noqa: T201  # the test reads it


async def _ledger() -> Any:
    url, headers = os.environ["TEST_CONTROL_URL"], {TOKEN_HEADER: os.environ["TEST_CONTROL_TOKEN"]}
    async with aiohttp.ClientSession() as session, session.get(f"{url}/ledger", headers=headers) as answer:
        return await answer.json()


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


async def main(wanted: str, point: str = "") -> None:
    engine, streams = Engine(), StreamHost(look_seconds=0.1)
    running = [asyncio.create_task(engine.run()), asyncio.create_task(streams.run())]
    await (_fire(point) if wanted == "fire" else _recover())
    engine.desk.keeper.draining.set()
    streams.drain()
    await asyncio.gather(*running)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
