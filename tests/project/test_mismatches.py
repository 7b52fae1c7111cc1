import copy
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections.models import Connection
from desproject.mismatches import compare
from trading.models import Balance, Order, OrderAttempt, Position, Reservation, Trade

KEY = "simulated-key"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

# What the exchange says when everything agrees with the rows of ``connection`` below.
LEDGER: dict[str, Any] = {
    "accounts": {
        KEY: {
            "orders": [
                {"client_order_id": "a1", "symbol": "BTCUSDT", "status": "FILLED", "executed": "0.02000"},
                {"client_order_id": "b1", "symbol": "BTCUSDT", "status": "EXPIRED", "executed": "0"},
            ],
            "fills": [
                {
                    "symbol": "BTCUSDT", "trade_id": 7, "price": "50000.00", "quantity": "0.02000",
                    "commission": "0.00002000", "commission_asset": "BTC",
                }
            ],
            "balances": {"USDT": {"free": "9000.00", "locked": "0"}, "BTC": {"free": "0.01998", "locked": "0"}},
            "received": {"a1": 1, "b1": 1},
            "accepted": {"a1": 1, "b1": 1},
        }
    }
}  # fmt: skip


@pytest.fixture
def connection(alice: User) -> Connection:
    """Alice's account: one order filled, one expired, balances and position to match."""
    with tenant_scope(alice.pk):
        connection: Connection = Connection.objects.create(
            user=alice, name="spot", exchange="binance_spot", mode="simulator", api_key_sealed="", api_secret_sealed="",
            api_key_masked="…", key_version=1,
        )  # fmt: skip
        rows: dict[str, Any] = {"user": alice, "connection": connection}
        filled = _order(rows, "a1", status="filled", quantity="0.02", filled_quantity="0.02", exchange_order_id="1")
        _order(rows, "b1", status="expired", quantity="0.01", filled_quantity="0", exchange_order_id="2")
        Trade.objects.create(
            **rows, order=filled, exchange_trade_id="7", symbol="BTC/USDT", side="buy", quantity=Decimal("0.02"),
            price=Decimal(50000), fee=Decimal("0.00002"), fee_asset="BTC", executed_at=MOMENT,
        )  # fmt: skip
        Position.objects.create(**rows, symbol="BTC/USDT", quantity=Decimal("0.01998"), average_price=Decimal(50000))
        Balance.objects.create(**rows, asset="USDT", total=Decimal(9000), as_of=MOMENT)
        Balance.objects.create(**rows, asset="BTC", total=Decimal("0.01998"), as_of=MOMENT)
        Reservation.objects.create(
            **rows, order=filled, asset="USDT", amount=Decimal(1001), remaining=Decimal(0), released_at=MOMENT
        )
    return connection


def _order(rows: dict[str, Any], client_id: str, **fields: Any) -> Order:
    amounts = {name: Decimal(fields.pop(name)) for name in ("quantity", "filled_quantity")}
    order: Order = Order.objects.create(
        **rows, symbol="BTC/USDT", side="buy", type="market", time_in_force="GTC", client_order_id=client_id,
        **amounts, **fields,
    )  # fmt: skip
    OrderAttempt.objects.create(
        **rows, client_order_id=client_id, order=order, shard=1, epoch=1, send_deadline=MOMENT, outcome="sent"
    )
    return order


def _kinds(connection: Connection, ledger: dict[str, Any]) -> list[str]:
    return [mismatch.kind for mismatch in compare(ledger, {connection.pk: KEY}, [connection.user_id])]


def test_two_sides_that_agree_have_no_difference(connection: Connection) -> None:
    assert _kinds(connection, LEDGER) == []


def _their_order_is_cancelled(account: dict[str, Any]) -> None:
    account["orders"][0]["status"] = "CANCELED"


def _their_order_has_executed_less(account: dict[str, Any]) -> None:
    account["orders"][0]["executed"] = "0.01999"


def _they_have_one_order_more(account: dict[str, Any]) -> None:
    account["orders"].append({**account["orders"][0], "client_order_id": "c1"})


def _they_never_saw_an_order(account: dict[str, Any]) -> None:
    del account["orders"][1]


def _they_received_an_order_again(account: dict[str, Any]) -> None:
    account["received"]["b1"] = 2


def _they_took_an_order_again(account: dict[str, Any]) -> None:
    account["accepted"]["a1"] = 2


def _they_have_one_fill_more(account: dict[str, Any]) -> None:
    account["fills"].append({**account["fills"][0], "trade_id": 8})


def _they_have_no_fill(account: dict[str, Any]) -> None:
    account["fills"].clear()


def _their_price_is_a_cent_off(account: dict[str, Any]) -> None:
    account["fills"][0]["price"] = "50000.01"


def _their_fee_is_in_another_asset(account: dict[str, Any]) -> None:
    account["fills"][0]["commission_asset"] = "BNB"


def _their_balance_is_off_in_the_last_digit(account: dict[str, Any]) -> None:
    account["balances"]["BTC"]["free"] = "0.01998001"


def _they_hold_an_asset_that_we_do_not_know(account: dict[str, Any]) -> None:
    account["balances"]["ETH"] = {"free": "0", "locked": "0.1"}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (_their_order_is_cancelled, "order_status"),
        (_their_order_has_executed_less, "order_filled"),
        (_they_have_one_order_more, "order_unknown_here"),
        (_they_never_saw_an_order, "order_unknown_there"),
        (_they_received_an_order_again, "sent_twice"),
        (_they_took_an_order_again, "accepted_twice"),
        (_they_have_one_fill_more, "fill_unknown_here"),
        (_they_have_no_fill, "fill_unknown_there"),
        (_their_price_is_a_cent_off, "fill_differs"),
        (_their_fee_is_in_another_asset, "fill_differs"),
        (_their_balance_is_off_in_the_last_digit, "balance"),
        (_they_hold_an_asset_that_we_do_not_know, "balance"),
    ],
)
def test_every_difference_has_its_name(
    connection: Connection, change: Callable[[dict[str, Any]], None], kind: str
) -> None:
    ledger = copy.deepcopy(LEDGER)
    change(ledger["accounts"][KEY])
    assert _kinds(connection, ledger) == [kind]


