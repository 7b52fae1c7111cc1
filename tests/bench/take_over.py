"""How long tenants are without an engine when theirs is asked to go, as on every deploy (under 2 s is wanted).

100 users with an account and 10 running instances each, shared by two engine processes. One gets SIGTERM; of each of
its tenants the time counts from that moment until the other engine may trade for it: leases given back and taken, rows
read, the account asked for at the exchange. Then a new engine comes and gets its share, and so on, the older one going
each time. No order is under way: an engine that goes waits for the answers of those that are. Floor: a tenant's rows
read by themselves, one tenant after the other. ``whole_ms`` is each round's last tenant.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack

from accounts.models import User
from desproject.lib.clock import SYSTEM_CLOCK
from tests.bench import world
from tests.bench.children import Child, ChildFailed
from tests.bench.measure import Figures, Result, times
from tests.bench.simulator import LIMITS, Simulator
from trading.engine import state

INSTANCES = 1000
# Rounds take some seconds each: the leases settle.
_ROUND_SECONDS = 5
_SETTLE_SECONDS = 60.0
_LOOK_SECONDS = 0.1


def run(seconds: float) -> Iterator[Result]:
    users = world.users_for(INSTANCES)
    waits: list[float] = []
    wholes: list[float] = []
    with ExitStack() as stack:
        simulator = stack.enter_context(Simulator())
        keys = asyncio.run(world.create_keys(simulator, [f"trader-{n}" for n in range(users)]))
        world.create_instances(keys, INSTANCES)
        engines = [stack.enter_context(_engine())]
        _until_shared(engines, users, least=users)
        for _ in range(max(round(seconds / _ROUND_SECONDS), 1)):
            engines.append(stack.enter_context(_engine()))
            _until_shared(engines, users, least=users // 4)
            went = time.time_ns()
            engines.pop(0).end()
            _until_shared(engines, users, least=users)
            taken = [(since - went) / 1e6 for since in engines[0].ask().values() if since > went]
            waits += taken
            wholes.append(round(max(taken), 1))
        floor = _rows_alone()
    about = {"instances": INSTANCES, "users": users, "limits": LIMITS, "whole_ms": wholes}
    yield Result("take_over", "ms", times(waits), floor, about=about)


def _engine() -> Child:
    engine = Child("-m", "tests.bench.heir_process")
    engine.ready()
    return engine


def _until_shared(engines: list[Child], users: int, *, least: int) -> None:
    """Until each tenant has an engine that may trade for it, and each engine has at least so many."""
    end = time.monotonic() + _SETTLE_SECONDS
    while (counts := [len(engine.ask()) for engine in engines]) and (sum(counts) != users or min(counts) < least):
        if time.monotonic() > end:
            raise ChildFailed(f"the tenants weren't shared in time: {counts} of {users}")
        time.sleep(_LOOK_SECONDS)


def _rows_alone() -> Figures:
    """A tenant's rows, read: milliseconds."""
    samples = []
    for user in User.objects.all():
        began = time.perf_counter()
        state.load(user.pk, SYSTEM_CLOCK)
        samples.append((time.perf_counter() - began) * 1000)
    return times(samples)
