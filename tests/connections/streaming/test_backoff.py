"""Pauses between tries, and cuts that are too many."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from connections.streaming.kept_socket import Backoff, CutWatch
from desproject.lib.clock import ManualClock


@given(st.floats(0.01, 60), st.integers(1, 200))
def test_pauses_grow_to_the_longest_and_never_beyond(longest: float, tries: int) -> None:
    backoff = Backoff(1.0, longest)
    pauses = [backoff.next() for _ in range(tries)]

    assert all(0 < pause <= longest for pause in pauses)
    assert pauses[0] <= min(1.0, longest)
    if 2.0 ** (tries - 1) >= longest:
        assert pauses[-1] >= longest / 2


def test_success_starts_again_from_the_shortest() -> None:
    backoff = Backoff(1.0, 30.0)
    for _ in range(10):
        backoff.next()
    backoff.reset()

    assert backoff.next() <= 1.0


def test_clients_are_spread() -> None:
    assert len({round(Backoff(1.0, 30.0).next(), 6) for _ in range(50)}) > 40


def cuts(clock: ManualClock, watch: CutWatch, count: int, every: float) -> list[bool]:
    """What is said of each of some cuts in a row."""
    said = []
    for _ in range(count):
        said.append(watch.is_too_much())
        clock.advance(every)
    return said


def test_the_sixth_cut_within_an_hour_is_too_much_and_said_once_an_hour() -> None:
    clock = ManualClock(datetime(2026, 11, 21, tzinfo=UTC))
    watch = CutWatch(clock)

    assert cuts(clock, watch, 8, 60) == [False] * 5 + [True] + [False] * 2
    clock.advance(3600)
    assert cuts(clock, watch, 6, 60)[-3:] == [False, False, True]


def test_five_cuts_an_hour_are_never_too_much() -> None:
    clock = ManualClock(datetime(2026, 11, 21, tzinfo=UTC))

    assert not any(cuts(clock, CutWatch(clock), 30, 721))
