"""How an arbitrage learns from its newest fires: pickier after failures and where exchanges are slow, within bounds."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from trading.arbitrage.adapting import Past, clean_share, latency_ratio, required_rate, watched

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LOWEST, HIGHEST = Decimal("0.001"), Decimal("0.005")


def fires(*clean: bool, latency_ms: float = 100) -> list[Past]:
    return [Past(each, latency_ms, NOW) for each in clean]


@given(st.lists(st.booleans(), max_size=20), st.floats(0, 1000))
def test_the_rate_stays_within_its_bounds(clean: list[bool], ratio: float) -> None:
    assert LOWEST <= required_rate(LOWEST, HIGHEST, fires(*clean), ratio) <= HIGHEST


def test_nothing_known_asks_for_the_lowest() -> None:
    assert required_rate(LOWEST, HIGHEST, [], 0) == LOWEST


def test_failures_raise_the_rate_and_successes_lower_it_again() -> None:
    half = required_rate(LOWEST, HIGHEST, fires(True, False), 1)
    assert half == LOWEST + LOWEST * 3 / 2
    assert required_rate(LOWEST, HIGHEST, fires(True, True, False), 1) < half


def test_latency_above_its_target_raises_the_rate() -> None:
    slow = latency_ratio(fires(True, latency_ms=300), 100, NOW)
    assert slow == 3
    assert required_rate(LOWEST, HIGHEST, fires(True), slow) == 3 * LOWEST


def test_an_excess_of_latency_fades_where_nothing_is_measured() -> None:
    past = fires(True, latency_ms=300)
    later = [latency_ratio(past, 100, NOW + timedelta(minutes=minutes)) for minutes in (0, 1, 2, 60)]
    assert later[:3] == [3, 2, 1.5]
    assert 1 <= later[3] < 1.01


def test_slow_exchanges_leave_the_best_pairs_watched() -> None:
    pairs = [("a", 0.5, 0.2), ("b", 2.0, 0.9), ("c", 0.5, 0.8), ("d", 0.5, 0.1)]
    assert watched(pairs) == {"b", "c"}
    assert watched([(key, 0.9, share) for key, _, share in pairs]) == {"a", "b", "c", "d"}


def test_one_pair_is_always_watched() -> None:
    assert watched([("a", 50.0, 0.0)]) == {"a"}
    assert watched([]) == set()


def test_the_share_of_clean_fires() -> None:
    assert clean_share([]) == 1
    assert clean_share(fires(True, False, False, True)) == 0.5
