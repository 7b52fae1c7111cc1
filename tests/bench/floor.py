"""The floor under an order: what any program must do that commits before it sends, and nothing else.

    python -m tests.bench.floor <order id> <API key> <API secret>

One loop: read the Redis stream → write the rows in one transaction, in one database thread, with everything else that
waits (group commit) → signed POST over a kept connection → write what the answer says, by the same thread. The rows
are copies of those that DES wrote for the order named, table by table, with the driver's own ``executemany``: no
Django, no models, no risk, no state, no leases, no kill switch, no news for browsers.
"""

import asyncio
import hashlib
import hmac
import signal
import sqlite3
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import aiohttp
import django
from psycopg.types.string import TextLoader
from yarl import URL

django.setup()

from django.conf import settings  # noqa: E402  # settings can be read only now

from connections.events import CandleUpdate, decode_market  # noqa: E402
from desproject.lib import bus  # noqa: E402
from tests import behind_the_wall  # noqa: E402
from tests.bench import probes  # noqa: E402
from tests.bench.children import say  # noqa: E402

STREAM = "bench:floor"
_QUANTITY = "0.00050"

# table, the column that names the order, how many of its rows belong to the placing (the rest is written at the end)
_ROWS = (
    ("signals", "id", 1),
    ("orders", "id", 1),
    ("order_attempts", "order_id", 1),
    ("reservations", "order_id", 1),
    ("trades", "order_id", 0),
    ("order_events", "order_id", 1),
    ("audit_logs", "resource_id", 1),
)
_NUMBERED = {"order_events", "audit_logs"}
# What the answer changes: table, columns, key. Each is written with the value that it has: the work is the same.
_UPDATES = (
    ("orders", "status filled_quantity reported_quantity average_price fee exchange_order_id reject_code reject_reason "
               "acknowledged_at client_order_id updated_at", "id", "order"),
    ("reservations", "remaining released_at", "order_id", "order"),
    ("order_attempts", "outcome latency_ms error", "order_id", "order"),
    ("positions", "quantity average_price realized_pnl other_fees updated_at", "connection_id", "connection"),
    ("balances", "total locked as_of updated_at", "connection_id", "connection"),
    ("risk_metrics", "trade_count realized_pnl loss peak_pnl max_drawdown", "connection_id", "connection"),
    ("strategy_instances", "held_quantity", "id", "instance"),
)  # fmt: skip

Statement = tuple[str, tuple[Any, ...]]