def _change(connection: Connection, model: Any, **fields: Any) -> None:
    with tenant_scope(connection.user_id):
        model.objects.filter(connection=connection).update(**fields)


def test_a_reservation_that_is_still_held_is_found(connection: Connection) -> None:
    _change(connection, Reservation, released_at=None, remaining=Decimal(3))
    assert _kinds(connection, LEDGER) == ["reservation_left"]


def test_a_position_that_its_trades_do_not_add_up_to_is_found(connection: Connection) -> None:
    _change(connection, Position, quantity=Decimal("0.02"))
    assert _kinds(connection, LEDGER) == ["position"]


def test_an_order_that_nobody_knows_the_end_of_is_found(connection: Connection) -> None:
    with tenant_scope(connection.user_id):
        Order.objects.filter(client_order_id="b1").update(status="unknown")
    assert set(_kinds(connection, LEDGER)) == {"order_unsettled", "order_status"}


@pytest.mark.parametrize(
    ("outcome", "kinds"), [("unknown", ["resent_blindly"]), ("", ["resent_blindly"]), ("not_sent", [])]
)
def test_a_second_attempt_may_follow_only_one_that_did_nothing(
    connection: Connection, outcome: str, kinds: list[str]
) -> None:
    """Both were received, and only the second was taken."""
    _change(connection, OrderAttempt, outcome=outcome)
    rows = {"user": User.objects.get(pk=connection.user_id), "connection": connection}
    with tenant_scope(connection.user_id):
        order = Order.objects.get(client_order_id="a1")
        OrderAttempt.objects.create(
            **rows, client_order_id="a2", order=order, number=2, shard=1, epoch=1, send_deadline=MOMENT
        )
    ledger = copy.deepcopy(LEDGER)
    ledger["accounts"][KEY]["orders"][0]["client_order_id"] = "a2"
    ledger["accounts"][KEY]["received"]["a2"] = 1
    assert _kinds(connection, ledger) == kinds


def test_an_order_given_up_as_never_sent_needs_no_counterpart(connection: Connection) -> None:
    rows = {"user": User.objects.get(pk=connection.user_id), "connection": connection}
    with tenant_scope(connection.user_id):
        _order(rows, "d1", status="expired", quantity="1", filled_quantity="0")
    assert _kinds(connection, LEDGER) == []


def test_a_difference_says_where_and_what(connection: Connection) -> None:
    ledger = copy.deepcopy(LEDGER)
    ledger["accounts"][KEY]["balances"]["USDT"]["free"] = "8999.5"
    (mismatch,) = compare(ledger, {connection.pk: KEY}, [connection.user_id])
    assert str(mismatch) == f"balance USDT on {connection.pk}: exchange 8999.5, database 9000"


def test_another_account_is_left_alone(connection: Connection) -> None:
    ledger = copy.deepcopy(LEDGER)
    ledger["accounts"]["foreign"] = {**ledger["accounts"][KEY], "orders": [{}]}
    nobody = UUID(int=0)
    assert compare(ledger, {connection.pk: KEY}, [connection.user_id, nobody]) == []


def test_won_exchanges_spell_markets_and_trades_their_own_way(alice: User) -> None:
    with tenant_scope(alice.pk):
        upbit: Connection = Connection.objects.create(
            user=alice, name="upbit", exchange="upbit", mode="simulator", api_key_sealed="", api_secret_sealed="",
            api_key_masked="…", key_version=1,
        )  # fmt: skip
        rows: dict[str, Any] = {"user": alice, "connection": upbit, "symbol": "BTC/KRW"}
        Position.objects.create(**rows, quantity=Decimal("0.02"))
        Trade.objects.create(
            **rows, exchange_trade_id="00000000-0000-0001-0000-000000000007", side="buy", quantity=Decimal("0.02"),
            price=Decimal(90_000_000), fee=Decimal(900), fee_asset="KRW", executed_at=MOMENT,
        )  # fmt: skip
    fill = {
        "symbol": "KRW-BTC", "trade_id": 7, "price": "90000000", "quantity": "0.02", "commission": "900",
        "commission_asset": "KRW",
    }  # fmt: skip
    ledger = {"accounts": {KEY: {"orders": [], "fills": [fill], "balances": {}, "received": {}, "accepted": {}}}}
    assert _kinds(upbit, ledger) == []
    fill["trade_id"] = 8
    assert sorted(_kinds(upbit, ledger)) == ["fill_unknown_here", "fill_unknown_there"]


def test_two_attempts_of_an_order_that_were_both_taken(connection: Connection) -> None:
    with tenant_scope(connection.user_id):
        order = Order.objects.get(client_order_id="b1")
        OrderAttempt.objects.create(
            user_id=connection.user_id, connection=connection, client_order_id="b1-2", number=2, order=order, shard=1,
            epoch=1, send_deadline=MOMENT,
        )  # fmt: skip
    ledger = copy.deepcopy(LEDGER)
    ledger["accounts"][KEY]["orders"].append(
        {"client_order_id": "b1-2", "symbol": "BTCUSDT", "status": "EXPIRED", "executed": "0"}
    )
    assert _kinds(connection, ledger) == ["placed_twice"]
