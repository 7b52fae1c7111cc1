"""Samples, percentiles and the line that is printed of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Figures:
    """What one side did: its ``value`` (a rate, or the median of a time), and how its times are spread."""

    value: float
    n: int
    p50: float
    p99: float

    def told(self) -> dict[str, float]:
        return {"value": _short(self.value), "p50": _short(self.p50), "p99": _short(self.p99)}


def times(samples: Sequence[float]) -> Figures:
    """Figures of times; the value is the median."""
    p50, p99 = (float(each) for each in np.percentile(samples, (50, 99)))
    return Figures(p50, len(samples), p50, p99)


def rate(per_second: float, samples: Sequence[float]) -> Figures:
    """Figures of a rate, with the times of the single calls."""
    spread = times(samples)
    return Figures(per_second, spread.n, spread.p50, spread.p99)


@dataclass(frozen=True, slots=True)
class Result:
    """One line: DES beside its floor. ``unit`` is the value's, ``time_unit`` that of p50 and p99."""

    name: str
    unit: str
    des: Figures
    floor: Figures
    time_unit: str = "ms"
    about: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        ratio = {
            name: _short(getattr(self.des, name) / getattr(self.floor, name))
            for name in ("value", "p50", "p99")
            if getattr(self.floor, name)
        }
        told = {"name": self.name, "unit": self.unit, **self.des.told(), "n": self.des.n, "time_unit": self.time_unit}
        return json.dumps({**told, "floor": self.floor.told() | {"n": self.floor.n}, "ratio": ratio, **self.about})


def _short(figure: float) -> float:
    """Without digits that mean nothing."""
    return float(f"{figure:.{_DIGITS}g}")
