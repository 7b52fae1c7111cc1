from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from desproject.lib.clock import SYSTEM_CLOCK, ManualClock, from_millis, to_millis

START = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.integers(0, 4 * 10**12))
def test_millis_survive_the_way_there_and_back(millis: int) -> None:
    assert to_millis(from_millis(millis)) == millis


def test_millis_are_utc() -> None:
    assert from_millis(0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert to_millis(datetime(1970, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))) == 0


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(START)
    assert (clock.now(), clock.monotonic()) == (START, 0)
    clock.advance(1.5)
    assert (clock.now(), clock.monotonic()) == (START + timedelta(seconds=1.5), 1.5)


def test_the_system_clock_is_aware_and_never_runs_backwards() -> None:
    assert SYSTEM_CLOCK.now().utcoffset() == timedelta(0)
    ticks = [SYSTEM_CLOCK.monotonic() for _ in range(100)]
    assert ticks == sorted(ticks)
