"""Recording, windows, percentiles within the stated error, and the merging of many processes' snapshots."""

import os
import threading
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desproject.lib.clock import ManualClock
from desproject.lib.metrics.merging import histograms, latencies, overview
from desproject.lib.metrics.recorder import RELATIVE_ERROR, WINDOW_SECONDS, Histogram, Recorder, merged
from desproject.lib.metrics.registry import Registry, Snapshot

START = datetime(2026, 11, 21, 9, tzinfo=UTC)
durations = st.floats(min_value=0, max_value=1e5, allow_nan=False, allow_subnormal=False)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def registry(clock: ManualClock) -> Registry:
    return Registry(clock)


def histogram(values: list[float]) -> Histogram:
    found = Histogram()
    found.add(values)
    return found


class TestHistogram:
    @given(st.lists(durations, min_size=1, max_size=300))
    def test_percentiles_are_within_the_stated_error(self, values: list[float]) -> None:
        found = histogram(values)
        for share in (1, 50, 95, 99, 100):
            exact = float(np.percentile(values, share, method="inverted_cdf"))
            assert found.percentile(share) == pytest.approx(exact, rel=RELATIVE_ERROR, abs=0)

    @given(st.lists(durations, min_size=1, max_size=100))
    def test_count_least_most_and_total_are_exact(self, values: list[float]) -> None:
        found = histogram(values)
        assert (found.count, found.least, found.most) == (len(values), min(values), max(values))
        assert found.total == pytest.approx(sum(values))

    @given(st.lists(st.lists(durations, max_size=50), max_size=5))
    def test_merging_parts_equals_recording_all_in_one(self, parts: list[list[float]]) -> None:
        whole = merged(histogram(part) for part in parts)
        expected = histogram([value for part in parts for value in part])
        assert whole.buckets == expected.buckets
        assert (whole.count, whole.least, whole.most) == (expected.count, expected.least, expected.most)

    def test_a_duration_between_two_clocks_is_never_below_zero(self) -> None:
        found = histogram([-0.5, -0.1])
        assert (found.least, found.most, found.total, found.percentile(99)) == (0.0, 0.0, 0.0, 0.0)

    def test_nothing_recorded_has_no_percentile(self) -> None:
        assert Histogram().percentile(99) == 0.0


class TestRecorder:
    def test_durations_leave_with_the_window(self, clock: ManualClock) -> None:
        recorder = Recorder(clock)
        recorder.record(1.0)
        assert recorder.window().count == 1
        clock.advance(WINDOW_SECONDS - 1)
        recorder.record(2.0)
        assert recorder.window().count == 2
        clock.advance(1)
        window = recorder.window()
        assert (window.count, window.least) == (1, 2.0)
        clock.advance(WINDOW_SECONDS)
        assert recorder.window().count == 0

    def test_the_last_update_is_told(self, clock: ManualClock) -> None:
        recorder = Recorder(clock)
        clock.advance(5)
        recorder.record(1.0)
        recorder.window()
        clock.advance(5)
        assert recorder.window().last_update == START.timestamp() + 5

    def test_memory_is_bounded_when_nobody_looks(self, clock: ManualClock) -> None:
        recorder = Recorder(clock)
        for _ in range(20_000):
            recorder.record(0.001)
        assert len(recorder._fresh) < 5000
        assert recorder.window().count == 20_000

    def test_threads_lose_nothing(self, clock: ManualClock) -> None:
        recorder = Recorder(clock)

        def work() -> None:
            for _ in range(30_000):
                recorder.record(0.001)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            recorder.window()
        assert recorder.window().count == 120_000


