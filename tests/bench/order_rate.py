"""Orders a second that are decided, committed, sent, answered and booked, sustained; risk and audit are on.

1000 instances of 100 users; ticks of 20 orders each come as soon as fewer than 200 orders are under way, so both sides
are saturated but never flooded. The simulator runs on the same cores, its limits raised. An order counts when its fill
is booked. Floor: ``floor.py``, fed alike. p50 and p99 are tick to wire under that load. The first slice of each side,
in which sockets and keys are opened, doesn't count. ``cpu_ms`` is what a side's process used of the processors for an
order: others on the machine change that least.
"""

import asyncio
import time
from collections.abc import Iterator

from desproject.lib import bus
from tests.bench import sides, world
from tests.bench.measure import Figures, Result, rate
from tests.bench.sides import Side
from tests.bench.simulator import LIMITS
from tests.bench.tick_to_order import to_wire

INSTANCES = 1000
_UNDER_WAY = 200
_A_TICK = 20
_SLICE_SECONDS = 4.0
_LOOK_SECONDS = 0.05
# Wanted orders that never came (their instance was busy, risk said no) are given up when nothing has moved for so long.
_STILL_SECONDS = 2.0


class Fed:
    """One side, kept busy: how many orders were booked in how many seconds, how many wanted ones never came."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.booked = 0
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.lost = 0
        self._missing = 0

    async def slice(self, *, counts: bool = True) -> None:
        """A slice of saturation; then what is under way ends."""
        async with bus.connect() as redis:
            used = self.side.process.cpu_seconds()
            first = known = self.side.process.ask()
            start = moved = time.monotonic()
            while (now := time.monotonic()) < start + _SLICE_SECONDS:
                while self._missing < _UNDER_WAY:
                    await self.side.tell(redis, orders=_A_TICK, counts=counts)
                    self._missing += _A_TICK
                await asyncio.sleep(_LOOK_SECONDS)
                known, moved = self._look(known, moved)
            if counts:
                self.booked += known - first
                self.seconds += now - start
                self.cpu_seconds += self.side.process.cpu_seconds() - used
            while self._missing:
                await asyncio.sleep(_LOOK_SECONDS)
                known, moved = self._look(known, moved)

    def _look(self, known: int, moved: float) -> tuple[int, float]:
        booked, now = self.side.process.ask(), time.monotonic()
        self._missing -= booked - known
        if booked != known:
            return booked, now
        if now - moved > _STILL_SECONDS:
            self.lost += self._missing
            self._missing = 0
            return known, now
        return known, moved

    @property
    def cpu_ms(self) -> float:
        """Of an order."""
        return round(self.cpu_seconds / self.booked * 1000, 3)

    def figures(self) -> Figures:
        return rate(self.booked / self.seconds, to_wire(self.side, self.side.end()))


def run(seconds: float) -> Iterator[Result]:
    with sides.both(INSTANCES, 20) as pair:
        des, under = (Fed(side) for side in pair)
        for number in range(max(round(seconds / _SLICE_SECONDS), 1) + 1):
            asyncio.run(under.slice(counts=number > 0))
            asyncio.run(des.slice(counts=number > 0))
        figures = des.figures(), under.figures()
    about = {
        "instances": INSTANCES, "users": world.users_for(INSTANCES), "under_way": _UNDER_WAY, "limits": LIMITS,
        "booked": des.booked, "floor_booked": under.booked, "lost": des.lost, "floor_lost": under.lost,
        "cpu_ms": des.cpu_ms, "floor_cpu_ms": under.cpu_ms,
    }  # fmt: skip
    yield Result("orders_a_second", "1/s", *figures, about=about)
