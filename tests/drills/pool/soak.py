"""The soak itself, in a process whose environment names a migrated database and a simulator: see __main__.py.

The pool is smaller than the number of connections, so the least recently used are evicted all the time; at each rest
everybody pauses for longer than a gateway may be idle, and what is still open then has leaked.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import django

django.setup()

import aiohttp  # noqa: E402  # after the set-up
from django.conf import settings  # noqa: E402

from accounts.models import User  # noqa: E402
from accounts.tenancy import tenant_scope  # noqa: E402
from connections import database, pool  # noqa: E402
from connections.breaker import Breaker, Note, guarded  # noqa: E402
from connections.custody import seal_credentials  # noqa: E402
from connections.gateways import Credentials, Gateway, KeyRefused  # noqa: E402
from connections.models import Connection  # noqa: E402
from connections.simulator.control import TOKEN_HEADER  # noqa: E402
from desproject.lib.errors import NotFound  # noqa: E402

_TASKS = 8
_EACH_USER_HAS = 10
_IDLE_SECONDS = 2.0
_SHARE_POOLED = 0.6
_USE_EVERY = 0.05
_KILL_EVERY = 0.2
_REST_EVERY = 60.0
_REST_LIMIT = 60.0
# A gateway whose row has changed may go on so long: the next look at it, and what a busy machine takes for that.
_OUTLIVES_BY = pool.TRUST_SECONDS + pool.WATCH_SECONDS + 10
# What may be more at the last rest than at the first: sockets that are kept for the next request, tasks of other parts,
# memory that Python hasn't given back.
_MORE_DESCRIPTORS, _MORE_TASKS, _MORE_MEMORY = 12, 2, 1.10


@dataclass(frozen=True, slots=True)
class Rest:
    """How things stood when everybody had rested for longer than a gateway may be idle."""

    second: float
    gateways: int
    descriptors: int
    tasks: int
    memory_mib: float


@dataclass(slots=True)
class Result:
    """What came of a soak. ``of_another_account``: answers with somebody else's money; ``outlived``: gateways found
    open long after their connection was deleted."""

    database: str
    seconds: float
    connections: int
    pool_size: int
    uses: int = 0
    created: int = 0
    closed: int = 0
    keys_replaced: int = 0
    deleted: int = 0
    most_pooled: int = 0
    most_open_of_one: int = 0
    of_another_account: int = 0
    outlived: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    rests: list[Rest] = field(default_factory=list)

    @property
    def is_flat(self) -> bool:
        first, last = self.rests[0], self.rests[-1]
        return (
            not any(rest.gateways for rest in self.rests)
            and last.descriptors <= first.descriptors + _MORE_DESCRIPTORS
            and last.tasks <= first.tasks + _MORE_TASKS
            and last.memory_mib <= first.memory_mib * _MORE_MEMORY
        )

    @property
    def is_good(self) -> bool:
        """Also that it did what it is for: gateways were made anew, keys replaced and connections deleted."""
        happened = self.created > self.pool_size and self.keys_replaced > 0 and self.deleted > 0
        faults = self.of_another_account + self.outlived + sum(self.failures.values())
        return happened and not faults and self.most_open_of_one == 1 and self.closed == self.created and self.is_flat

    def line(self) -> str:
        # A Counter's copy by asdict counts its items.
        return json.dumps({"drill": "pool", **asdict(self), "failures": dict(self.failures), "good": self.is_good})


@dataclass(slots=True)
class Slot:
    """A connection, how much money its account has (no other has as much), and when its row changed last."""

    connection_id: UUID
    user_id: UUID
    money: int
    api_key: str
    changed_at: float = float("-inf")


class Exchange:
    """The simulator's control."""

    def __init__(self, session: aiohttp.ClientSession, control: str, token: str) -> None:
        self._session = session
        self._control = control
        self._headers = {TOKEN_HEADER: token}

    async def open_account(self, money: int) -> Credentials:
        credentials = Credentials(f"soak-{uuid4().hex}", uuid4().hex)
        body = {"api_key": credentials.api_key, "api_secret": credentials.api_secret, "balances": {"USDT": str(money)}}
        await self._post("/accounts", body)
        return credentials

    async def disable(self, api_key: str) -> None:
        await self._post("/keys", {"api_key": api_key, "enabled": False})

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        async with self._session.post(self._control + path, json=body, headers=self._headers) as answer:
            answer.raise_for_status()


