"""The exchange's own clock: the machine's, plus a skew that tests and faults may set."""

from desproject.lib.clock import SYSTEM_CLOCK, Clock, to_millis


class ExchangeClock:
    """Epoch milliseconds as the exchange sees them."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self.skew_ms = 0

    def now_ms(self) -> int:
        return to_millis(self._clock.now()) + self.skew_ms
