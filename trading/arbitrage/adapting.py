"""How picky an arbitrage is, by what became of its newest fires (ARB-5): what it has to win at least rises with
failures and with latency, within bounds; and where latency exceeds its target, fewer pairs are watched."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from desproject.lib.money import exact

# So many fires are remembered.
REMEMBERED = 20
# Every fire that needed a hedge adds this much of the lowest rate, over their share.
_FAILURE_WEIGHT = Decimal(3)
# Half of an excess of latency is forgotten in this time: what isn't watched isn't measured either.
_HALF_LIFE_SECONDS = 60.0

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Past:
    """A settled fire. ``clean``: both legs were filled, no hedge was needed."""

    clean: bool
    latency_ms: float
    settled_at: datetime


def required_rate(lowest: Decimal, highest: Decimal, past: Sequence[Past], latency_ratio: float) -> Decimal:
    """What a fire has to win now. ``latency_ratio`` is the latency over its target."""
    with exact():
        rate = lowest
        if past:
            failures = sum(not fire.clean for fire in past)
            rate += lowest * _FAILURE_WEIGHT * failures / len(past)
        rate *= Decimal(max(latency_ratio, 1.0))
        return min(max(rate, lowest), max(highest, lowest))


def latency_ratio(past: Sequence[Past], target_ms: float, now: datetime) -> float:
    """The newest fires' mean latency over its target; what exceeds 1 fades with time."""
    if not past:
        return 0.0
    newest = past[-5:]
    ratio = sum(fire.latency_ms for fire in newest) / len(newest) / target_ms
    age = max((now - newest[-1].settled_at).total_seconds(), 0.0)
    return min(ratio, 1.0) + float(max(ratio - 1.0, 0.0) * 0.5 ** (age / _HALF_LIFE_SECONDS))


def watched(pairs: Iterable[tuple[Key, float, float]]) -> set[Key]:
    """Which of a user's pairs to watch: (key, latency ratio, share of clean fires) each.

    As many fewer as the worst ratio is above 1, at least one; the ones with the most clean fires stay.
    """
    found = sorted(pairs, key=lambda pair: (-pair[2], pair[1]))
    worst = max((ratio for _, ratio, _ in found), default=0.0)
    keep = len(found) if worst <= 1 else max(int(len(found) / worst), 1)
    return {key for key, _, _ in found[:keep]}


def clean_share(past: Sequence[Past]) -> float:
    """1 where nothing is known yet."""
    return sum(fire.clean for fire in past) / len(past) if past else 1.0
