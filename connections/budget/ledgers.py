"""Where a bucket is kept: in Redis for all processes of an address, or in this process where nobody shares it and
while Redis is away."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import redis.asyncio
import structlog
from django.conf import settings
from redis.exceptions import RedisError

from connections.budget.limits import BACKGROUND_SHARE, Bucket
from connections.budget.urgency import Urgency
from desproject.lib.clock import Clock
from desproject.lib.metrics.registry import METRICS

log = structlog.get_logger(__name__)

_PREFIX = "des:budget:"
# Who was refused and hasn't asked again for so long waits no more.
WAITING_SECONDS = 0.5
# But so long what the others have had meanwhile is remembered: its process may be slow.
_REMEMBERED_SECONDS = 3.0
# Redis answers in under a millisecond; so long nothing waits for one that doesn't, nor asks it again.
_PATIENCE_SECONDS = 0.25
_RETRY_SECONDS = 2.0


class Wanted(NamedTuple):
    """What one request costs, and whose it is."""

    urgency: Urgency
    tenant: str
    cost: int


@dataclass(slots=True)
class Told:
    """What happened since the bucket was asked last: weight that was got ahead and not used; what the exchange says is
    left (None: it said nothing); and for how long only exits may go, because nothing is left."""

    given_back: int = 0
    room: float | None = None
    exits_only: float = 0.0


class Granted(NamedTuple):
    """Which of the requests may go, what is given ahead, and for how long the exchange is shut."""

    requests: Sequence[bool]
    ahead: int = 0
    shut_seconds: float = 0.0
    banned: bool = False


class Ledger(Protocol):
    """One bucket."""

    async def ask(self, wanted: Sequence[Wanted], told: Told) -> Granted:
        """Never raises for Redis."""

    async def shut(self, seconds: float, *, banned: bool) -> None:
        """Lets nothing more out for so long."""


@dataclass(slots=True)
class OwnLedger:
    """A bucket of this process alone. Fairness between tenants is the order in which they are asked for."""

    bucket: Bucket
    clock: Clock
    _tokens: float = field(init=False)
    _background: float = field(init=False)
    _at: float = field(init=False)
    _exits_until: float = 0.0
    _shut_until: float = 0.0
    _banned: bool = False

    def __post_init__(self) -> None:
        self._tokens, self._background = self.bucket.burst, self._most_background
        self._at = self.clock.monotonic()

    @property
    def _most_background(self) -> float:
        return self.bucket.burst * BACKGROUND_SHARE

    async def ask(self, wanted: Sequence[Wanted], told: Told) -> Granted:
        now = self.clock.monotonic()
        passed, self._at = now - self._at, now
        self._tokens = min(self._tokens + passed * self.bucket.rate + told.given_back, self.bucket.burst)
        added = passed * self.bucket.rate * BACKGROUND_SHARE
        self._background = min(self._background + added, self._most_background)
        if told.room is not None:
            self._tokens = min(self._tokens, told.room)
        self._exits_until = max(self._exits_until, now + told.exits_only if told.exits_only else 0.0)
        if self._shut_until > now:
            return Granted([False] * len(wanted), 0, self._shut_until - now, self._banned)
        granted = [False] * len(wanted)
        for number in sorted(range(len(wanted)), key=lambda each: wanted[each].urgency):
            granted[number] = self._take(wanted[number], now)
        return Granted(granted)

    def _take(self, want: Wanted, now: float) -> bool:
        bucket, is_background = self.bucket, want.urgency is Urgency.BACKGROUND
        if self._tokens < min(bucket.floor(want.urgency) + want.cost, bucket.burst):
            return False
        if self._exits_until > now and want.urgency is not Urgency.EXIT:
            return False
        if is_background and self._background < min(want.cost, self._most_background):
            return False
        self._tokens -= want.cost
        self._background -= want.cost if is_background else 0
        return True

    async def shut(self, seconds: float, *, banned: bool) -> None:
        until = self.clock.monotonic() + seconds
        if until > self._shut_until:
            self._shut_until, self._banned = until, banned


class SharedLedger:
    """A bucket of all processes, in Redis. While that is away, a part of it that is small enough to be every process's
    at once: never unlimited, never stuck."""

    def __init__(self, name: str, bucket: Bucket, client: "redis.asyncio.Redis", clock: Clock) -> None:
        key = _PREFIX + "{" + name + "}"
        self._shut_key = f"{key}:shut"
        self._keys = [key, f"{key}:tags", self._shut_key, *(f"{key}:waiting:{each}" for each in (1, 2, 3))]
        self._bucket = bucket
        self._client = client
        self._clock = clock
        self._script = client.register_script(_script())
        self._alone = OwnLedger(bucket.part(share_alone()), clock)
        self._ask_from = 0.0
        floors = [bucket.floor(urgency) for urgency in Urgency]
        self._fixed = [bucket.rate, bucket.burst, BACKGROUND_SHARE, WAITING_SECONDS, bucket.ahead]
        self._floors = floors

    async def ask(self, wanted: Sequence[Wanted], told: Told) -> Granted:
        if self._clock.monotonic() >= self._ask_from:
            try:
                return await self._ask(wanted, told)
            except (RedisError, OSError, TimeoutError) as error:
                self._ask_from = self._clock.monotonic() + _RETRY_SECONDS
                log.warning("exchange_budget_counts_alone", error=type(error).__name__)
        METRICS.count("budget.counted_alone")
        return await self._alone.ask(wanted, told)

    async def _ask(self, wanted: Sequence[Wanted], told: Told) -> Granted:
        room = "" if told.room is None else told.room
        args: list[str | int | float] = [*self._fixed, told.given_back, room, told.exits_only, *self._floors]
        args.append(_REMEMBERED_SECONDS)
        for want in wanted:
            args += [int(want.urgency), want.tenant, want.cost]
        answer = await _in_time(self._script(keys=self._keys, args=args))
        shut_ms, banned, ahead, *granted = answer
        return Granted([bool(each) for each in granted], ahead, shut_ms / 1000, bool(banned))

    async def shut(self, seconds: float, *, banned: bool) -> None:
        """Known to this process at once, to the others when they ask next: before each request, or after
        budget.REFRESH_SECONDS."""
        await self._alone.shut(seconds, banned=banned)
        try:
            left = await _in_time(self._client.pttl(self._shut_key))
            if left < seconds * 1000:
                await _in_time(self._client.set(self._shut_key, int(banned), px=max(int(seconds * 1000), 1)))
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("exchange_shut_not_shared", error=type(error).__name__)


def share_alone() -> float:
    """The part of a bucket that is this process's while nobody can be asked: as if there were twice the processes that
    this machine runs, for they may be on others too."""
    config = settings.CONFIG
    return 1 / (2 * (config.engine_processes + config.task_workers + 2))


async def _in_time(answer: Awaitable[Any]) -> Any:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        return await answer


@cache
def _script() -> str:
    return (Path(__file__).parent / "shared.lua").read_text(encoding="utf-8")
