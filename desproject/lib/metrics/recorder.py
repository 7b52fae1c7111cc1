"""Durations over a sliding window: recording one is an append; sorting them into buckets happens once a second."""

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from math import ceil, frexp, ldexp
from typing import Self

import msgspec

from desproject.lib.clock import Clock

WINDOW_SECONDS = 60
# Each octave has 16 buckets of equal width, and a value is told as the middle of its bucket.
RELATIVE_ERROR = 1 / 32
_STEPS = 32
_STEP_BITS = 5
_BELOW_ALL = -1 << 20
# So many durations are sorted in at once, should nobody take a snapshot meanwhile: memory stays bounded.
_MANY = 4096


class Histogram(msgspec.Struct):
    """Durations in seconds, by bucket. ``last_update`` is epoch seconds, 0 when there is none."""

    count: int = 0
    total: float = 0.0
    least: float = 0.0
    most: float = 0.0
    last_update: float = 0.0
    buckets: dict[int, int] = {}

    def add(self, durations: Sequence[float]) -> None:
        """Takes durations in; one below zero (between two clocks) counts as zero."""
        if not durations:
            return
        buckets = self.buckets
        for seconds in durations:
            mantissa, exponent = frexp(seconds if seconds > 0 else 0.0)
            bucket = (exponent << _STEP_BITS) + int(mantissa * _STEPS)
            buckets[bucket] = buckets.get(bucket, 0) + 1
        least = max(min(durations), 0.0)
        self.least = min(self.least, least) if self.count else least
        self.most = max(self.most, *durations)
        self.total += sum(seconds for seconds in durations if seconds > 0)
        self.count += len(durations)

    def take(self, other: Self) -> None:
        """Adds another one's durations."""
        if not other.count:
            return
        buckets = self.buckets
        for bucket, count in other.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) + count
        self.least = min(self.least, other.least) if self.count else other.least
        self.most = max(self.most, other.most)
        self.total += other.total
        self.count += other.count
        self.last_update = max(self.last_update, other.last_update)

    def percentile(self, share: float) -> float:
        """The duration that ``share`` percent don't exceed (nearest rank), within RELATIVE_ERROR; 0 of none."""
        return self.percentiles(share)[0]

    def percentiles(self, *shares: float) -> list[float]:
        """Several at once, for ascending shares."""
        if not self.count:
            return [0.0] * len(shares)
        found: list[float] = []
        ranks = [max(ceil(self.count * share / 100), 1) for share in shares]
        seen = 0
        # Below one second exponents are negative, and zero's bucket would come last of them: it is the least.
        for bucket in sorted(self.buckets, key=lambda bucket: bucket or _BELOW_ALL):
            seen += self.buckets[bucket]
            while len(found) < len(ranks) and seen >= ranks[len(found)]:
                found.append(min(max(_middle(bucket), self.least), self.most))
        return found


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """One histogram of all durations."""
    whole = Histogram()
    for histogram in histograms:
        whole.take(histogram)
    return whole


def _middle(bucket: int) -> float:
    if not bucket:
        return 0.0
    return ldexp((bucket % _STEPS + 0.5) / _STEPS, bucket >> _STEP_BITS)


class Recorder:
    """The durations of the last minute. ``record`` may be called by any thread, and takes no lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Forgets everything, for a process that was forked."""
        self._fresh: deque[float] = deque()
        self._slots: deque[tuple[int, Histogram]] = deque()
        self._folding = threading.Lock()

    def record(self, seconds: float) -> None:
        fresh = self._fresh
        fresh.append(seconds)
        if len(fresh) >= _MANY:
            self._fold()

    def window(self) -> Histogram:
        """The durations recorded in the last WINDOW_SECONDS."""
        self._fold()
        with self._folding:
            return merged(histogram for _, histogram in self._slots)

    def _fold(self) -> None:
        """Sorts what is fresh into this second's histogram, and drops those that are past the window."""
        with self._folding:
            second = int(self._clock.monotonic())
            while self._slots and self._slots[0][0] <= second - WINDOW_SECONDS:
                self._slots.popleft()
            if not self._fresh:
                return
            if not self._slots or self._slots[-1][0] != second:
                self._slots.append((second, Histogram()))
            histogram = self._slots[-1][1]
            histogram.last_update = self._clock.now().timestamp()
            histogram.add([self._fresh.popleft() for _ in range(len(self._fresh))])
