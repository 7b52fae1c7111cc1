"""All processes as one: totals, rates and gauges added up, durations of all in one histogram."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from desproject.lib.metrics.recorder import RELATIVE_ERROR, WINDOW_SECONDS, Histogram, merged
from desproject.lib.metrics.registry import Snapshot

# What everybody asks for first, at the top of the document.
HEADLINES = {"orders": "engine.orders", "ticks": "engine.ticks", "signals": "engine.signals"}
_QUEUES = (
    "engine.mailboxes", "engine.commits_waiting", "engine.sends_waiting", "engine.news_waiting",
    "streams.events_waiting",
)  # fmt: skip


def overview(snapshots: Sequence[Snapshot], now: datetime) -> dict[str, Any]:
    """What the installation does: figures a second over the last minute, totals of the processes that live."""
    totals = added(snapshot.totals for snapshot in snapshots)
    rates = added(snapshot.rates for snapshot in snapshots)
    gauges = added(snapshot.gauges for snapshot in snapshots)
    return {
        **_head(now),
        **{name: _flow(totals, rates, counter) for name, counter in HEADLINES.items()},
        "queue_depth": sum(int(gauges.get(name, 0)) for name in _QUEUES),
        "tasks": int(gauges.get("engine.tasks", 0) + gauges.get("streams.tasks", 0)),
        "memory_bytes": sum(snapshot.memory_bytes for snapshot in snapshots),
        "errors": dict(sorted(added(snapshot.errors for snapshot in snapshots).items())),
        "counters": {name: _flow(totals, rates, name) for name in sorted(totals)},
        "gauges": {name: round(value, 3) for name, value in sorted(gauges.items())},
        "processes": [_process(snapshot, now) for snapshot in sorted(snapshots, key=_place)],
    }


def latencies(snapshots: Sequence[Snapshot], now: datetime) -> dict[str, Any]:
    """How long things took in the last minute, in milliseconds, by area and name."""
    areas: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, histogram in sorted(histograms(snapshots).items()):
        area, _, rest = name.partition(".")
        areas[area][rest] = _summary(histogram)
    return {**_head(now), "unit": "ms", "relative_error": RELATIVE_ERROR, "latency": areas}


def histograms(snapshots: Iterable[Snapshot]) -> dict[str, Histogram]:
    """The durations of all processes, by name."""
    found: dict[str, list[Histogram]] = defaultdict(list)
    for snapshot in snapshots:
        for name, histogram in snapshot.latencies.items():
            found[name].append(histogram)
    return {name: merged(parts) for name, parts in found.items()}


def added(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The sums by name."""
    sums: Counter[str] = Counter()
    for part in parts:
        for name, value in part.items():
            sums[name] += value
    return dict(sums)


def _head(now: datetime) -> dict[str, Any]:
    return {"as_of": now, "window_seconds": WINDOW_SECONDS}


def _flow(totals: dict[str, int], rates: dict[str, float], name: str) -> dict[str, float]:
    return {"total": totals.get(name, 0), "per_second": round(rates.get(name, 0.0), 3)}


def _process(snapshot: Snapshot, now: datetime) -> dict[str, Any]:
    return {
        "kind": snapshot.kind,
        "host": snapshot.host,
        "pid": snapshot.pid,
        "started_at": datetime.fromtimestamp(snapshot.started_at, UTC),
        "age_seconds": round(now.timestamp() - snapshot.started_at, 1),
        "seen_seconds_ago": round(max(now.timestamp() - snapshot.sampled_at, 0), 1),
        "memory_bytes": snapshot.memory_bytes,
    }


def _place(snapshot: Snapshot) -> tuple[str, str, int]:
    return snapshot.kind, snapshot.host, snapshot.pid


def _summary(histogram: Histogram) -> dict[str, Any]:
    """Milliseconds; null where nothing was recorded."""
    if not histogram.count:
        return {**dict.fromkeys(("min", "max", "avg", "p50", "p95", "p99")), "count": 0, "last_update": None}
    p50, p95, p99 = histogram.percentiles(50, 95, 99)
    seconds = {
        "min": histogram.least,
        "max": histogram.most,
        "avg": histogram.total / histogram.count,
        "p50": p50,
        "p95": p95,
        "p99": p99,
    }
    return {
        **{name: round(value * 1000, 4) for name, value in seconds.items()},
        "count": histogram.count,
        "last_update": datetime.fromtimestamp(histogram.last_update, UTC),
    }