class Soak:
    """One soak."""

    def __init__(self, result: Result, chance: random.Random, exchange: Exchange) -> None:
        self._result = result
        self._chance = chance
        self._exchange = exchange
        self._pool = pool.GatewayPool(max_size=result.pool_size, idle_seconds=_IDLE_SECONDS)
        self._open: Counter[str] = Counter()
        self._slots: list[Slot] = []
        self._deleted: dict[str, float] = {}
        self._working = asyncio.Event()
        self._busy = 0
        self._money = 0

    async def run(self) -> Result:
        pool.guarded = self._counted  # type: ignore[attr-defined,assignment]  # where the pool looks it up
        users = await database.run(_make_users, -(-self._result.connections // _EACH_USER_HAS))
        for number in range(self._result.connections):
            self._slots.append(await self._bind(users[number // _EACH_USER_HAS]))
        tasks = [asyncio.create_task(part()) for part in (*[self._use] * _TASKS, self._kill, self._watch)]
        began = time.monotonic()
        stretch = min(_REST_EVERY, self._result.seconds / 3)
        while time.monotonic() < began + self._result.seconds or len(self._result.rests) < 2:
            self._working.set()
            await asyncio.sleep(stretch)
            self._working.clear()
            self._result.rests.append(await self._rest(began))
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
        self._result.created = self._pool.created
        await self._pool.aclose()
        return self._result

    # those who use it

    async def _use(self) -> None:
        while True:
            await self._working.wait()
            self._busy += 1
            try:
                await self._use_one(self._chance.choice(self._slots))
            finally:
                self._busy -= 1
            await asyncio.sleep(self._chance.expovariate(1 / _USE_EVERY))

    async def _use_one(self, slot: Slot) -> None:
        """Sometimes by several at once, who all must get the same gateway."""
        callers = self._chance.choice((1, 1, 3))
        try:
            gateways = await asyncio.gather(
                *(self._pool.get(slot.connection_id, slot.user_id) for _ in range(callers))
            )
            account = await gateways[-1].account()
        except (NotFound, KeyRefused) as error:
            if time.monotonic() - slot.changed_at > _OUTLIVES_BY:
                self._result.failures[type(error).__name__] += 1
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, it is what the soak looks for
            self._result.failures[type(error).__name__] += 1
            return
        self._result.uses += 1
        self._result.most_pooled = max(self._result.most_pooled, len(self._pool))
        held = {row.asset: row.free + row.locked for row in account.balances}
        self._result.of_another_account += held.get("USDT") != Decimal(slot.money)

    # those who disturb

    async def _kill(self) -> None:
        while True:
            await self._working.wait()
            await asyncio.sleep(self._chance.expovariate(1 / _KILL_EVERY))
            number = self._chance.randrange(len(self._slots))
            await (self._replace_key if self._chance.random() < 0.5 else self._delete)(number)

    async def _replace_key(self, number: int) -> None:
        slot = self._slots[number]
        credentials = await self._exchange.open_account(slot.money)
        slot.changed_at = time.monotonic()
        await database.run(_change_key, slot, credentials)
        await self._exchange.disable(slot.api_key)
        slot.api_key = credentials.api_key
        slot.changed_at = time.monotonic()
        self._result.keys_replaced += 1

    async def _delete(self, number: int) -> None:
        """Half of the time whoever deletes says so to the pool, as an engine does."""
        slot = self._slots[number]
        slot.changed_at = time.monotonic()
        self._slots[number] = await self._bind(slot.user_id)
        await database.run(_mark_deleted, slot)
        if self._chance.random() < 0.5:
            await self._pool.close(slot.connection_id)
        slot.changed_at = self._deleted[str(slot.connection_id)] = time.monotonic()
        self._result.deleted += 1

    async def _bind(self, user_id: UUID) -> Slot:
        self._money += 1
        credentials = await self._exchange.open_account(self._money)
        slot = Slot(uuid4(), user_id, self._money, credentials.api_key)
        await database.run(_store, slot, credentials)
        return slot

    # those who look

    def _counted(self, gateway: Gateway, breaker: Breaker, note: Note) -> Gateway:
        """In the place of ``guarded``: counts what is open of each connection."""
        made, name = guarded(gateway, breaker, note), breaker._name
        self._open[name] += 1
        self._result.most_open_of_one = max(self._result.most_open_of_one, self._open[name])
        close = made.aclose

        async def counted_close() -> None:
            self._open[name] -= 1
            self._result.closed += 1
            await close()

        made.aclose = counted_close  # type: ignore[method-assign]
        return made

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(1)
            late = time.monotonic() - _OUTLIVES_BY
            for name in [name for name, at in self._deleted.items() if at < late]:
                self._result.outlived += self._open[name]
                del self._deleted[name]

    async def _rest(self, began: float) -> Rest:
        """Nobody uses anything until the pool is empty; not for ever, for then it has leaked."""
        limit = time.monotonic() + _REST_LIMIT
        while (self._busy or len(self._pool)) and time.monotonic() < limit:
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.2)
        gc.collect()
        rest = Rest(
            round(time.monotonic() - began, 1), len(self._pool), len(os.listdir("/proc/self/fd")),
            len(asyncio.all_tasks()), _memory_mib(),
        )  # fmt: skip
        sys.stderr.write(f"{rest}\n")
        return rest


def _memory_mib() -> float:
    with open("/proc/self/statm") as told:
        pages = int(told.read().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


# in database threads


def _make_users(count: int) -> list[UUID]:
    return [User.objects.create(email=f"soak-{number}@example.org").pk for number in range(count)]


def _store(slot: Slot, credentials: Credentials) -> None:
    row = Connection(
        id=slot.connection_id, user_id=slot.user_id, name=str(slot.connection_id), exchange="binance_spot",
        mode="simulator",
    )  # fmt: skip
    _seal(row, credentials)
    with tenant_scope(slot.user_id):
        row.save(force_insert=True)


def _change_key(slot: Slot, credentials: Credentials) -> None:
    with tenant_scope(slot.user_id):
        row = Connection.objects.get(pk=slot.connection_id)
        _seal(row, credentials)
        row.credential_version += 1
        row.save()


def _mark_deleted(slot: Slot) -> None:
    with tenant_scope(slot.user_id):
        Connection.objects.filter(pk=slot.connection_id).update(is_deleted=True)


def _seal(row: Connection, credentials: Credentials) -> None:
    sealed = seal_credentials(credentials, user_id=row.user_id, connection_id=row.pk, exchange=row.exchange)
    sealed.store_in(row)


async def _soak(wanted: argparse.Namespace) -> Result:
    stored = settings.DATABASES["default"]["ENGINE"]
    kind = "postgresql" if "postgresql" in stored else "sqlite"
    size = max(int(wanted.connections * _SHARE_POOLED), 1)
    result = Result(kind, wanted.duration, wanted.connections, size)
    async with aiohttp.ClientSession() as session:
        exchange = Exchange(session, wanted.control, wanted.token)
        return await Soak(result, random.Random(wanted.seed), exchange).run()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.drills.pool.soak", description=__doc__)
    parser.add_argument("--duration", type=float, required=True)
    for name in ("connections", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("control", "token"):
        parser.add_argument(f"--{name}", required=True)
    return parser.parse_args()


if __name__ == "__main__":
    found = asyncio.run(_soak(_arguments()))
    sys.stdout.write(f"{found.line()}\n")
    sys.exit(0 if found.is_good else 1)
