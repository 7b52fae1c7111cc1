"""What went over the wire, when a deadline falls into the writing of a request. Real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime

import pytest

from connections.exchanges import network as network_module
from connections.exchanges.network import Network, Request
from connections.gateways import DeadlinePassed, OutcomeUnknown, SendDeadline
from desproject.lib.clock import SYSTEM_CLOCK

DEADLINE = SendDeadline(100.0)


class CountingClock:
    """Says another time each time it is asked."""

    def __init__(self, moments: Iterator[float]) -> None:
        self._moments = moments

    def now(self) -> datetime:
        return SYSTEM_CLOCK.now()

    def monotonic(self) -> float:
        return next(self._moments)


@asynccontextmanager
async def server(answer: bytes | None) -> AsyncIterator[tuple[str, Callable[[], bytes]]]:
    """Its url and what it was sent. Answers once there is a body, or cuts the connection then."""
    heard, served = bytearray(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            heard.extend(chunk)
            if heard.endswith(b"}"):
                writer.write(answer or b"")
                break
        writer.close()
        await writer.wait_closed()
        served.set()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", lambda: bytes(heard)
        await served.wait()


def moments(*first: float, then: float) -> Iterator[float]:
    yield from first
    while True:
        yield then


async def send(clock: CountingClock, url: str) -> int:
    network = Network(clock)
    try:
        request = Request("POST", f"{url}/orders", {}, 5.0, DEADLINE, b'{"market":"KRW-BTC"}')
        return (await network.send(request)).status
    finally:
        await network.aclose()


async def test_a_body_arrives_in_time() -> None:
    async with server(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n") as (url, heard):
        assert await send(CountingClock(moments(then=99.0)), url) == 201
        assert heard().endswith(b'{"market":"KRW-BTC"}')


async def test_past_the_deadline_nothing_is_written() -> None:
    async with server(None) as (url, heard):
        with pytest.raises(DeadlinePassed):
            await send(CountingClock(moments(then=100.0)), url)
        assert b"KRW-BTC" not in heard()


async def test_a_deadline_between_head_and_body_keeps_the_body_back() -> None:
    """Without its body nobody can act on the request: nothing happened."""
    async with server(None) as (url, heard):
        with pytest.raises(DeadlinePassed):
            await send(CountingClock(moments(99.0, 99.0, then=100.0)), url)
        assert b"KRW-BTC" not in heard()


async def test_a_cut_after_the_body_is_an_unknown_outcome() -> None:
    async with server(None) as (url, heard):
        with pytest.raises(OutcomeUnknown):
            await send(CountingClock(moments(then=99.0)), url)
        assert heard().endswith(b"}")


async def test_an_order_s_answer_is_not_waited_for_long_past_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway itself gives up, so that the breaker counts an exchange that hangs as one that failed."""
    monkeypatch.setattr(network_module, "ANSWER_SECONDS", 0.1)
    async with server(None) as (url, heard):
        network = Network(CountingClock(moments(then=99.9)))
        try:
            async with asyncio.timeout(20):
                with pytest.raises(OutcomeUnknown):
                    await network.send(Request("POST", f"{url}/orders", {}, 60.0, DEADLINE, b"no end"))
        finally:
            await network.aclose()
        assert heard().endswith(b"no end")
