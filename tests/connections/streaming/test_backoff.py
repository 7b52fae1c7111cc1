"""Pauses between tries."""

from hypothesis import given
from hypothesis import strategies as st

from connections.streaming.kept_socket import Backoff


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
