"""The exchange's clock as we know it: an offset to our monotonic clock, measured and measured again."""

from dataclasses import dataclass

from desproject.lib.clock import Clock, to_millis

REMEASURE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The exchange said ``server_ms`` somewhere between the monotonic times ``sent`` and ``received``."""

    sent: float
    received: float
    server_ms: int

    @property
    def seconds(self) -> float:
        """How long asking took: how wrong the sample may be."""
        return self.received - self.sent


@dataclass(slots=True)
class ServerClock:
    """``skew_ms`` is how far our wall clock is behind the exchange's, for people; None before the first measurement.

    Stamps count from our monotonic clock, so that a step of the wall clock changes nothing, and use the lower bound of
    the offset: they are never ahead of the exchange, and a request never lives longer there than was meant.
    """

    clock: Clock
    skew_ms: float | None = None
    _offset_ms: float = 0.0
    _measured_at: float = 0.0

    def measured(self, sample: Sample) -> None:
        """Takes over a measurement."""
        self._offset_ms = sample.server_ms - sample.received * 1000
        self._measured_at = sample.received
        age = self.clock.monotonic() - (sample.sent + sample.received) / 2
        self.skew_ms = sample.server_ms + age * 1000 - to_millis(self.clock.now())

    @property
    def is_stale(self) -> bool:
        return self.skew_ms is None or self.clock.monotonic() - self._measured_at > REMEASURE_SECONDS

    @property
    def is_known(self) -> bool:
        return self.skew_ms is not None

    def measured_since(self, moment: float) -> bool:
        """Whether somebody has measured since the monotonic time."""
        return self.is_known and self._measured_at >= moment

    def now_ms(self) -> int:
        """The exchange's time, never ahead of it."""
        return int(self.clock.monotonic() * 1000 + self._offset_ms)


# How much an interval grows in which the offset was known to lie: clocks drift.
_DRIFT_MS_A_SECOND = 0.1


class DateClock(ServerClock):
    """A clock of an exchange that tells its time in whole seconds only, with each of its answers.

    An answer that says second D was written between D and the next one, and between our sending and hearing it: that
    bounds the offset from both sides. Each answer narrows the bounds; those that contradict the older ones mean that a
    clock was set, and begin anew.
    """

    __slots__ = ("_at", "_highest", "_lowest")

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._at = 0.0
        self._lowest, self._highest = float("-inf"), float("inf")

    def heard(self, date_ms: int, sent: float, received: float) -> None:
        """An answer to what was sent at ``sent`` says ``date_ms``; the times are monotonic seconds."""
        drift = (received - self._at) * _DRIFT_MS_A_SECOND
        lowest, highest = date_ms - received * 1000, date_ms + 1000 - sent * 1000
        together = max(lowest, self._lowest - drift), min(highest, self._highest + drift)
        self._lowest, self._highest = together if together[0] <= together[1] else (lowest, highest)
        self._at = self._measured_at = received
        self._offset_ms = self._lowest
        middle = (self._lowest + self._highest) / 2
        self.skew_ms = middle + self.clock.monotonic() * 1000 - to_millis(self.clock.now())