class Database:
    """The bare driver on DES's database; one thread uses it."""

    def __init__(self) -> None:
        chosen = settings.DATABASES["default"]
        self._is_sqlite = chosen["ENGINE"].endswith("sqlite3")
        self.mark = "?" if self._is_sqlite else "%s"
        self._connection: Any
        if self._is_sqlite:
            self._connection = sqlite3.connect(
                chosen["NAME"], isolation_level=None, check_same_thread=False, timeout=20
            )
            self._connection.executescript(chosen["OPTIONS"]["init_command"])
        else:
            self._connection = behind_the_wall.connect(
                host=chosen["HOST"], port=chosen["PORT"] or 5432, user=chosen["USER"], dbname=chosen["NAME"],
                autocommit=True,
            )  # fmt: skip
            for kind in ("json", "jsonb"):
                self._connection.adapters.register_loader(kind, TextLoader)

    def key(self, text: str) -> Any:
        """A UUID as its column holds it."""
        return UUID(text).hex if self._is_sqlite else UUID(text)

    def new_key(self) -> Any:
        return uuid4().hex if self._is_sqlite else uuid4()

    def select(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        cursor = self._connection.execute(sql, params)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def write(self, statements: Sequence[Statement]) -> None:
        """One transaction; the same statement for several orders is one call of the driver."""
        together: dict[str, list[tuple[Any, ...]]] = {}
        for sql, params in statements:
            together.setdefault(sql, []).append(params)
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE" if self._is_sqlite else "BEGIN")
        for sql, rows in together.items():
            cursor.executemany(sql, rows)
        cursor.execute("COMMIT")


@dataclass(frozen=True, slots=True)
class Written:
    """One order to be: its client id, what is written before it is sent, and what once it was answered."""

    client_id: str
    placing: list[Statement]
    booking: list[Statement]


class Copies:
    """An order's rows, to be written again under new ids."""

    def __init__(self, database: Database, order_id: str) -> None:
        self._database = database
        key, mark = database.key(order_id), database.mark
        (self._order,) = database.select(f"SELECT * FROM orders WHERE id = {mark}", key)  # noqa: S608  # ours
        names = {"signals": self._order["signal_id"], "audit_logs": str(UUID(order_id))}
        self._rows = []
        for table, column, placed in _ROWS:
            sql = f"SELECT * FROM {table} WHERE {column} = {mark} ORDER BY 1"  # noqa: S608
            for number, row in enumerate(database.select(sql, names.get(table, key))):
                self._rows.append((_insert(table, row, mark), row, table, number < placed))
        self._updates = [(_update(table, columns, by, mark), what) for table, columns, by, what in _UPDATES]
        (self._signal,) = [row for _, row, table, _ in self._rows if table == "signals"]
        self._number = 0

    def another(self) -> Written:
        new, self._number = self._database.new_key, self._number + 1
        client_id, order_id = f"floor{uuid4().hex[:28]}", new()
        fresh = {
            self._order["id"]: order_id,
            str(UUID(str(self._order["id"]))): str(order_id),
            self._order["signal_id"]: new(),
            self._order["client_order_id"]: client_id,
            self._signal["event_key"]: f"floor:{self._number}",
        }
        placing: list[Statement] = []
        booking: list[Statement] = []
        for sql, row, table, is_placed in self._rows:
            own = {"id": new(), "exchange_trade_id": f"floor{self._number}"} if table == "trades" else {}
            params = tuple(
                own.get(name, fresh.get(value, value) if isinstance(value, str | UUID) else value)
                for name, value in row.items()
                if not (table in _NUMBERED and name == "id")
            )
            (placing if is_placed else booking).append((sql, params))
        named = {
            "order": order_id,
            "connection": self._order["connection_id"],
            "instance": self._order["instance_id"],
        }
        booking += [(sql, (named[what],)) for sql, what in self._updates]
        return Written(client_id, placing, booking)


def _insert(table: str, row: dict[str, Any], mark: str) -> str:
    names = [name for name in row if not (table in _NUMBERED and name == "id")]
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"INSERT INTO {table} ({quoted}) VALUES ({', '.join([mark] * len(names))})"  # noqa: S608


def _update(table: str, columns: str, by: str, mark: str) -> str:
    changes = ", ".join(f"{name} = {name}" for name in columns.split())
    return f"UPDATE {table} SET {changes} WHERE {by} = {mark}"  # noqa: S608


class Floor:
    """The loop."""

    def __init__(self, order_id: str, api_key: str, api_secret: str) -> None:
        self._database = Database()
        self._copies = Copies(self._database, order_id)
        self._thread = ThreadPoolExecutor(1)
        self._waiting: list[tuple[list[Statement], asyncio.Future[None]]] = []
        self._has_some = asyncio.Event()
        self._headers = {"X-MBX-APIKEY": api_key}
        self._secret = api_secret.encode()
        self._redis = bus.connect()
        # Of each order: its bar, when its rows were durable, its client id.
        self.committed: list[tuple[str, int, str]] = []
        self.answered = 0

    async def run(self) -> None:
        async with aiohttp.ClientSession(headers=self._headers) as self._session, asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self._read())
            self._tasks.create_task(self._commit_groups())

    async def _read(self) -> None:
        position = "0"
        while True:
            answer = await self._redis.xread({STREAM: position}, block=500, count=500)
            for _, entries in answer or ():
                for entry_id, fields in entries:
                    position = entry_id
                    for event in decode_market(fields[bus.FIELD]).events:
                        if isinstance(event, CandleUpdate):
                            for _ in range(int(event.volume)):
                                self._tasks.create_task(self._order(event))

    async def _order(self, bar: CandleUpdate) -> None:
        order = self._copies.another()
        await self._commit(order.placing)
        self.committed.append((str(bar.opened_ms), time.time_ns(), order.client_id))
        await self._post("SELL" if bar.opened_ms // 1000 % 2 else "BUY", order.client_id)
        await self._commit(order.booking)
        self.answered += 1

    async def _commit(self, statements: list[Statement]) -> None:
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((statements, done))
        self._has_some.set()
        await done

    async def _commit_groups(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._has_some.wait()
            self._has_some.clear()
            group, self._waiting = self._waiting, []
            statements = [statement for each, _ in group for statement in each]
            await loop.run_in_executor(self._thread, self._database.write, statements)
            for _, done in group:
                done.set_result(None)

    async def _post(self, side: str, client_id: str) -> None:
        query = urlencode({
            "symbol": "BTCUSDT", "side": side, "type": "MARKET", "quantity": _QUANTITY, "newClientOrderId": client_id,
            "newOrderRespType": "FULL", "timestamp": time.time_ns() // 1_000_000, "recvWindow": 3000,
        })  # fmt: skip
        signature = hmac.new(self._secret, query.encode(), hashlib.sha256).hexdigest()
        url = URL(f"{settings.CONFIG.simulator_url}/api/v3/order?{query}&signature={signature}", encoded=True)
        async with self._session.post(url) as answer:
            answer.raise_for_status()
            await answer.read()


async def main(order_id: str, api_key: str, api_secret: str) -> None:
    written = probes.watch_orders_written()
    floor = Floor(order_id, api_key, api_secret)
    running = asyncio.create_task(floor.run())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, running.cancel)
    loop.add_signal_handler(signal.SIGUSR1, lambda: say(floor.answered))
    say({"ready": True})
    await asyncio.wait([running])
    if not running.cancelled():
        running.result()
    say([(bar, done, written.get(client_id)) for bar, done, client_id in floor.committed])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
