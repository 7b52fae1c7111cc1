"""Turns of calls in this process: DES's and the floor's, a slice each, so that both meet the same machine."""

import time
from collections.abc import Callable, Iterable

from tests.bench.measure import Figures, rate

_WARM_UP_CALLS = 2
_SLICE_SECONDS = 0.5
Work = Callable[[], object]


def in_turns(works: Iterable[Work], seconds: float, *, a_call: int = 1) -> list[Figures]:
    """Of each: how many a second of processor time of one core, and how long a call takes (µs); a call is ``a_call``
    of what is counted. Each gets ``seconds`` in all."""
    works = list(works)
    samples: list[list[float]] = [[] for _ in works]
    spent = [0.0] * len(works)
    for work in works:
        for _ in range(_WARM_UP_CALLS):
            work()
    for _ in range(max(round(seconds / _SLICE_SECONDS), 1)):
        for index, work in enumerate(works):
            spent[index] += _slice(work, samples[index])
    return [rate(len(found) * a_call / cpu, found) for found, cpu in zip(samples, spent, strict=True)]


def _slice(work: Work, samples: list[float]) -> float:
    """Adds the calls' times; returns the processor time spent."""
    began, end = time.process_time(), time.monotonic() + _SLICE_SECONDS
    while (start := time.perf_counter()) < end:
        work()
        samples.append((time.perf_counter() - start) * 1e6)
    return time.process_time() - began
