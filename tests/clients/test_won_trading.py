"""ccxt trades and listens at the simulated Upbit and Bithumb: tokens, filters, orders and streams as others see it."""

from decimal import Decimal
from typing import Any

import pytest

from tests.clients import sessions
from tests.clients.sessions import Session

pytestmark = pytest.mark.clients

_ORDERS = {"cost": "closed", "sell": "closed", "ioc": "closed", "resting": "canceled", "near": "canceled"}
# ccxt has classes for Upbit's names only; for Bithumb's errors it shows the exchange's message.
_REFUSED = {
    "poor": ("InsufficientFunds", "insufficient balance"),
    "tiny": ("ExchangeError", "below the least total"),
    "off_step": ("ExchangeError", "does not fit the market's unit"),
    "burned": ("ExchangeError", "has been used before"),
    "ended": ("OrderNotFound", "was not found"),
    "unknown": ("OrderNotFound", "was not found"),
    "forged": ("AuthenticationError", "could not be verified"),
}


@pytest.fixture(scope="module", params=["upbit", "bithumb"])
def venue(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def session(venue: str) -> Session:
    return sessions.run("ccxt", "trade", exchange=venue, script="ccxt_won")


@pytest.fixture(scope="module")
def watching(venue: str) -> Session:
    return sessions.run("ccxt", "stream", exchange=venue, script="ccxt_won")


def _fills(session: Session, held: Any, owner: str = "alice") -> list[Any]:
    return [fill for fill in session.ledger[owner]["fills"] if fill["order_id"] == held["order_id"]]


def test_the_market_is_read(session: Session, venue: str) -> None:
    report = session.report

    assert report["top"][0] < report["top"][1]
    assert Decimal(report["last"]) == Decimal(session.order("hit", "bob")["quote_executed"]) / Decimal(
        session.order("hit", "bob")["executed"]
    ), "bob was the last to trade"
    assert (report["klines"], report["trades"] > 0) == (10, True)
    assert report["fee"] == ("0.001" if venue == "upbit" else None)


@pytest.mark.parametrize("name", _ORDERS)
def test_each_order_is_told_as_the_exchange_holds_it(session: Session, name: str) -> None:
    status, executed, fee, trades = session.report["orders"][name]
    held = session.order(name)
    fills = _fills(session, held)

    assert status == _ORDERS[name]
    assert Decimal(executed) == Decimal(held["executed"])
    assert Decimal(fee) == sum((Decimal(fill["commission"]) for fill in fills), Decimal(0))
    assert trades == len(fills)


def test_a_buy_by_its_total_spends_it_and_the_fee_on_top(session: Session) -> None:
    fills = _fills(session, session.order("cost"))

    assert 0 <= 200_000 - sum(Decimal(fill["quote"]) for fill in fills) < 1
    assert {fill["commission_asset"] for fill in fills} == {"KRW"}


def test_a_resting_order_was_hit_in_part_and_cancelled(session: Session) -> None:
    near = session.order("near")

    assert near["status"] == "CANCELED"
    assert 0 < Decimal(near["executed"]) == Decimal(session.order("hit", "bob")["executed"]) < Decimal("0.02")


def test_lists_name_the_open_and_the_ended(session: Session, venue: str) -> None:
    made = session.report["made"]

    assert session.report["open"] == [[made[name], name, "open"] for name in ("resting", "near")]
    assert session.report["cancelled"] == [made["resting"], made["near"]]
    assert set(session.report["ended"]) >= {made[name] for name in ("cost", "sell", "ioc")}
    if venue == "bithumb":
        assert session.report["by_client_id"] == made["near"]


def test_balances_are_the_exchanges(session: Session) -> None:
    for asset, (free, used) in session.report["balances"].items():
        amounts = session.ledger["alice"]["balances"][asset]
        assert (Decimal(free), Decimal(used)) == (Decimal(amounts["free"]), Decimal(amounts["locked"]))


@pytest.mark.parametrize("name", _REFUSED)
def test_refusals_are_understood(session: Session, venue: str, name: str) -> None:
    kind, message = session.report["refusals"][name]

    assert kind == (_REFUSED[name][0] if venue == "upbit" else "ExchangeError")
    assert _REFUSED[name][1] in message
    assert session.counters["orders"] == 6, "a refused order was accepted"


def test_an_orders_life_is_heard_by_the_private_socket(watching: Session) -> None:
    held, orders = watching.order("near"), watching.report["orders"]

    assert [row[1] for row in orders] == ["open", "open", "canceled"]
    assert {row[0] for row in orders} == {watching.report["near"]}
    assert [Decimal(row[2]) for row in orders] == [0, Decimal(held["executed"]), Decimal(held["executed"])]


def test_balances_are_heard_by_the_private_socket(watching: Session) -> None:
    for asset, (free, used) in watching.report["balance"].items():
        amounts = watching.ledger["alice"]["balances"][asset]
        assert (Decimal(free), Decimal(used)) == (Decimal(amounts["free"]), Decimal(amounts["locked"]))


def test_the_book_and_the_trades_are_heard_by_the_public_socket(watching: Session) -> None:
    fill = watching.ledger["alice"]["fills"][0]
    price, quantity, side = watching.report["trades"][-1]

    assert (Decimal(price), Decimal(quantity), side) == (Decimal(fill["price"]), Decimal(fill["quantity"]), "buy")
    for part in ("bids", "asks"):
        shown = watching.report["book"][part]
        assert len(shown) >= 15
        assert shown == watching.report["theirs"][part][: len(shown)]
