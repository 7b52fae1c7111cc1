"""How long /api/health takes over HTTP while eight clients log in without a pause.

Floor: the view that does nothing of the bare site, while eight clients have a password checked there. Each log-in comes
from an address and a user of its own, so that no limit is met.
"""

import asyncio
import time
from collections.abc import Iterator

import aiohttp

from tests.bench import sessions, site
from tests.bench.measure import Result, times

LOGGING_IN = 8
_ASK_SECONDS = 0.02
_SLICE_SECONDS = 2.0


def run(seconds: float) -> Iterator[Result]:
    sessions.create_users()
    with site.served() as (des, bare):
        sides: tuple[tuple[site.Call, str, list[float]], ...] = (
            (sessions.logging_in(des), f"{des}/api/health", []),
            (site.getting(f"{bare}/login"), f"{bare}/nothing", []),
        )
        for _ in range(max(round(seconds / _SLICE_SECONDS), 1)):
            for login, url, samples in sides:
                asyncio.run(_slice(login, site.getting(url), samples))
        (_, _, ours), (_, _, bares) = sides
        about = {"logging_in": LOGGING_IN}
        yield Result("health_under_logins", "ms", times(ours), times(bares), about=about)


async def _slice(login: site.Call, ask: site.Call, samples: list[float]) -> None:
    async with aiohttp.ClientSession() as session:
        busy = [asyncio.create_task(_for_ever(session, login, number)) for number in range(LOGGING_IN)]
        await ask(session, 0)
        end = time.monotonic() + _SLICE_SECONDS
        while time.monotonic() < end:
            start = time.perf_counter()
            await ask(session, 0)
            samples.append((time.perf_counter() - start) * 1e3)
            await asyncio.sleep(_ASK_SECONDS)
        for task in busy:
            task.cancel()
        for ended in await asyncio.gather(*busy, return_exceptions=True):
            if isinstance(ended, BaseException) and not isinstance(ended, asyncio.CancelledError):
                raise ended


async def _for_ever(session: aiohttp.ClientSession, call: site.Call, number: int) -> None:
    while True:
        await call(session, number)
