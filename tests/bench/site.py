"""DES's web process and the bare one, each under daphne, and clients that keep their connections."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager

import aiohttp

from tests.bench.children import Child
from tests.bench.measure import Figures, rate

_START_SECONDS = 60.0
_SLICE_SECONDS = 2.0
# What is measured is the server, not its limits.
_UNLIMITED = {"RATE_LIMIT_REQUESTS": "1000000", "RATE_LIMIT_GLOBAL_REQUESTS": "1000000"}
# One call of a client; it is told the session and its own number.
Call = Callable[[aiohttp.ClientSession, int], Awaitable[None]]


@contextmanager
def served() -> Iterator[tuple[str, str]]:
    """The URLs of DES's web process and of the bare one."""
    with ExitStack() as stack:
        environment = {"DES_ROLE": "web", "TRUSTED_PROXIES": "127.0.0.1", **_UNLIMITED}
        des = _start(stack, "desproject.asgi:application", environment)
        bare = _start(stack, "tests.bench.bare_site:application", {"DES_ROLE": "web", "BENCH_BARE_SITE": "1"})
        asyncio.run(_wait_for(f"{des}/api/health"))
        asyncio.run(_wait_for(f"{bare}/nothing"))
        yield des, bare


def _start(stack: ExitStack, application: str, environment: dict[str, str]) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ("-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(port), application)
    stack.enter_context(Child(*command, environment=environment))
    return f"http://127.0.0.1:{port}"


async def _wait_for(url: str) -> None:
    end = time.monotonic() + _START_SECONDS
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as answer:
                    answer.raise_for_status()
                    return
            except aiohttp.ClientError:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.1)


def in_turns(calls: tuple[Call, Call], clients: int, seconds: float) -> tuple[Figures, Figures]:
    """Of each: calls a second by so many clients at once, and how long one takes (ms)."""
    samples: tuple[list[float], list[float]] = ([], [])
    spent = asyncio.run(_turns(calls, clients, seconds, samples))
    des, bare = (rate(len(found) / taken, found) for found, taken in zip(samples, spent, strict=True))
    return des, bare


async def _turns(
    calls: tuple[Call, Call], clients: int, seconds: float, samples: tuple[list[float], list[float]]
) -> list[float]:
    """The seconds that each side was busy."""
    spent = [0.0, 0.0]
    async with aiohttp.ClientSession() as session:
        for call in calls:  # connections are opened, queries prepared
            await asyncio.gather(*(_client(session, call, number, 0.5, []) for number in range(clients)))
        for _ in range(max(round(seconds / _SLICE_SECONDS), 1)):
            for index, call in enumerate(calls):
                start = time.monotonic()
                await asyncio.gather(
                    *(_client(session, call, number, _SLICE_SECONDS, samples[index]) for number in range(clients))
                )
                spent[index] += time.monotonic() - start
    return spent


async def _client(
    session: aiohttp.ClientSession, call: Call, number: int, seconds: float, samples: list[float]
) -> None:
    end = time.monotonic() + seconds
    while (start := time.perf_counter()) and time.monotonic() < end:
        await call(session, number)
        samples.append((time.perf_counter() - start) * 1e3)


def getting(url: str, token: str = "") -> Call:
    """A call that gets the URL."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def call(session: aiohttp.ClientSession, _: int) -> None:
        async with session.get(url, headers=headers) as answer:
            answer.raise_for_status()
            await answer.read()

    return call
