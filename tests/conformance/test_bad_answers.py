"""What every gateway makes of an exchange that answers badly, changes its filters, or doesn't answer at all.

A read is tried again, or says that nothing can be had. A write whose answer can't be read leaves its outcome unknown,
and is found by its client id afterwards.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal

import pytest

from connections.exchanges import public
from connections.exchanges.network import MOST_BYTES
from connections.gateways import (
    Gateway,
    GatewayError,
    OrderRejected,
    OutcomeUnknown,
    ReportStatus,
    Side,
    SymbolRules,
    UnexpectedShape,
    Unreachable,
)
from connections.simulator.faults import FaultKind
from connections.simulator.matching import Side as SimSide
from connections.simulator.server import SimulatorServer
from desproject.lib.errors import InvalidInput
from tests.conformance.exchange_cases import Case
from tests.connections.conftest import BOB_KEY, deadline, strike
from tests.connections.streaming.conftest import until

_NO_ANSWERS = ("<html>maintenance</html>", "", "null", "[]", "{}", '"text"', "{", "\N{SNOWMAN}")


@contextmanager
def impatience() -> Iterator[None]:
    """Nobody waits long for an answer."""
    with pytest.MonkeyPatch.context() as patch:
        venues = [module for name, module in sys.modules.items() if name.startswith("connections.exchanges.")]
        for module in [module for module in venues if hasattr(module, "READ_SECONDS")]:
            for name in ("READ_SECONDS", "WRITE_SECONDS"):
                patch.setattr(module, name, 0.2)
        patch.setattr(public, "_READ_PAUSES", (0.01, 0.01))
        yield


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """The symbol table is read again with every use of it."""
    monkeypatch.setattr(public, "SYMBOLS_SECONDS", 0)


async def test_an_exchange_that_accepts_and_never_answers_is_not_waited_for(
    gateway: Gateway, case: Case, simulator: SimulatorServer
) -> None:
    await gateway.account()
    await gateway.rules(case.symbol)
    strike(simulator, "accept_then_timeout", seconds=60)
    with impatience():
        with pytest.raises(Unreachable):
            await gateway.account()
        with pytest.raises(OutcomeUnknown):
            await gateway.place_order(case.resting_order(), deadline())
    simulator.control.clear_faults()

    assert (await gateway.order(case.symbol, "order-1")).status is ReportStatus.WORKING
    assert simulator.faults.fired[FaultKind.ACCEPT_THEN_TIMEOUT] == 4, "three tries to read, one to write"


async def test_an_answer_that_breaks_off_is_none(gateway: Gateway, case: Case, simulator: SimulatorServer) -> None:
    strike(simulator, "truncated", path=case.account_path, count=1)
    assert (await gateway.account()).balances, "a read is tried again"

    strike(simulator, "truncated", path=case.order_path, method="POST", count=1)
    with pytest.raises(OutcomeUnknown):
        await gateway.place_order(case.resting_order(), deadline())

    assert (await gateway.order(case.symbol, "order-1")).status is ReportStatus.WORKING
    assert simulator.faults.fired[FaultKind.TRUNCATED] == 2


async def test_what_is_no_answer_to_an_order_leaves_it_unknown(
    gateway: Gateway, case: Case, simulator: SimulatorServer
) -> None:
    for number, page in enumerate(_NO_ANSWERS):
        strike(simulator, "malformed", path=case.order_path, method="POST", status=200, payload=page, count=1)
        with pytest.raises(OutcomeUnknown):
            await gateway.place_order(case.resting_order(f"order-{number}"), deadline())
        assert (await gateway.order(case.symbol, f"order-{number}")).status is ReportStatus.WORKING, page


async def test_what_is_no_answer_to_a_read_is_named(gateway: Gateway, case: Case, simulator: SimulatorServer) -> None:
    # A list of nothing is what a won exchange says of an account without money.
    for page in _NO_ANSWERS if case.tells_filters else set(_NO_ANSWERS) - {"[]"}:
        strike(simulator, "malformed", path=case.account_path, status=200, payload=page, count=1)
        with pytest.raises(UnexpectedShape):
            await gateway.account()


async def test_an_answer_without_a_field_is_named(gateway: Gateway, case: Case, simulator: SimulatorServer) -> None:
    strike(simulator, "renamed_field", path=case.account_path, field=case.balance_field)

    with pytest.raises(UnexpectedShape):
        await gateway.account()


async def test_an_answer_without_an_end_is_not_read_to_its_end(
    gateway: Gateway, case: Case, simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connections.exchanges.network.MOST_BYTES", 100_000)
    await gateway.rules(case.symbol)
    strike(simulator, "malformed", path=case.account_path, status=200, payload="[" + "0," * 100_000 + "0]")
    strike(simulator, "malformed", path=case.order_path, method="POST", status=200, payload=" " * 100_001)

    with pytest.raises(Unreachable, match="too long"):
        await gateway.account()
    with pytest.raises(OutcomeUnknown, match="too long"):
        await gateway.place_order(case.resting_order(), deadline())
    assert MOST_BYTES > 30_000_000, "Binance's table of symbols has more than ten million"


async def test_amounts_that_come_as_numbers_are_exact(gateway: Gateway, case: Case, simulator: SimulatorServer) -> None:
    strike(simulator, "numbers")
    best = case.best(SimSide.BUY)
    price = best + (await gateway.rules(case.symbol)).price_step_at(best)
    await gateway.place_order(case.limit_order(price, quantity="0.02"), deadline())
    await case.gateway(BOB_KEY).place_order(case.market_order("bobs", "0.008", Side.SELL), deadline())

    report = await gateway.order(case.symbol, "order-1")
    (fill,) = await gateway.fills(case.symbol, None, report.exchange_order_id)
    held = {row.asset: row.free + row.locked for row in (await gateway.account()).balances}

    assert (report.filled_quantity, report.price) == (Decimal("0.008"), price)
    assert (fill.quantity, fill.price) == (Decimal("0.008"), price)
    assert isinstance(held[case.quote], Decimal)
    assert simulator.faults.fired[FaultKind.NUMBERS] > 0


@pytest.mark.usefixtures("forgetful")
async def test_filters_that_change_while_des_runs_are_seen(gateway: Gateway, case: Case) -> None:
    if not case.tells_filters:
        pytest.skip("its filters are in its documents, not in an answer")
    before = await gateway.rules(case.symbol)
    market = case.exchange.markets[case.spelling]
    market.instrument = replace(market.instrument, tick=before.price_step * 10, min_notional=before.min_notional * 2)

    async def changed() -> SymbolRules:
        while (found := await gateway.rules(case.symbol)) == before:
            await asyncio.sleep(0.01)
        return found

    after = await asyncio.wait_for(changed(), 10)
    assert (after.price_step, after.min_notional) == (before.price_step * 10, before.min_notional * 2)
    with pytest.raises(OrderRejected):
        await gateway.place_order(case.limit_order(case.resting_price + before.price_step), deadline())


@pytest.mark.usefixtures("forgetful")
async def test_a_symbol_that_vanishes_is_refused_before_anything_is_sent(gateway: Gateway, case: Case) -> None:
    await gateway.rules(case.symbol)
    del case.exchange.markets[case.spelling]

    async def vanished() -> None:
        while True:
            await gateway.rules(case.symbol)
            await asyncio.sleep(0.01)

    with pytest.raises(InvalidInput):
        await asyncio.wait_for(vanished(), 10)
    with pytest.raises(InvalidInput):
        await gateway.place_order(case.resting_order(), deadline())
    assert case.front.order_requests == 0


@pytest.mark.usefixtures("forgetful")
async def test_a_table_of_symbols_that_cant_be_read_leaves_the_old_one(
    gateway: Gateway, case: Case, simulator: SimulatorServer
) -> None:
    before = await gateway.rules(case.symbol)
    strike(simulator, "malformed", path=case.info_path, status=200)
    await gateway.rules(case.symbol)
    await until(lambda: simulator.faults.fired[FaultKind.MALFORMED], "it was asked for again")

    assert await gateway.rules(case.symbol) == before
    assert (await gateway.place_order(case.resting_order(), deadline())).status is ReportStatus.WORKING


async def test_an_order_worth_too_little_is_a_rejection(gateway: Gateway, case: Case) -> None:
    with pytest.raises(OrderRejected) as caught:
        await gateway.place_order(case.limit_order(case.resting_price, quantity=case.too_little), deadline())

    assert caught.value.exchange_code == case.too_little_code


async def test_a_price_off_the_step_is_a_rejection(gateway: Gateway, case: Case) -> None:
    off = case.resting_price + (await gateway.rules(case.symbol)).price_step_at(case.resting_price) / 2

    with pytest.raises(OrderRejected):
        await gateway.place_order(case.limit_order(off), deadline())


async def test_every_error_is_one_of_the_contract(gateway: Gateway, case: Case, simulator: SimulatorServer) -> None:
    """Statuses and bodies that no document has."""
    for status in (204, 301, 402, 409, 451, 599):
        strike(simulator, "malformed", path=case.order_path, method="POST", status=status, payload="?", count=1)
        with pytest.raises(GatewayError):
            await gateway.place_order(case.resting_order(f"order-{status}"), deadline())
