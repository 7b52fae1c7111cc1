"""From a market event on Redis to a committed order, and to the order's first byte on the wire.

DES: its engine in a process of its own (``engine_process.py``). A tick is one entry of the feed's Redis stream with a
quote and the candle that it closes; all instances are evaluated on it and one acts. From the stamp taken right before
the entry is written to (committed) the moment at which the engine's loop knows that the transaction is durable, and
(on the wire) the one at which the request is handed to the socket; not the exchange's answer. Floor: ``floor.py``,
told by the same entries on a stream of its own.

Both take turns, a slice each, at a pace that leaves them idle between two ticks: latency, not saturation. The fill is
booked by both, off the measured path. User streams are off: fills are told by the answer. A tick that comes while the
acting instance's last order is still under way leads to no order: those are told as ``missed``.
"""

import asyncio
from collections.abc import Iterator, Sequence

from tests.bench import sides, world
from tests.bench.measure import Result, times
from tests.bench.sides import Side, Stamp
from tests.bench.simulator import LIMITS

_SLICE_SECONDS = 2.0


def run(seconds: float, *, instances: int, rate: int) -> Iterator[Result]:
    """Two results: committed and on the wire."""
    with sides.both(instances, rate) as (des, under):
        for _ in range(max(round(seconds / _SLICE_SECONDS), 1)):
            asyncio.run(under.pace(rate, _SLICE_SECONDS))
            asyncio.run(des.pace(rate, _SLICE_SECONDS))
        stamps, bare_stamps = des.end(), under.end()
    about = {
        "instances": instances, "users": world.users_for(instances), "rate": rate, "limits": LIMITS,
        "missed": len(des.told) - len(stamps), "floor_missed": len(under.told) - len(bare_stamps),
    }  # fmt: skip
    for name, take in (("tick_to_commit", to_commit), ("tick_to_wire", to_wire)):
        figures = times(take(des, stamps)), times(take(under, bare_stamps))
        yield Result(f"{name}_{instances}_at_{rate}", "ms", *figures, about=about)


def to_commit(side: Side, stamps: Sequence[Stamp]) -> list[float]:
    """Milliseconds."""
    return [(done - side.told[bar]) / 1e6 for bar, done, _ in stamps]


def to_wire(side: Side, stamps: Sequence[Stamp]) -> list[float]:
    """Milliseconds."""
    return [(written - side.told[bar]) / 1e6 for bar, _, written in stamps if written is not None]
