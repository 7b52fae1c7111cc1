"""Orders of perpetual contracts: by the API, a real engine and real streams to a simulated exchange and back."""

from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from accounts.models import User
from audit.models import AuditLog
from connections import database
from desproject.mismatches import compare
from tests.trading.engine import api_desk
from tests.trading.engine.api_desk import KEY, Desk, delete, get, put
from tests.trading.engine.harness import until
from trading.engine import liquidation
from trading.models import Balance, Command, Order, Position, Reservation, Trade

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_server")]
SYMBOL = "BTC/USDT:USDT"


def trading(user: User, monkeypatch: pytest.MonkeyPatch, usdt: str = "10000") -> AbstractAsyncContextManager[Desk]:
    """Alice's desk with perpetual contracts."""
    return api_desk.trading(
        user, "binance_usdm", monkeypatch, account={"balances": {"USDT": usdt}}, usual={"symbol": SYMBOL},
        perpetuals=("BTCUSDT",),
    )  # fmt: skip


async def theirs(desk: Desk) -> Any:
    return (await desk.simulator.control("GET", "/ledger"))["accounts"][KEY]


async def balances_agree(desk: Desk) -> bool:
    (ours,) = [row.total for row in await desk.rows(Balance)] or [None]
    return bool(ours == Decimal((await theirs(desk))["balances"]["USDT"]["free"]))


async def held(desk: Desk, quantity: str) -> Position:
    """The position once it has come to a quantity: an answer tells of fills, which come by themselves."""
    found: list[Position] = []

    async def is_so() -> bool:
        found[:] = await desk.rows(Position)
        return [row.quantity for row in found] == [Decimal(quantity)]

    await until(is_so)
    return found[0]


