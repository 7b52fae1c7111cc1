"""Orders at the won exchanges: by the API, a real engine and real streams to a simulated exchange and back."""

from contextlib import AbstractAsyncContextManager
from decimal import Decimal

import pytest

from accounts.models import User
from connections import database
from tests.connections.exchanges.krw.conftest import WON_VENUES
from tests.trading.engine import api_desk
from tests.trading.engine.api_desk import KEY, Desk, delete
from tests.trading.engine.harness import until
from trading.models import Balance, Order, OrderAttempt, Position, Reservation, Trade

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]


def trading(user: User, name: str, monkeypatch: pytest.MonkeyPatch) -> AbstractAsyncContextManager[Desk]:
    """Alice's desk at a won exchange."""
    account = {"balances": {"KRW": "100000000"}, "fees": {"maker": "0.0005", "taker": "0.0005"}}
    return api_desk.trading(
        user, name, monkeypatch, account=account, usual={"symbol": "BTC/KRW"}, won_markets=("KRW-BTC",)
    )


@pytest.fixture(params=WON_VENUES)
def name(request: pytest.FixtureRequest) -> str:
    """The venue's slug."""
    found: str = request.param
    return found


async def test_a_market_order_is_filled_and_booked_to_the_last_digit(
    alice: User, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(alice, name, monkeypatch) as desk:
        bought = await desk.is_now(await desk.order(), "filled")
        sold = await desk.is_now(await desk.order(side="sell", quantity="0.004"), "filled")
        ledger = (await desk.simulator.control("GET", "/ledger"))["accounts"][KEY]

        async def balances_agree() -> bool:
            held = {row.asset: row.total for row in await desk.rows(Balance)}
            return all(held.get(asset) == _total(amounts) for asset, amounts in ledger["balances"].items())

        await until(balances_agree)
        trades, (position,) = await desk.rows(Trade), await desk.rows(Position)
        reservations = await desk.rows(Reservation)
    assert Decimal(bought["filled_quantity"]) == Decimal("0.01")
    assert Decimal(sold["filled_quantity"]) == Decimal("0.004")
    # Fees are taken in won: what was bought is all there.
    assert position.quantity == Decimal("0.006")
    assert {trade.fee_asset for trade in trades} == {"KRW"}
    assert sum(trade.fee for trade in trades) == sum(Decimal(fill["commission"]) for fill in ledger["fills"])
    assert all(row.released_at is not None and row.remaining == 0 for row in reservations)
    assert set(ledger["received"].values()) == {1}


def _total(amounts: dict[str, str]) -> Decimal:
    return Decimal(amounts["free"]) + Decimal(amounts["locked"])


async def test_a_limit_order_is_rounded_to_the_steps_of_its_price_rests_and_is_cancelled(
    alice: User, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(alice, name, monkeypatch) as desk:
        order_id = await desk.order(type="limit", price="80000777.5")
        resting = await desk.is_now(order_id, "submitted")
        await database.run(delete, desk.client, f"/api/orders/{order_id}")
        await desk.is_now(order_id, "cancelled")
        ledger = (await desk.simulator.control("GET", "/ledger"))["accounts"][KEY]
    assert Decimal(resting["price"]) == 80_000_000
    assert [row["status"] for row in ledger["orders"]] == ["CANCELED"]
    assert all(Decimal(amounts["locked"]) == 0 for amounts in ledger["balances"].values())


async def test_an_unknown_outcome_is_settled_by_asking_and_nothing_is_sent_twice(
    alice: User, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(alice, name, monkeypatch) as desk:
        await desk.simulator.fault("accept_then_timeout", method="POST", count=1)
        done = await desk.is_now(await desk.order(), "filled")
        ledger = (await desk.simulator.control("GET", "/ledger"))["accounts"][KEY]
    assert len(ledger["orders"]) == 1
    assert list(ledger["received"].values()) == [1]
    assert Decimal(done["filled_quantity"]) == Decimal("0.01")


async def test_an_order_that_wasnt_taken_goes_out_again_under_another_id(
    alice: User, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first id counts as used, whatever the exchange did with it."""
    async with trading(alice, name, monkeypatch) as desk:
        await desk.simulator.fault("http_error", method="POST", status=429, message="too_many_requests", count=1)
        order_id = await desk.order()
        await desk.is_now(order_id, "filled")

        async def is_answered() -> bool:
            """The stream may tell of the fill before the order's own answer is booked; a busy machine may miss a send's
            deadline once more."""
            outcomes = [row.outcome for row in await desk.rows(OrderAttempt)]
            return set(outcomes) == {"accepted", "not_sent"} and outcomes.count("accepted") == 1

        await until(is_answered)
        attempts = await desk.rows(OrderAttempt)
        (order,) = await desk.rows(Order)
    assert len({attempt.client_order_id for attempt in attempts}) == len(attempts)
    assert order.client_order_id == next(row.client_order_id for row in attempts if row.outcome == "accepted")
