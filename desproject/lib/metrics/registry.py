"""One process's figures.

Counters stay where they are counted: plain ``Counter``s that a part of the process owns and attaches here, so counting
costs an addition. Rates come from the totals of the last minute's snapshots.
"""

import contextlib
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.metrics.recorder import WINDOW_SECONDS, Histogram, Recorder

_MAX_KINDS = 200
_OTHER = "other"
_STATM = Path("/proc/self/statm")

Gauges = Callable[[], Mapping[str, float]]


class Snapshot(msgspec.Struct):
    """One process at one moment. Times are epoch seconds; ``memory_bytes`` is 0 where the system doesn't tell.

    Names are ``area.name``. ``totals`` count since the process began, ``rates`` are a second over the last minute.
    """

    kind: str
    host: str
    pid: int
    started_at: float
    sampled_at: float
    memory_bytes: int
    totals: dict[str, int]
    rates: dict[str, float]
    gauges: dict[str, float]
    errors: dict[str, int]
    latencies: dict[str, Histogram]


class Registry:
    """Collects counters, gauges and recorders of this process. After a fork the child starts from nothing."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._recorders: dict[str, Recorder] = {}
        self.clear()

    def clear(self) -> None:
        """Forgets what was counted and attached; recorders stay valid, and empty."""
        self.started_at = self._clock.now().timestamp()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._attached: dict[object, tuple[str, Mapping[str, int], Gauges]] = {}
        self._history: deque[tuple[float, dict[str, int]]] = deque()
        for recorder in self._recorders.values():
            recorder.clear()

    def recorder(self, name: str) -> Recorder:
        """The recorder of this name (``area.name``), always the same one."""
        if name not in self._recorders:
            self._recorders[name] = Recorder(self._clock)
        return self._recorders[name]

    def count(self, name: str, more: int = 1) -> None:
        """Counts from any thread; where only one thread counts, and often, attach a Counter instead."""
        with self._lock:
            self._counts[name] += more

    def count_error(self, kind: str) -> None:
        """Counts an error of a kind; past a bound of kinds the others share one."""
        with self._lock:
            known = kind in self._errors or len(self._errors) < _MAX_KINDS
            self._errors[kind if known else _OTHER] += 1

    def attach(self, area: str, counts: Mapping[str, int], gauges: Gauges = dict) -> object:
        """Shows the counts, and the gauges at each snapshot, as ``area.name``; returns what ends that.

        ``gauges`` is called by the publishing thread.
        """
        token = object()
        self._attached[token] = (area, counts, gauges)
        return token

    @contextlib.contextmanager
    def attached(self, area: str, counts: Mapping[str, int], gauges: Gauges = dict) -> Iterator[None]:
        """``attach`` while the block runs."""
        token = self.attach(area, counts, gauges)
        try:
            yield
        finally:
            self._attached.pop(token, None)

    def snapshot(self, kind: str, host: str) -> Snapshot:
        """This process now. Rates reach back to the oldest snapshot of the last minute."""
        gauges = self._gauges()
        totals = self._totals()
        return Snapshot(
            kind=kind,
            host=host,
            pid=os.getpid(),
            started_at=self.started_at,
            sampled_at=self._clock.now().timestamp(),
            memory_bytes=_memory(),
            totals=totals,
            rates=self._rates(totals),
            gauges=gauges,
            errors=dict(self._errors),
            latencies={name: recorder.window() for name, recorder in list(self._recorders.items())},
        )

    def _totals(self) -> dict[str, int]:
        totals = Counter(self._counts)
        for area, counts, _ in list(self._attached.values()):
            for name, count in dict(counts).items():  # a copy in one step: another thread counts on
                totals[f"{area}.{name}"] += count
        return dict(totals)

    def _gauges(self) -> dict[str, float]:
        found: Counter[str] = Counter()
        for area, _, gauges in list(self._attached.values()):
            try:
                shown = gauges()
            except Exception:  # noqa: BLE001  # read while another thread works: the next second tells
                self.count("metrics.gauges_unreadable")
                continue
            for name, value in shown.items():
                found[f"{area}.{name}"] += value  # type: ignore[assignment]  # a Counter adds floats just as well
        return dict(found)

    def _rates(self, totals: dict[str, int]) -> dict[str, float]:
        now = self._clock.monotonic()
        while self._history and self._history[0][0] < now - WINDOW_SECONDS:
            self._history.popleft()
        self._history.append((now, totals))
        then, before = self._history[0]
        if now <= then:
            return dict.fromkeys(totals, 0.0)
        # What was detached meanwhile (an engine that ended) may leave less than there was.
        return {name: max(total - before.get(name, 0), 0) / (now - then) for name, total in totals.items()}


def _memory() -> int:
    """Resident bytes."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


METRICS = Registry()
os.register_at_fork(after_in_child=METRICS.clear)