class TestRegistry:
    def test_attached_counters_show_under_their_area(self, registry: Registry) -> None:
        counts = Counter(ticks=3)
        with registry.attached("engine", counts, lambda: {"tenants": 2}):
            counts["ticks"] += 1
            shown = registry.snapshot("engine", "here")
        assert (shown.totals, shown.gauges) == ({"engine.ticks": 4}, {"engine.tenants": 2})
        assert registry.snapshot("engine", "here").totals == {}

    def test_two_parts_of_one_area_add_up(self, registry: Registry) -> None:
        with registry.attached("engine", {"ticks": 1}), registry.attached("engine", {"ticks": 2, "orders": 1}):
            assert registry.snapshot("engine", "here").totals == {"engine.ticks": 3, "engine.orders": 1}

    def test_rates_are_of_the_last_minute(self, registry: Registry, clock: ManualClock) -> None:
        counts = Counter(ticks=1000)
        with registry.attached("engine", counts):
            registry.snapshot("engine", "here")
            for _ in range(WINDOW_SECONDS):
                clock.advance(1)
                counts["ticks"] += 10
                rate = registry.snapshot("engine", "here").rates["engine.ticks"]
            assert rate == pytest.approx(10)
            for _ in range(WINDOW_SECONDS):
                clock.advance(1)
                rate = registry.snapshot("engine", "here").rates["engine.ticks"]
            assert rate == 0

    def test_a_part_that_went_away_leaves_no_negative_rate(self, registry: Registry, clock: ManualClock) -> None:
        with registry.attached("engine", {"ticks": 9}), registry.attached("engine", {"ticks": 5}):
            registry.snapshot("engine", "here")
        clock.advance(1)
        with registry.attached("engine", {"ticks": 1}):
            assert registry.snapshot("engine", "here").rates["engine.ticks"] == 0

    def test_gauges_that_raise_cost_only_themselves(self, registry: Registry) -> None:
        def broken() -> dict[str, float]:
            raise RuntimeError("dictionary changed size during iteration")

        with registry.attached("a", {}, broken), registry.attached("b", {}, lambda: {"fine": 1}):
            shown = registry.snapshot("engine", "here")
        assert shown.gauges == {"b.fine": 1}
        assert shown.totals == {"metrics.gauges_unreadable": 1}

    def test_kinds_of_errors_are_bounded(self, registry: Registry) -> None:
        for number in range(1000):
            registry.count_error(f"kind {number}")
        errors = registry.snapshot("web", "here").errors
        assert len(errors) == 201
        assert errors["other"] == 800

    def test_a_process_tells_its_memory(self, registry: Registry) -> None:
        assert registry.snapshot("web", "here").memory_bytes > 10_000_000

    def test_a_forked_child_starts_from_nothing(self) -> None:
        from desproject.lib.metrics.registry import METRICS  # noqa: PLC0415  # the one that is cleared by fork

        recorder = METRICS.recorder("test.fork")
        recorder.record(1.0)
        METRICS.count("test.fork")
        child = os.fork()
        if child == 0:
            shown = METRICS.snapshot("tasks", "here")
            os._exit(1 if shown.totals.get("test.fork") or shown.latencies["test.fork"].count else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert METRICS.snapshot("tasks", "here").totals["test.fork"] == 1


def snapshot(pid: int, **values: Any) -> Snapshot:
    return Snapshot(**{
        "kind": "engine", "host": "here", "pid": pid, "started_at": START.timestamp() - 60,
        "sampled_at": START.timestamp(), "memory_bytes": 100, "totals": {}, "rates": {}, "gauges": {}, "errors": {},
        "latencies": {}, **values,
    })


class TestMerging:
    def test_processes_add_up(self) -> None:
        found = overview([
            snapshot(1, totals={"engine.orders": 3}, rates={"engine.orders": 0.5}, errors={"boom": 1},
                     gauges={"engine.mailboxes": 2, "engine.tasks": 7}),
            snapshot(2, totals={"engine.orders": 4, "engine.ticks": 9}, rates={"engine.orders": 1.0},
                     errors={"boom": 2, "bang": 1}, gauges={"engine.mailboxes": 3, "engine.commits_waiting": 1}),
        ], START)  # fmt: skip
        assert found["orders"] == {"total": 7, "per_second": 1.5}
        assert found["ticks"]["total"] == 9
        assert found["signals"] == {"total": 0, "per_second": 0}
        assert (found["queue_depth"], found["tasks"], found["memory_bytes"]) == (6, 7, 200)
        assert found["errors"] == {"bang": 1, "boom": 3}
        assert [(row["pid"], row["age_seconds"]) for row in found["processes"]] == [(1, 60), (2, 60)]

    def test_percentiles_are_of_all_processes_together(self) -> None:
        quick, slow = histogram([0.001] * 98), histogram([1.0] * 2)
        found = latencies(
            [snapshot(1, latencies={"order.send": quick}), snapshot(2, latencies={"order.send": slow})], START
        )["latency"]["order"]["send"]
        assert (found["count"], found["min"], found["max"], found["p99"]) == (100, 1.0, 1000.0, 1000.0)
        assert found["p95"] == pytest.approx(1.0, rel=RELATIVE_ERROR)

    def test_what_never_happened_has_no_figures(self) -> None:
        found = latencies([snapshot(1, latencies={"order.send": Histogram()})], START)["latency"]["order"]["send"]
        assert found["count"] == 0
        assert {found[name] for name in ("min", "max", "avg", "p50", "p95", "p99", "last_update")} == {None}

    def test_merging_leaves_the_snapshots_as_they_were(self) -> None:
        one, two = histogram([1.0]), histogram([2.0])
        histograms([snapshot(1, latencies={"a.b": one}), snapshot(2, latencies={"a.b": two})])
        assert (one.count, two.count) == (1, 1)
