"""The other process of frame_to_price: keeps the newest price as engines do, and notes how old each was when it came.

python -m tests.bench.price_reader <Redis stream>
"""

import asyncio
import signal
import sys
import time

import django
import msgspec

django.setup()

from connections.events import PublicTrade, Quote, decode_market  # noqa: E402  # settings can be read only now
from desproject.lib import bus  # noqa: E402
from tests.bench.children import say  # noqa: E402

# The stream of the bare hop.
HOP = "bench:hop"


class Hop(msgspec.Struct, array_like=True):
    """An entry of the bare hop."""

    seen_ns: int
    frames: tuple[bytes, ...]


def _seen(stream: str, payload: bytes, prices: dict[str, object]) -> list[int]:
    """When the frames of an entry's prices came in."""
    if stream == HOP:
        return [msgspec.msgpack.decode(payload, type=Hop).seen_ns]
    found = []
    for event in decode_market(payload).events:
        if isinstance(event, Quote | PublicTrade):
            prices[event.symbol] = event
            found.append(event.seen_ns)
    return found


async def main(stream: str) -> None:
    ages: list[float] = []
    prices: dict[str, object] = {}
    client, positions = bus.connect(), {stream: "0"}

    async def read() -> None:
        while True:
            async for _, _, payload in bus.read(client, positions, block_ms=250):
                seen = _seen(stream, payload, prices)
                now = time.time_ns()
                ages.extend((now - each) / 1e6 for each in seen)

    running = asyncio.create_task(read())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    say({"ready": True})
    await asyncio.wait([running])
    await client.aclose()
    say(ages)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
