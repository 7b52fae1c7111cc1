"""Where the faults of user events strike, for every venue."""

import asyncio
from collections.abc import Callable
from typing import Any

from connections.simulator.faults import FaultBox, FaultKind, Occasion

Events = list[dict[str, Any]]


def deliver(faults: FaultBox, occasion: Occasion, events: Events, send: Callable[[Events], None]) -> None:
    """Sends the events of one action, in order and at once unless a fault disturbs that."""
    if faults.strike(FaultKind.REORDER_EVENTS, occasion):
        events = events[::-1]
    if faults.strike(FaultKind.DUPLICATE_EVENT, occasion):
        events = [event for event in events for _ in range(2)]
    if late := faults.strike(FaultKind.LATE_FILLS, occasion):
        asyncio.get_running_loop().call_later(late.seconds, send, events)
    else:
        send(events)
