"""Sliding windows: how often something may happen within any stretch of time of a given length.

Counted in Redis for all processes together, several windows in one atomic step: what one of them refuses counts in
none, so who is refused takes nothing from the others. While Redis is away each process counts for itself.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

import redis
import structlog

from desproject.lib.bus import sync_client
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.metrics.registry import METRICS

log = structlog.get_logger(__name__)

_PREFIX = "des:window:"
# Of each key the times of the newest ``limit`` events are kept, newest first: the window is full exactly when the
# last of them is younger than it is long. A time in the future is from before the clock was put back.
# Answers {which window is full (0: none), microseconds until it isn't, whether that is new}.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
for i, key in ipairs(KEYS) do
  local limit, length = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local oldest = tonumber(redis.call('LINDEX', key, limit - 1) or '0')
  if oldest <= now and oldest + length > now then
    local told = redis.call('SET', key .. ':full', '1', 'NX', 'PX', math.ceil(length / 1000))
    return {i, oldest + length - now, told and 1 or 0}
  end
end
for i, key in ipairs(KEYS) do
  redis.call('LPUSH', key, string.format('%.0f', now))
  redis.call('LTRIM', key, 0, tonumber(ARGV[2 * i - 1]) - 1)
  redis.call('PEXPIRE', key, math.ceil(ARGV[2 * i] / 1000))
end
return {0, 0, 0}
"""
# So long nobody asks a Redis that didn't answer: each try may take its whole time-out.
_RETRY_SECONDS = 2.0
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """At most ``limit`` events of ``key`` in any ``seconds``."""

    key: str
    limit: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Full:
    """The first window that has no room, when it will have some, and whether nobody was told in this window yet."""

    window: Window
    retry_after: float
    is_news: bool


class LocalWindows:
    """Windows of this process. Of more than ``most`` keys the longest unused are forgotten. Thread-safe."""

    def __init__(self, most: int = 10_000, clock: Clock = SYSTEM_CLOCK) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._events: OrderedDict[str, deque[float]] = OrderedDict()
        self._told: dict[str, float] = {}

    def take(self, windows: Sequence[Window]) -> Full | None:
        """Counts one event in all windows, or in none and answers the first full one."""
        now = self._clock.monotonic()
        with self._lock:
            for window in windows:
                events = self._of(window)
                if len(events) == window.limit and events[0] + window.seconds > now:
                    return Full(window, events[0] + window.seconds - now, self._is_news(window, now))
            for window in windows:
                self._of(window).append(now)
            while len(self._events) > self._most:
                self._told.pop(self._events.popitem(last=False)[0], None)
        return None

    def _of(self, window: Window) -> deque[float]:
        events = self._events.get(window.key)
        if events is None or events.maxlen != window.limit:
            events = self._events[window.key] = deque(events or (), maxlen=window.limit)
        self._events.move_to_end(window.key)
        return events

    def _is_news(self, window: Window, now: float) -> bool:
        if now - self._told.get(window.key, -window.seconds) < window.seconds:
            return False
        self._told[window.key] = now
        return True


class SharedWindows:
    """Windows of all processes, by Redis; this process's own while that is away."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._local = LocalWindows(clock=clock)
        self._ask_from = 0.0

    def take(self, windows: Sequence[Window]) -> Full | None:
        """As ``LocalWindows.take``, over all processes. Never raises for Redis."""
        if self._clock.monotonic() >= self._ask_from:
            try:
                return self._ask(windows)
            except redis.RedisError as error:
                self._ask_from = self._clock.monotonic() + _RETRY_SECONDS
                log.warning("limits_count_alone", error=str(error))
        METRICS.count("limits.counted_alone")
        return self._local.take(windows)

    def _ask(self, windows: Sequence[Window]) -> Full | None:
        arguments: list[int] = []
        for window in windows:
            arguments += [window.limit, round(window.seconds * _MICROSECONDS)]
        keys = [_PREFIX + window.key for window in windows]
        full, wait, is_news = sync_client().register_script(_TAKE)(keys=keys, args=arguments)
        return Full(windows[full - 1], wait / _MICROSECONDS, bool(is_news)) if full else None


WINDOWS = SharedWindows()
