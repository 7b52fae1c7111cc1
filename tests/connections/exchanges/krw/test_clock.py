"""The won exchanges tell their time in whole seconds: what each answer says bounds it, and stamps go by it."""

from datetime import UTC, datetime

import pytest

from connections.exchanges.krw.gateway import KrwGateway
from connections.exchanges.server_clock import DateClock
from connections.simulator.server import SimulatorServer
from desproject.lib.clock import ManualClock
from tests.connections.conftest import deadline, strike
from tests.connections.exchanges.krw.conftest import gateway, market_order, name, won

__all__ = ["gateway", "name", "won"]

START = datetime(2026, 11, 21, tzinfo=UTC)
AHEAD_MS = 90_400


def ask(found: DateClock, clock: ManualClock, *, ahead_ms: float = AHEAD_MS, trip: float = 0.04) -> None:
    """One request to an exchange whose clock is ahead of ours, answered half-way."""
    sent = clock.monotonic()
    clock.advance(trip / 2)
    told = int((clock.now().timestamp() * 1000 + ahead_ms) // 1000 * 1000)
    clock.advance(trip / 2)
    found.heard(told, sent, clock.monotonic())


def error_ms(found: DateClock, clock: ManualClock) -> float:
    """How far it is behind the exchange."""
    return clock.now().timestamp() * 1000 + AHEAD_MS - found.now_ms()


def test_whole_seconds_are_narrowed_down_to_the_way_there_and_back() -> None:
    clock = ManualClock(START)
    found = DateClock(clock)
    ask(found, clock)
    assert 0 <= error_ms(found, clock) <= 1040, "one answer: a second and the way"

    for _ in range(60):
        clock.advance(0.237)
        ask(found, clock)

    assert 0 <= error_ms(found, clock) < 80
    assert found.skew_ms == pytest.approx(AHEAD_MS, abs=60)


def test_a_clock_that_was_set_is_followed_at_once() -> None:
    clock = ManualClock(START)
    found = DateClock(clock)
    for _ in range(20):
        clock.advance(0.237)
        ask(found, clock, ahead_ms=-30_000)

    ask(found, clock)

    assert 0 <= error_ms(found, clock) <= 1040


async def test_stamps_are_the_exchanges_time_though_the_clocks_differ_by_hours(
    gateway: KrwGateway, won: SimulatorServer, name: str
) -> None:
    """Bithumb refuses stamps that are a minute off."""
    strike(won, "clock_skew", milliseconds=-7_200_000)

    await gateway.rules("BTC/KRW")
    await gateway.place_order(market_order(), deadline())

    assert gateway._public.clock.skew_ms == pytest.approx(-7_200_000, abs=1_500)
