"""Three clients trade by REST: what each was told is what the simulator holds."""

from decimal import Decimal
from typing import Any

import pytest

from tests.clients import sessions
from tests.clients.sessions import Session

pytestmark = pytest.mark.clients

_ORDER_FIELDS = ("order_id", "client_order_id", "side", "type", "status")
_UNIFIED = {"NEW": "open", "PARTIALLY_FILLED": "open", "FILLED": "closed", "CANCELED": "canceled"}
_REFUSED = {
    "poor": (-2010, "InsufficientFunds"),
    "tiny": (-1013, "BadRequest"),
    "twin": (-2010, "InvalidOrder"),
    "taking_maker": (-2010, "OrderImmediatelyFillable"),
    "unknown_cancel": (-2011, "OrderNotFound"),
    "unknown_order": (-2013, "OrderNotFound"),
    "forged": (-1022, "AuthenticationError"),
}


@pytest.fixture(scope="module", params=["python_binance", "binance_connector", "ccxt"])
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def session(client: str) -> Session:
    return sessions.run(client, "trade")


def test_every_order_is_read_back_as_the_simulator_holds_it(session: Session) -> None:
    told = [_facts(order) for order in session.report["orders"]]

    assert told == [_facts(order) for order in session.ledger["alice"]["orders"]]
    assert [order["client_order_id"] for order in session.report["orders"]] == [
        "market", "cost", "partial", "resting", "unwanted",
    ]  # fmt: skip


def test_market_orders_are_answered_as_filled_with_their_trades(session: Session) -> None:
    for name, owner in (("market", "alice"), ("cost", "alice"), ("hit", "bob")):
        answer, held = session.report["answers"][name], session.order(name, owner)
        fills = [fill for fill in session.ledger[owner]["fills"] if fill["order_id"] == held["order_id"]]

        assert _facts(answer) == _facts(held)
        assert answer["status"] == "FILLED"
        assert answer["fills"] == [fill["trade_id"] for fill in fills] != []


def test_a_market_buy_by_cost_spends_no_more_than_that(session: Session) -> None:
    spent = Decimal(session.report["answers"]["cost"]["quote_executed"])

    assert Decimal(199) < spent <= Decimal(200)


def test_a_resting_order_is_open_then_partly_filled_then_cancelled(session: Session) -> None:
    report = session.report
    stations = (report["answers"]["partial"], report["seen_partial"], report["cancels"]["partial"])

    assert [(order["status"], Decimal(order["executed"])) for order in stations] == [
        ("NEW", Decimal(0)),
        ("PARTIALLY_FILLED", Decimal("0.005")),
        ("CANCELED", Decimal("0.005")),
    ]


def test_cancelling_by_client_id_cancels_that_order(session: Session) -> None:
    cancelled = session.report["cancels"]["unwanted"]

    assert cancelled["order_id"] == session.order("unwanted")["order_id"]
    assert session.order("unwanted")["status"] == "CANCELED"


def test_open_orders_are_those_that_rest(session: Session) -> None:
    ids = {name: session.order(name)["order_id"] for name in ("partial", "resting", "unwanted")}

    assert session.report["open_before_cancel"] == list(ids.values())
    assert session.report["open_orders"] == [ids["resting"]]


def test_own_trades_are_the_simulators_fills(session: Session) -> None:
    told = [_amounts(trade) for trade in session.report["trades"]]

    assert told == [_amounts(fill) for fill in session.ledger["alice"]["fills"]]
    assert [trade["is_maker"] for trade in session.report["trades"]] == [False, False, True]


def test_balances_are_the_simulators_to_the_last_digit(session: Session) -> None:
    held = {
        asset: [Decimal(balance["free"]), Decimal(balance["locked"])]
        for asset, balance in session.ledger["alice"]["balances"].items()
    }

    assert {asset: [Decimal(part) for part in parts] for asset, parts in session.report["balances"].items()} == held
    assert held["USDT"][1] == Decimal(50)


def test_refusals_raise_what_the_client_documents(session: Session, client: str) -> None:
    refusals = session.report["refusals"]
    seen = {name: refusal and refusal[0] for name, refusal in refusals.items()}

    assert seen == {name: _REFUSED[name][client == "ccxt"] for name in _REFUSED}
    assert session.counters["orders"] == 6, "a refused order was accepted"


def test_public_data_is_understood(session: Session, client: str) -> None:
    market, (bid, ask) = session.report["market"], session.report["top"]

    assert market["symbol"] == "BTCUSDT"
    assert Decimal(bid) < Decimal(market["last"]) < Decimal(ask)
    assert (market["depth"], market["klines"], market["prices"]) == (20, 10, 2)
    assert Decimal(market["commission"]) == Decimal("0.001")


def test_no_client_complains(session: Session) -> None:
    assert session.report["stderr"] == ""


def test_a_client_with_statuses_of_its_own_translates_each(session: Session, client: str) -> None:
    report = session.report
    orders = [*report["orders"], *report["answers"].values(), report["seen_partial"]]
    translated = {order["status"]: order["unified_status"] for order in orders if "unified_status" in order}

    assert translated == (_UNIFIED if client == "ccxt" else {})


def _facts(order: Any) -> dict[str, Any]:
    """What must agree of an order. ccxt shows a market order's average price, so only limit prices count."""
    amounts = {name: Decimal(order[name]) for name in ("quantity", "executed", "quote_executed")}
    price = Decimal(order["price"]) if order["type"] == "LIMIT" else None
    return {**{name: order[name] for name in _ORDER_FIELDS}, **amounts, "price": price}


def _amounts(trade: Any) -> dict[str, Any]:
    same = ("trade_id", "order_id", "commission_asset", "is_buyer", "is_maker", "time_ms")
    amounts = {name: Decimal(trade[name]) for name in ("price", "quantity", "quote", "commission")}
    return {**{name: trade[name] for name in same}, **amounts}
