"""News to browsers, by the channel layer: from an engine to its tenants', where losing some is made good by a snapshot,
and from whoever pressed or lifted a kill switch to all whom it stops."""

import asyncio
from collections import Counter
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Any
from uuid import UUID

import redis.asyncio
import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from redis.exceptions import RedisError

from desproject.lib.clock import SYSTEM_CLOCK, to_millis
from risk.api import KillSwitchSerializer
from risk.models import KillLevel, KillSwitch

log = structlog.get_logger(__name__)

# An engine waits no longer than this for the channel layer.
_PATIENCE = 2.0

# Tells this process's news from another's; the sequence counts them by user: a jump means that some got lost.
_EPOCH = to_millis(SYSTEM_CLOCK.now())
_sequences: Counter[UUID] = Counter()

# The channel group of all open pages.
EVERYBODY = "everybody"


class News(StrEnum):
    """What a page is told of: all kinds of events there are. ``trading.stream_socket`` says what each holds."""

    ORDER = "order"
    TRADE = "trade"
    POSITION = "position"
    BALANCE = "balance"
    SIGNAL = "signal"
    INSTANCE = "instance"
    EQUITY = "equity"
    KILL = "kill"
    # Looked up by the page's own socket.
    HEADROOM = "headroom"
    CANDLE = "candle"


def group_of(user_id: UUID) -> str:
    """The channel group of a user's open pages."""
    return f"user.{user_id.hex}"


async def watched(client: "redis.asyncio.Redis", user_ids: AbstractSet[UUID]) -> AbstractSet[UUID]:
    """Those of the users who have a page open, in any process; all of them when Redis can't say. Never raises.

    Whoever opens a page a moment later reads a snapshot, which holds what was told before.
    """
    by_channel = {_channel_of(group_of(user_id)): user_id for user_id in user_ids}
    try:
        async with asyncio.timeout(_PATIENCE):
            readers = await client.pubsub_numsub(*by_channel)
    except (RedisError, OSError) as error:
        log.warning("readers_unknown", error=str(error))
        return user_ids
    return {by_channel[channel.decode()] for channel, count in readers if count}


def _channel_of(group: str) -> str:
    """The Redis channel of a group, as channels_redis names it."""
    return f"{settings.CHANNEL_LAYERS['default']['CONFIG']['prefix']}__group__{group}"


def skip(user_id: UUID) -> None:
    """News that nobody read count too: a page that was away for a moment sees the jump."""
    _sequences[user_id] += 1


async def push(user_id: UUID, kind: News, data: dict[str, Any]) -> None:
    """Tells the user's open pages. Never raises: trading doesn't depend on who watches it.

    ``data`` has the API's shape.
    """
    _sequences[user_id] += 1
    await _send(group_of(user_id), kind, data, _sequences[user_id])


def push_switch(switch: KillSwitch) -> None:
    """Tells the pages of everybody whom a kill switch stops or has stopped. Never raises: the row is what counts.

    From synchronous code of any process. Carries no sequence: it isn't one of the engine's news.
    """
    group = EVERYBODY if switch.level == KillLevel.SYSTEM else group_of(switch.user_id)
    async_to_sync(_send)(group, News.KILL, dict(KillSwitchSerializer(switch).data), None)


def push_recheck(user_id: UUID) -> None:
    """Has the user's open pages look whether their tokens are still accepted: some were revoked. Never raises: they
    look by themselves now and then."""
    async_to_sync(_to_group)(group_of(user_id), {"type": "session.recheck"}, "recheck")


async def _send(group: str, kind: News, data: dict[str, Any], sequence: int | None) -> None:
    message = {"type": "tenant.event", "epoch": _EPOCH, "sequence": sequence, "kind": kind, "data": data}
    await _to_group(group, message, kind)


async def _to_group(group: str, message: dict[str, Any], kind: str) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            await _layer().group_send(group, message)
    except Exception as error:  # noqa: BLE001  # whatever the layer raises, the jump in the sequence tells the page
        log.warning("push_failed", kind=kind, error=str(error))


def _layer() -> Any:
    return get_channel_layer()