async def test_long_short_and_flat_are_booked_as_the_exchange_has_them(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(alice, monkeypatch) as desk:
        await desk.is_now(await desk.order(), "filled")
        long = await held(desk, "0.01")
        await desk.is_now(await desk.order(side="sell", quantity="0.03"), "filled")
        short = await held(desk, "-0.02")
        covered = await desk.order(quantity="0.02", reduce_only=True)
        flat = await held(desk, "0")
        await desk.is_now(covered, "filled")
        await until(lambda: balances_agree(desk))
        ledger = await theirs(desk)
        found = await database.run(_mismatches, await desk.simulator.control("GET", "/ledger"), desk, alice)
        trades, reservations = await desk.rows(Trade), await desk.rows(Reservation)

    assert (long.side, long.quantity) == ("long", Decimal("0.01"))
    assert (short.side, short.quantity, flat.quantity) == ("short", Decimal("-0.02"), 0)
    fees = sum(Decimal(fill["commission"]) for fill in ledger["fills"])
    assert sum(trade.fee for trade in trades) == fees
    assert {trade.fee_asset for trade in trades} == {"USDT"}
    # To the exchange's eight decimals: it cuts each average and each profit.
    earned = sum(Decimal(fill["realized"]) for fill in ledger["fills"])
    assert flat.realized_pnl == pytest.approx(earned - fees, abs=Decimal("0.000001"))
    assert all(row.released_at is not None and row.remaining == 0 for row in reservations)
    assert found == []


def _mismatches(ledger: Any, desk: Desk, user: User) -> list[Any]:
    return compare(ledger, {UUID(desk.connection): KEY}, [user.pk])


async def test_an_entry_reserves_its_margin_and_no_more_and_a_cancel_frees_it(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(alice, monkeypatch) as desk:
        short = await desk.order(type="limit", side="sell", quantity="2", price="70000")
        await desk.is_now(short, "submitted")
        (reservation,) = await desk.rows(Reservation)
        await database.run(delete, desk.client, f"/api/orders/{short}")
        await desk.is_now(short, "cancelled")
        (freed,) = await desk.rows(Reservation)

    # A twentieth of 140,000.
    assert (reservation.asset, reservation.amount) == ("USDT", Decimal(7000))
    assert (freed.remaining, freed.released_at is not None) == (0, True)


async def test_what_the_margin_doesnt_cover_is_denied_before_it_is_sent(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(alice, monkeypatch) as desk:
        first = await desk.order(type="limit", quantity="2.8", price="60000")
        await desk.is_now(first, "submitted")
        second = await desk.order(type="limit", side="sell", quantity="1", price="70000")
        denied = await desk.is_now(second, "rejected")
        sent = (await theirs(desk))["received"]

    assert denied["reject_code"] == "RISK_AVAILABLE_BALANCE"
    assert len(sent) == 1


async def test_what_a_position_ties_up_cant_be_used_again(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with trading(alice, monkeypatch, usdt="350") as desk:
        await desk.order(quantity="0.1")
        await held(desk, "0.1")
        denied = await desk.is_now(await desk.order(), "rejected")
        sent = (await theirs(desk))["received"]

    assert denied["reject_code"] == "RISK_AVAILABLE_BALANCE"
    assert len(sent) == 1


async def test_closing_needs_no_free_margin_and_goes_out_as_reduce_only(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(alice, monkeypatch, usdt="330") as desk:
        await desk.order(quantity="0.1")
        await held(desk, "0.1")
        closing = await desk.order(type="limit", side="sell", quantity="0.1", price="90000")
        await desk.is_now(closing, "submitted")
        more = await desk.is_now(await desk.order(side="sell", quantity="0.1", reduce_only=True), "rejected")
        orders = {str(row.pk): row for row in await desk.rows(Order)}
        reserved = {str(row.order_id): row.amount for row in await desk.rows(Reservation)}

    assert orders[closing].reduce_only
    assert reserved[closing] == 0
    # The first one closes all that there is.
    assert "nothing" in more["reject_reason"]


async def test_funding_moves_the_balance(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    async with trading(alice, monkeypatch) as desk:
        await desk.order()
        await held(desk, "0.01")
        await until(lambda: balances_agree(desk))
        (before,) = [row.total for row in await desk.rows(Balance)]
        await desk.simulator.control("POST", "/funding", {"symbol": "BTCUSDT"})

        async def paid() -> bool:
            (now,) = [row.total for row in await desk.rows(Balance)]
            return bool(now < before) and await balances_agree(desk)

        await until(paid)


async def test_an_unknown_outcome_is_settled_by_asking_and_nothing_is_sent_twice(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(alice, monkeypatch) as desk:
        await desk.simulator.fault("accept_then_timeout", method="POST", path="/fapi/v1/order", count=1)
        done = await desk.is_now(await desk.order(), "filled")
        ledger = await theirs(desk)

    assert list(ledger["received"].values()) == [1]
    assert Decimal(done["filled_quantity"]) == Decimal("0.01")


async def test_leverage_is_set_by_the_api_and_the_next_entry_reserves_by_it(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(alice, monkeypatch) as desk:
        path = f"/api/connections/{desk.connection}/leverage"
        usual = await database.run(get, desk.client, f"{path}?symbol={SYMBOL}")
        first = await desk.order(type="limit", quantity="0.1", price="50000")
        await desk.is_now(first, "submitted")
        told = await database.run(put, desk.client, path, {"symbol": SYMBOL, "leverage": 5})
        refused = await database.run(put, desk.client, path, {"symbol": SYMBOL, "leverage": 900})
        unknown = await database.run(put, desk.client, path, {"symbol": "BTC/USDT", "leverage": 5})
        # From then on entries wait until the account has been read anew.
        await until(lambda: _is_seen(desk))
        second = await desk.order(type="limit", quantity="0.1", price="50000")
        await desk.is_now(second, "submitted")
        amounts = {str(row.order_id): row.amount for row in await desk.rows(Reservation)}

    assert (usual["leverage"], usual["margin_type"]) == (20, "cross")
    assert (told.status_code, told.json()["leverage"]) == (200, 5)
    assert (refused.status_code, list(refused.json()["error"]["fields"])) == (400, ["leverage"])
    assert (unknown.status_code, list(unknown.json()["error"]["fields"])) == (400, ["symbol"])
    assert (amounts[first], amounts[second]) == (Decimal(250), Decimal(1000))


async def test_no_more_leverage_than_the_limit_is_set_or_traded_with(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading(alice, monkeypatch) as desk:
        limit = {"level": "connection", "id": desk.connection, "max_leverage": 10}
        assert (await database.run(put, desk.client, "/api/risk/policy", limit)).status_code == 200
        denied = await desk.is_now(await desk.order(type="limit", price="50000"), "rejected")
        path = f"/api/connections/{desk.connection}/leverage"
        refused = await database.run(put, desk.client, path, {"symbol": SYMBOL, "leverage": 11})
        allowed = await database.run(put, desk.client, path, {"symbol": SYMBOL, "leverage": 10})
        await until(lambda: _is_seen(desk))
        await desk.is_now(await desk.order(type="limit", price="50000"), "submitted")

    assert denied["reject_code"] == "RISK_LEVERAGE"
    assert refused.json()["error"]["fields"] == {"leverage": ["must be at most 10, by your risk limits"]}
    assert allowed.status_code == 200


async def test_a_position_tells_its_liquidation_price_and_an_alarm_comes_when_it_is_near(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    # At any distance below 100 % the alarm is due; at 0 none is.
    monkeypatch.setattr(liquidation, "_NEAR", Decimal(1))
    monkeypatch.setattr(liquidation, "_SHORTEST_SECONDS", 0.0)
    async with trading(alice, monkeypatch, usdt="1000") as desk:
        await desk.order(quantity="0.1")
        await held(desk, "0.1")

        async def is_told() -> bool:
            (row,) = await desk.rows(Position)
            return row.liquidation_price is not None and bool(await _alarms(desk))

        await until(is_told)
        (told,) = (await database.run(get, desk.client, "/api/positions"))["results"]
        (alarm,) = await _alarms(desk)
        await desk.order(side="sell", quantity="0.1", reduce_only=True)
        await held(desk, "0")

        async def is_clear() -> bool:
            (row,) = await desk.rows(Position)
            return row.liquidation_price is None and row.leverage is None

        await until(is_clear)

    assert told["leverage"] == 20
    assert 0 < Decimal(told["liquidation_price"]) < Decimal(told["average_price"])
    assert Decimal(alarm["liquidation_price"]) == Decimal(told["liquidation_price"])
    assert 0 < Decimal(alarm["distance"]) < 1


async def _alarms(desk: Desk) -> list[dict[str, Any]]:
    return [row.details for row in await desk.rows(AuditLog) if row.event_type == liquidation.NEAR]


async def _is_seen(desk: Desk) -> bool:
    return [row.done_at is not None for row in await desk.rows(Command)] == [True]
