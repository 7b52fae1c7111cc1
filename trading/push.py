"""News from an engine to its tenants' browsers, by the channel layer. Losing some is made good by a snapshot."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import structlog
from channels.layers import get_channel_layer

from desproject.lib.clock import SYSTEM_CLOCK, to_millis

log = structlog.get_logger(__name__)

# An engine waits no longer than this for the channel layer.
_PATIENCE = 2.0

# Tells this process's news from another's; the sequence counts them by user: a jump means that some got lost.
_EPOCH = to_millis(SYSTEM_CLOCK.now())
_sequences: Counter[UUID] = Counter()


def group_of(user_id: UUID) -> str:
    """The channel group of a user's open pages."""
    return f"user.{user_id.hex}"


async def push(user_id: UUID, kind: str, data: dict[str, Any]) -> None:
    """Tells the user's open pages. Never raises: trading doesn't depend on who watches it.

    ``kind`` is one of order, trade, position, balance, signal, instance, kill; ``data`` has the API's shape.
    """
    _sequences[user_id] += 1
    message = {
        "type": "tenant.event", "epoch": _EPOCH, "sequence": _sequences[user_id], "kind": kind, "data": data,
    }
    try:
        async with asyncio.timeout(_PATIENCE):
            await _layer().group_send(group_of(user_id), message)
    except Exception as error:  # noqa: BLE001  # whatever the layer raises, the jump in the sequence tells the page
        log.warning("push_failed", kind=kind, error=str(error))


def _layer() -> Any:
    return get_channel_layer()
