"""Where the clock is read: at the socket, below all code of ours and of the HTTP library.

Stamps are ``time.time_ns``: the processes of one machine share it.
"""

import asyncio.selector_events
import re
import time

_CLIENT_ID = re.compile(rb"newClientOrderId=([^&\s]+)")


def watch_orders_written() -> dict[str, int]:
    """From now on: client order id → when the request was first handed to the socket."""
    written: dict[str, int] = {}
    transport = asyncio.selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    write = transport.write

    def stamped(self: object, data: bytes) -> None:
        if data[:5] == b"POST " and (found := _CLIENT_ID.search(data)):
            written.setdefault(found[1].decode(), time.time_ns())
        write(self, data)

    transport.write = stamped
    return written
