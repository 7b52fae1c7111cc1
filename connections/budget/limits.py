"""An exchange's limit as a bucket that never lets more through, however the exchange's windows lie.

In any stretch of the window's length at most ``burst`` plus ``rate`` times that length is spent. The stretch is taken
longer than the exchange's, because what is sent apart may arrive together, and a part of the limit is left free for
what others send from the same address.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec

from connections.budget.urgency import Urgency

_USABLE = 0.95
_BURST = 0.1
# What is sent within the window plus this may arrive within the window: seconds, by the window's length.
_SLACK_SHARE, _LEAST_SLACK = 1 / 12, 0.2
# Each urgency leaves so much of the bucket to the more urgent ones.
_LEFT = {Urgency.EXIT: 0.0, Urgency.ENTRY: 0.25, Urgency.READ: 0.4, Urgency.BACKGROUND: 0.55}
BACKGROUND_SHARE = 0.3
# A process may hold so many seconds of the rate in advance. Where windows are short, nothing may be sent later than it
# was counted.
_AHEAD_SECONDS = 0.1
_LONG_WINDOW = 10


class LimitRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A limit in an api.toml: so much in so many seconds, of an address or of an account."""

    limit: int
    seconds: int
    of: Literal["address", "account"]


@dataclass(frozen=True, slots=True)
class Bucket:
    """``rate`` a second, at most ``burst`` at once. ``reserved`` of the exchange's limit is never used, ``ahead`` is
    what a process may hold in advance, and ``fresh`` for how many seconds what was granted may be used."""

    rate: float
    burst: float
    reserved: float
    ahead: int
    fresh: float = 5.0

    def floor(self, urgency: Urgency) -> float:
        """What a request of this urgency leaves in the bucket."""
        return self.burst * _LEFT[urgency]

    def part(self, share: float) -> "Bucket":
        """A part of it, for a process that can't ask the others; one request always fits."""
        return Bucket(self.rate * share, max(self.burst * share, 1.0), self.reserved, 0, self.fresh)


def bucket_of(row: LimitRow, factor: float = 1.0) -> Bucket:
    """The bucket of a limit. ``factor``: so many times what is documented the exchange grants."""
    limit = row.limit * factor
    slack = max(row.seconds * _SLACK_SHARE, _LEAST_SLACK)
    burst = max(limit * _BURST, 1.0)
    rate = (limit * _USABLE - burst) / (row.seconds + slack)
    ahead = int(rate * _AHEAD_SECONDS) if row.seconds >= _LONG_WINDOW else 0
    return Bucket(rate, burst, limit * (1 - _USABLE) / 2, ahead, slack)
