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
