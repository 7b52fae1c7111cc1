"""How many orders a second a connection sends."""

from hypothesis import given
from hypothesis import strategies as st

from trading.engine.pace import WINDOW_SECONDS, Pace


def test_room_comes_back_when_the_oldest_is_a_window_old() -> None:
    pace = Pace()
    pace.count(10.0)
    pace.count(10.5)
    assert not pace.has_room(10.99, 2)
    assert pace.has_room(10.0 + WINDOW_SECONDS, 2)
    assert not pace.has_room(10.0 + WINDOW_SECONDS, 1)


def test_what_needn_t_ask_counts_too() -> None:
    pace = Pace()
    for _ in range(3):
        pace.count(10.0)
    assert not pace.has_room(10.5, 2)


@given(gaps=st.lists(st.floats(0, 0.7), max_size=60), limit=st.integers(1, 5))
def test_no_window_ever_holds_more_than_the_limit(gaps: list[float], limit: int) -> None:
    pace, now, sent = Pace(), 100.0, []
    for gap in gaps:
        now += gap
        if pace.has_room(now, limit):
            pace.count(now)
            sent.append(now)
    for start in sent:
        assert sum(start - WINDOW_SECONDS < each <= start for each in sent) <= limit
