"""The two sides that turn ticks into orders, DES's engine and the floor, each in a process of its own, told by a Redis
stream of its own, before one simulated exchange."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import aiohttp

from connections.events import CandleUpdate, MarketBatch, Quote, encode, feed_stream
from desproject.lib import bus
from tests.bench import floor, world
from tests.bench.children import Child
from tests.bench.simulator import Simulator

_WARM_UP_TICKS = 30
_QUIET_SECONDS = 0.3

# Of an order: its bar, when it was known to be durable, when it was written to the socket.
Stamp = tuple[str, int, int | None]


@dataclass(slots=True)
class Side:
    """One process and its ticks: closed one-second bars, one a tick, each a second after the one before whatever the
    clock says; as many orders are wanted of each as its volume says."""

    process: Child
    stream: str
    bid: Decimal
    ask: Decimal
    # bar → when its entry was written. Only what is to count.
    told: dict[str, int] = field(default_factory=dict)
    opened_ms: int = field(default_factory=lambda: (time.time_ns() // 1_000_000_000 - 5) * 1000)
    sequence: int = 0

    async def tell(self, redis: Any, *, orders: int = 1, counts: bool = True) -> None:
        self.opened_ms += 1000
        self.sequence += 1
        now, price, size = time.time_ns(), self.ask, Decimal(1)
        quote = Quote(world.SYMBOL, now, self.bid, size, self.ask, size)
        bar = CandleUpdate(
            world.SYMBOL, now, world.TIMEFRAME, self.opened_ms, price, price, price, price, Decimal(orders), closed=True
        )
        if counts:
            self.told[str(self.opened_ms)] = now
        await bus.append(redis, self.stream, encode(MarketBatch(1, self.sequence, (quote, bar))), keep=1000)

    async def pace(self, rate: float, seconds: float, *, counts: bool = True) -> None:
        """So many ticks a second, for so long; late ones don't push the others back. Returns when they have had time
        to be dealt with."""
        async with bus.connect() as redis:
            start = time.monotonic()
            for number in range(round(rate * seconds)):
                await asyncio.sleep(max(start + number / rate - time.monotonic(), 0))
                await self.tell(redis, counts=counts)
            await asyncio.sleep(_QUIET_SECONDS)

    def end(self) -> Sequence[Stamp]:
        """Ends the process; the stamps of the orders that count."""
        return [(bar, done, written) for bar, done, written in self.process.end() if bar in self.told]


@contextmanager
def both(instances: int, rate: float) -> Iterator[tuple[Side, Side]]:
    """DES and the floor, warm, with so many running instances; ``rate`` is that of the ticks that warm them up."""
    users = world.users_for(instances)
    with ExitStack() as stack:
        simulator = stack.enter_context(Simulator())
        *keys, spare = asyncio.run(world.create_keys(simulator, [f"trader-{n}" for n in range(users)] + ["floor"]))
        world.create_instances(keys, instances)
        engine = stack.enter_context(Child("-m", "tests.bench.engine_process", str(instances)))
        engine.ready()
        prices = asyncio.run(_best(simulator))
        des = Side(engine, feed_stream(world.FEED), *prices)
        asyncio.run(des.pace(rate, _WARM_UP_TICKS / rate, counts=False))
        arguments = (world.a_filled_order(), spare.api_key, spare.api_secret)
        bare = stack.enter_context(Child("-m", "tests.bench.floor", *arguments))
        bare.ready()
        under = Side(bare, floor.STREAM, *prices)
        asyncio.run(under.pace(rate, _WARM_UP_TICKS / rate, counts=False))
        yield des, under


async def _best(simulator: Simulator) -> tuple[Decimal, Decimal]:
    async with aiohttp.ClientSession() as session:
        best = await simulator.best(session)
    return Decimal(best["bidPrice"]), Decimal(best["askPrice"])
