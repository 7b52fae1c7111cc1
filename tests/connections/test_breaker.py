"""The circuit breaker: what opens it, what passes, what closes it again."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from connections.breaker import Breaker, CircuitOpen, guarded
from connections.budget.urgency import Urgency, working_at
from connections.gateways import (
    Banned,
    DeadlinePassed,
    Gateway,
    GatewayError,
    KeyRefused,
    NothingHappened,
    OrderRejected,
    OutcomeUnknown,
    Throttled,
    UnexpectedShape,
    UnknownOrder,
    Unreachable,
)
from desproject.lib.clock import ManualClock

SECONDS = 300.0


class Exchange:
    """A gateway whose calls end as told; ``calls`` counts those that arrived."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: GatewayError | None = None
        self.hangs: asyncio.Event | None = None

    async def account(self) -> str:
        self.calls += 1
        if self.hangs is not None:
            await self.hangs.wait()
        if self.error is not None:
            raise self.error
        return "the account"

    async def cancel_order(self) -> str:
        return await self.account()

    async def order(self) -> str:
        return await self.account()

    async def rules(self, symbol: str) -> str:
        return symbol


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 21, tzinfo=UTC))


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def gateway(exchange: Exchange, clock: ManualClock) -> Any:
    return guarded(cast(Gateway, exchange), Breaker("a test", clock, failures=3, seconds=SECONDS))


async def fail(gateway: Any, exchange: Exchange, error: GatewayError, times: int) -> None:
    exchange.error = error
    for _ in range(times):
        with pytest.raises(type(error)):
            await gateway.account()
    exchange.error = None


async def is_open(gateway: Any) -> bool:
    try:
        await gateway.account()
    except CircuitOpen:
        return True
    return False


@pytest.mark.parametrize(
    "error", [Unreachable("cut"), OutcomeUnknown("silence"), NothingHappened("503"), UnexpectedShape("html")]
)
async def test_three_failures_in_a_row_open_it(gateway: Any, exchange: Exchange, error: GatewayError) -> None:
    await fail(gateway, exchange, error, 3)
    with pytest.raises(CircuitOpen) as refused:
        await gateway.account()
    assert exchange.calls == 3
    assert refused.value.retry_after == SECONDS


async def test_an_answer_between_failures_starts_the_count_anew(gateway: Any, exchange: Exchange) -> None:
    await fail(gateway, exchange, Unreachable("cut"), 2)
    await gateway.account()
    await fail(gateway, exchange, Unreachable("cut"), 2)
    assert not await is_open(gateway)


@pytest.mark.parametrize(
    "error", [OrderRejected("no money", exchange_code="-2010"), UnknownOrder("never seen"), KeyRefused("no")]
)
async def test_a_refusal_is_an_answer(gateway: Any, exchange: Exchange, error: GatewayError) -> None:
    await fail(gateway, exchange, Unreachable("cut"), 2)
    await fail(gateway, exchange, error, 5)
    await fail(gateway, exchange, Unreachable("cut"), 2)
    assert not await is_open(gateway)


@pytest.mark.parametrize("error", [Throttled("slower"), Banned("stop"), DeadlinePassed("too late")])
async def test_being_throttled_or_late_says_nothing(gateway: Any, exchange: Exchange, error: GatewayError) -> None:
    await fail(gateway, exchange, error, 5)
    assert not await is_open(gateway)
    await fail(gateway, exchange, Unreachable("cut"), 2)
    await fail(gateway, exchange, error, 1)
    await fail(gateway, exchange, Unreachable("cut"), 1)
    assert await is_open(gateway)


async def test_after_its_time_one_call_tries_and_closes_it(
    gateway: Any, exchange: Exchange, clock: ManualClock
) -> None:
    await fail(gateway, exchange, Unreachable("cut"), 3)
    clock.advance(SECONDS - 1)
    assert await is_open(gateway)
    clock.advance(1)
    exchange.hangs = asyncio.Event()
    probe = asyncio.create_task(gateway.account())
    await asyncio.sleep(0)
    assert await is_open(gateway)
    exchange.hangs.set()
    assert await probe == "the account"
    assert not await is_open(gateway)


async def test_a_probe_that_fails_opens_it_for_as_long_again(
    gateway: Any, exchange: Exchange, clock: ManualClock
) -> None:
    await fail(gateway, exchange, Unreachable("cut"), 3)
    clock.advance(SECONDS)
    await fail(gateway, exchange, Unreachable("cut"), 1)
    clock.advance(SECONDS - 1)
    assert await is_open(gateway)
    clock.advance(1)
    assert not await is_open(gateway)


async def test_a_probe_that_is_cancelled_leaves_the_try_to_the_next_call(
    gateway: Any, exchange: Exchange, clock: ManualClock
) -> None:
    await fail(gateway, exchange, Unreachable("cut"), 3)
    clock.advance(SECONDS)
    exchange.hangs = asyncio.Event()
    probe = asyncio.create_task(gateway.account())
    await asyncio.sleep(0)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    exchange.hangs = None
    assert await gateway.account() == "the account"


async def test_public_data_passes_and_counts_for_nothing(gateway: Any, exchange: Exchange) -> None:
    await fail(gateway, exchange, Unreachable("cut"), 2)
    assert await gateway.rules("BTC/USDT") == "BTC/USDT"
    await fail(gateway, exchange, Unreachable("cut"), 1)
    assert await is_open(gateway)
    assert await gateway.rules("BTC/USDT") == "BTC/USDT"


async def test_a_cancel_tries_an_exchange_that_failed_and_opens_the_way_for_all(
    gateway: Any, exchange: Exchange, clock: ManualClock
) -> None:
    await fail(gateway, exchange, Unreachable("away"), 3)
    clock.advance(5)

    assert await gateway.cancel_order() == "the account"
    assert not await is_open(gateway)


async def test_a_question_about_one_order_tries_too_and_one_about_the_account_does_not(
    gateway: Any, exchange: Exchange, clock: ManualClock
) -> None:
    await fail(gateway, exchange, Unreachable("away"), 3)
    clock.advance(5)

    assert await is_open(gateway)
    assert await gateway.order() == "the account"
    assert not await is_open(gateway)


async def test_cancels_that_fail_try_one_at_a_time_with_a_pause_between_them(
    gateway: Any, exchange: Exchange, clock: ManualClock
) -> None:
    await fail(gateway, exchange, Unreachable("away"), 3)
    exchange.error, seen = Unreachable("still away"), exchange.calls
    for _ in range(20):
        clock.advance(1)
        with pytest.raises(NothingHappened):
            await gateway.cancel_order()

    assert exchange.calls - seen == 4
    assert await is_open(gateway)


async def test_an_exit_may_try_too_and_an_entry_may_not(gateway: Any, exchange: Exchange, clock: ManualClock) -> None:
    await fail(gateway, exchange, Unreachable("away"), 3)
    clock.advance(5)

    with working_at(Urgency.ENTRY):
        assert await is_open(gateway)
    with working_at(Urgency.EXIT):
        assert not await is_open(gateway)
