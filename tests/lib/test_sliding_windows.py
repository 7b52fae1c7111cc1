"""Windows that slide: exact, all or nothing, shared by Redis, and still there when Redis isn't."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from desproject.lib import bus, sliding_windows
from desproject.lib.clock import ManualClock
from desproject.lib.sliding_windows import Full, LocalWindows, SharedWindows, Window

MINUTE = Window("a", 3, 60)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 21, tzinfo=UTC))


@pytest.fixture
def server(redis_server: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(redis_server)
    yield client
    client.flushdb()
    client.close()


def take(windows: LocalWindows | SharedWindows, *wanted: Window) -> Full:
    full = windows.take(wanted)
    assert full is not None, "it has room"
    return full


@pytest.mark.parametrize("kind", [LocalWindows, SharedWindows])
def test_so_many_and_no_more(server: redis.Redis, kind: type[LocalWindows | SharedWindows]) -> None:
    windows = kind()
    assert [windows.take([MINUTE]) for _ in range(3)] == [None] * 3
    full = take(windows, MINUTE)
    assert full.window == MINUTE
    assert 0 < full.retry_after <= 60


@pytest.mark.parametrize("kind", [LocalWindows, SharedWindows])
def test_what_one_window_refuses_counts_in_none(
    server: redis.Redis, kind: type[LocalWindows | SharedWindows]
) -> None:
    windows, everybody = kind(), Window("everybody", 4, 60)
    for _ in range(3):
        assert windows.take([everybody, MINUTE]) is None
    for _ in range(5):
        assert take(windows, everybody, MINUTE).window == MINUTE
    assert windows.take([everybody, Window("b", 3, 60)]) is None, "those five took nothing from the others"
    assert take(windows, everybody, Window("b", 3, 60)).window == everybody, "the first in order is named"


@pytest.mark.parametrize("kind", [LocalWindows, SharedWindows])
def test_only_the_first_refusal_is_news(server: redis.Redis, kind: type[LocalWindows | SharedWindows]) -> None:
    windows, small = kind(), Window("small", 1, 60)
    windows.take([small])
    assert [take(windows, small).is_news for _ in range(3)] == [True, False, False]


@given(st.lists(st.floats(min_value=0, max_value=40), max_size=40), st.integers(1, 5))
def test_no_stretch_of_time_holds_more_than_its_limit(pauses: list[float], limit: int) -> None:
    clock = ManualClock(datetime(2026, 11, 21, tzinfo=UTC))
    windows, window = LocalWindows(clock=clock), Window("a", limit, 60)
    taken: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        now = clock.monotonic()
        recent = sum(1 for at in taken if at + 60 > now)
        full = windows.take([window])
        assert (full is None) == (recent < limit), "full exactly when the limit was used up"
        if full is None:
            taken.append(now)
        else:
            assert now + full.retry_after == pytest.approx(taken[-limit] + 60)


def test_a_shared_window_slides(server: redis.Redis) -> None:
    windows = SharedWindows()
    for _ in range(3):
        assert windows.take([MINUTE]) is None
    # The server's own clock counts: instead of it, what it noted is put back by a minute.
    (oldest,) = (int(at) for at in server.lrange("des:window:a", 2, 2))
    server.lset("des:window:a", 2, str(oldest - 60_000_000))
    assert windows.take([MINUTE]) is None, "the oldest has left the window"
    assert windows.take([MINUTE]) is not None


def test_times_of_a_clock_that_was_put_back_count_for_nothing(server: redis.Redis) -> None:
    ahead = str(4_000_000_000_000_000)
    server.rpush("des:window:a", ahead, ahead, ahead)
    assert SharedWindows().take([MINUTE]) is None


def test_two_processes_share_a_window(server: redis.Redis) -> None:
    ours, theirs = SharedWindows(), SharedWindows()
    assert ours.take([MINUTE]) is theirs.take([MINUTE]) is ours.take([MINUTE]) is None
    assert take(theirs, MINUTE).window == MINUTE


def test_counters_are_forgotten_by_themselves(server: redis.Redis) -> None:
    SharedWindows().take([MINUTE])
    (key,) = server.scan_iter()
    assert 0 < server.pttl(key) <= 60_000  # type: ignore[operator]


def test_without_redis_each_process_counts_alone_and_asks_now_and_then(
    server: redis.Redis, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def away() -> redis.Redis:
        asked.append(clock.monotonic())
        return redis.Redis(port=1)

    monkeypatch.setattr(sliding_windows, "sync_client", away)
    windows = SharedWindows(clock)
    for _ in range(3):
        assert windows.take([MINUTE]) is None
    assert take(windows, MINUTE).is_news
    assert len(asked) == 1, "no request waits for a server that doesn't answer"
    monkeypatch.setattr(sliding_windows, "sync_client", bus.sync_client)
    clock.advance(10)
    assert windows.take([MINUTE]) is None, "it is back, and knows nothing of what was counted meanwhile"
    assert server.exists("des:window:a")


def test_the_keys_of_one_process_are_bounded() -> None:
    windows = LocalWindows(most=2)
    for name in "abc":
        windows.take([Window(name, 1, 60)])
    assert windows.take([Window("a", 1, 60)]) is None, "the longest unused was forgotten"
    assert windows.take([Window("c", 1, 60)]) is not None


def test_a_changed_limit_counts_at_once() -> None:
    windows = LocalWindows()
    for _ in range(5):
        windows.take([Window("a", 5, 60)])
    assert take(windows, Window("a", 2, 60)).window.limit == 2
    assert windows.take([Window("a", 6, 60)]) is None


