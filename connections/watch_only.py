"""Exchanges whose answers don't fit what they document any more are only watched (CON-7): nothing is entered there,
while exits, stops and cancels go on.

Judged by call (placing, balances, open orders, …) over successful answers only: an error page, a refusal or silence
says nothing about the shape. What one process finds holds for all of them, by a key in Redis that ends by itself;
without Redis each process goes by what it found.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from connections.gateways import OutcomeUnknown, UnexpectedShape, UnreadableRefusal
from desproject.lib.clock import Clock
from desproject.lib.metrics.registry import METRICS

log = structlog.get_logger(__name__)

_KEY = "des:watch-only:"
WINDOW_SECONDS = 60.0
MOST_MISFITS = 0.1
# Fewer answers than these show nothing, but of a call that was at fault before. After as many a breaker opens.
LEAST_ANSWERS = 3
# A finding holds so long in the other processes, and is renewed as long as it is one.
_HOLD_SECONDS = 15.0
_REMEMBERED = 1000
# A Redis that doesn't answer (frozen, half-open socket) must not hold up what each process finds by itself.
_PATIENCE = 5.0


class _Seen(NamedTuple):
    at: float
    fits: bool
    account: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A call whose answers don't fit: so many of so many in the last minute."""

    call: str
    misfits: int
    answers: int

    def __str__(self) -> str:
        return f"{self.misfits} of the last {self.answers} answers to {self.call} aren't as documented"


class Shapes:
    """The answers of one feed (exchange and mode) in this process."""

    def __init__(self, feed: str, clock: Clock) -> None:
        self.feed = feed
        self._clock = clock
        self._seen: dict[str, deque[_Seen]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))
        self._accounts: set[str] = set()
        # Calls that were at fault, until an answer to them fits again.
        self._suspects: set[str] = set()

    def note(self, call: str, account: str, error: Exception | None) -> None:
        """Takes over how a call ended; only a read body says whether it fits."""
        if error is None:
            self._suspects.discard(call)
        elif not _is_misfit(error):
            return
        else:
            METRICS.count(f"exchange_shape.{self.feed.replace(':', '_')}_{call}_misfits")
        self._accounts.add(account)
        self._seen[call].append(_Seen(self._clock.monotonic(), error is None, account))

    def finding(self) -> Finding | None:
        """The first call that is at fault. What only one of several accounts is answered is its own trouble."""
        start = self._clock.monotonic() - WINDOW_SECONDS
        for call, seen in self._seen.items():
            while seen and seen[0].at < start:
                seen.popleft()
            misfits = [each for each in seen if not each.fits]
            is_alone = len(self._accounts) > 1 and len({each.account for each in misfits}) == 1
            enough = 1 if call in self._suspects else LEAST_ANSWERS
            if len(seen) >= enough and len(misfits) > len(seen) * MOST_MISFITS and not is_alone:
                self._suspects.add(call)
                return Finding(call, len(misfits), len(seen))
        return None


class Watch:
    """What this process knows of exchanges that are only watched. ``refresh`` it every second or so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shapes: dict[str, Shapes] = {}
        self._own: dict[str, Finding] = {}
        self._told: dict[str, str] = {}

    def shapes(self, feed: str) -> Shapes:
        found = self._shapes.get(feed)
        if found is None:
            found = self._shapes[feed] = Shapes(feed, self._clock)
        return found

    def reason(self, feed: str) -> str:
        """Why nothing may be entered there, for people; empty where it may."""
        finding = self._own.get(feed)
        return str(finding) if finding is not None else self._told.get(feed, "")

    @property
    def feeds(self) -> Collection[str]:
        """Those that are only watched."""
        return self._own.keys() | {feed for feed, reason in self._told.items() if reason}

    async def refresh(self, client: "redis.asyncio.Redis") -> Mapping[str, Finding]:
        """Judges anew, tells the others and hears them. Returns what was found just now and by nobody before, to alert
        about it."""
        fresh = {}
        for feed, shapes in self._shapes.items():
            finding = shapes.finding()
            if finding is not None:
                if feed not in self._own:
                    fresh[feed] = finding
                    METRICS.count("exchange_shape.watch_only")
                    log.error("exchange_watch_only", feed=feed, call=finding.call, reason=str(finding))
                self._own[feed] = finding
            elif self._own.pop(feed, None) is not None:
                log.info("exchange_answers_fit_again", feed=feed)
        try:
            async with asyncio.timeout(_PATIENCE):
                for feed, finding in self._own.items():
                    is_known = await client.set(_KEY + feed, str(finding), px=int(_HOLD_SECONDS * 1000), get=True)
                    if is_known is not None:
                        fresh.pop(feed, None)
                feeds = list(self._shapes)
                told = await client.mget([_KEY + feed for feed in feeds]) if feeds else []
            self._told = {feed: reason.decode() for feed, reason in zip(feeds, told, strict=True) if reason}
        except (RedisError, OSError) as error:
            log.info("watch_only_not_shared", error=type(error).__name__)
        return fresh


def watched_feeds(client: "redis.Redis") -> list[str]:
    """The feeds that are only watched, as any process has found. Raises RedisError."""
    return sorted(key.decode().removeprefix(_KEY) for key in client.scan_iter(match=f"{_KEY}*", count=1000))


def _is_misfit(error: Exception) -> bool:
    """Whether the exchange did what was asked for, and said it in a shape that can't be read."""
    if isinstance(error, OutcomeUnknown):
        return isinstance(error.__cause__, UnexpectedShape)
    return isinstance(error, UnexpectedShape) and not isinstance(error, UnreadableRefusal)
