"""Clients listen: user events, market streams and a local book, beside what the simulator holds."""

from decimal import Decimal
from typing import Any

import pytest

from tests.clients import sessions
from tests.clients.sessions import Session

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def listening() -> Session:
    """python-binance trades by the WebSocket API and listens."""
    return sessions.run("python_binance", "stream")


@pytest.fixture(scope="module")
def connected() -> Session:
    """binance-connector trades by the WebSocket API and listens."""
    return sessions.run("binance_connector", "stream")


def _reports(session: Session) -> list[Any]:
    return [event for event in session.report["events"] if event["e"] == "executionReport"]


# the user stream


def test_the_user_stream_tells_every_change_of_every_order_in_order(listening: Session) -> None:
    told = [(event["C"] or event["c"], event["x"], event["X"]) for event in _reports(listening)]

    assert told == [
        ("market", "NEW", "NEW"),
        ("market", "TRADE", "FILLED"),
        ("partial", "NEW", "NEW"),
        ("partial", "TRADE", "PARTIALLY_FILLED"),
        ("partial", "CANCELED", "CANCELED"),
        ("resting", "NEW", "NEW"),
        ("resting", "CANCELED", "CANCELED"),
    ]


def test_the_last_report_of_each_order_is_its_state(listening: Session) -> None:
    last = {event["i"]: event for event in _reports(listening)}

    assert {order_id: (event["X"], *_numbers(event, "q", "z", "Z")) for order_id, event in last.items()} == {
        order["order_id"]: (order["status"], *_numbers(order, "quantity", "executed", "quote_executed"))
        for order in listening.ledger["alice"]["orders"]
    }


def test_the_trades_in_the_user_stream_are_the_fills(listening: Session) -> None:
    told = [
        (event["t"], event["i"], event["N"], event["m"], event["T"], *_numbers(event, "L", "l", "Y", "n"))
        for event in _reports(listening)
        if event["x"] == "TRADE"
    ]

    assert told == [
        (
            fill["trade_id"], fill["order_id"], fill["commission_asset"], fill["is_maker"], fill["time_ms"],
            *_numbers(fill, "price", "quantity", "quote", "commission"),
        )
        for fill in listening.ledger["alice"]["fills"]
    ]  # fmt: skip
    assert len(told) == 2


def test_the_last_positions_are_the_balances(listening: Session) -> None:
    positions = [event for event in listening.report["events"] if event["e"] == "outboundAccountPosition"]
    told = {balance["a"]: _numbers(balance, "f", "l") for event in positions for balance in event["B"]}

    assert told == _held(listening)
    assert {asset: [Decimal(part) for part in parts] for asset, parts in listening.report["balances"].items()} == told


# market streams


def test_every_kind_of_market_stream_is_understood(listening: Session) -> None:
    heard = listening.report["heard"]

    assert {name: event.get("e") for name, event in heard.items()} == {
        "trade": "trade",
        "aggTrade": "aggTrade",
        "bookTicker": None,
        "depth": "depthUpdate",
        "depth5": None,
        "kline": "kline",
        "miniTicker": "24hrMiniTicker",
        "ticker": "24hrTicker",
        "combined": None,
    }
    assert len(heard["depth5"]["bids"]) == len(heard["depth5"]["asks"]) == 5
    assert heard["combined"]["stream"] in ("btcusdt@trade", "btcusdt@bookTicker")


def test_the_public_trade_is_the_own_one(listening: Session) -> None:
    trade, aggregate = listening.report["heard"]["trade"], listening.report["heard"]["aggTrade"]
    fill = listening.ledger["alice"]["fills"][0]

    for event, first_id in ((trade, trade["t"]), (aggregate, aggregate["f"])):
        assert first_id == fill["trade_id"]
        assert _numbers(event, "p", "q") == _numbers(fill, "price", "quantity")
        assert event["m"] is False, "a market buy takes"


@pytest.mark.parametrize("client", ["python_binance", "ccxt"])
def test_a_local_book_of_a_moving_market_ends_as_the_exchanges(client: str) -> None:
    session = sessions.run(client, "book", speed=2.0)
    mine, theirs = session.report["mine"], session.report["theirs"]

    for side in ("bids", "asks"):
        assert _levels(mine[side]) == _levels(theirs[side]) != []


# binance-connector


def test_connector_orders_and_cancels_by_websocket(connected: Session) -> None:
    held, report = connected.order("near"), connected.report

    assert report["near"]["result"]["orderId"] == held["order_id"]
    assert report["near"]["result"]["status"] == "NEW"
    assert report["cancel"]["result"]["executedQty"] == "0.00500000"
    assert held["status"] == report["cancel"]["result"]["status"] == "CANCELED"
    assert report["again"]["error"]["code"] == -2011


def test_connector_reads_its_balances_by_websocket(connected: Session) -> None:
    told = {asset: [Decimal(part) for part in parts] for asset, parts in connected.report["balances"].items()}

    assert told == _held(connected)


def test_connector_hears_every_stream_it_subscribed_to(connected: Session) -> None:
    heard = connected.report["heard"]
    fill = connected.ledger["alice"]["fills"][0]

    assert heard["btcusdt@trade"]["t"] == heard["btcusdt@aggTrade"]["l"] == fill["trade_id"]
    assert _numbers(heard["btcusdt@bookTicker"], "b", "B") == [Decimal(fill["price"]), Decimal("0.02")]
    assert heard["btcusdt@depth@100ms"]["u"] >= heard["btcusdt@depth@100ms"]["U"]
    assert heard["btcusdt@kline_1m"]["k"]["i"] == "1m"
    assert heard["btcusdt@miniTicker"]["s"] == "BTCUSDT"


# ccxt


@pytest.fixture(scope="module")
def watching() -> Session:
    """ccxt trades by the WebSocket API and watches."""
    return sessions.run("ccxt", "stream")


def test_ccxt_watches_each_order_to_its_end(watching: Session) -> None:
    last = {client_id: (status, Decimal(filled)) for client_id, status, filled in watching.report["orders"]}

    assert last == {"market": ("closed", Decimal("0.01")), "partial": ("canceled", Decimal("0.005"))}
    assert [watching.order(name)["status"] for name in last] == ["FILLED", "CANCELED"]


def test_ccxt_watches_its_trades(watching: Session) -> None:
    same = ("trade_id", "order_id", "commission_asset", "is_buyer", "is_maker", "time_ms")
    amounts = ("price", "quantity", "quote", "commission")
    told, held = watching.report["trades"], watching.ledger["alice"]["fills"]

    assert [[trade[name] for name in same] for trade in told] == [[fill[name] for name in same] for fill in held]
    assert [_numbers(trade, *amounts) for trade in told] == [_numbers(fill, *amounts) for fill in held]
    assert [trade["is_maker"] for trade in told] == [False, True]


def test_ccxt_watches_its_balances(watching: Session) -> None:
    told = {asset: [Decimal(part) for part in parts] for asset, parts in watching.report["balance"].items()}

    assert told == _held(watching)


def _numbers(row: Any, *names: str) -> list[Decimal]:
    return [Decimal(row[name]) for name in names]


def _held(session: Session) -> dict[str, list[Decimal]]:
    balances = session.ledger["alice"]["balances"]
    return {asset: _numbers(balance, "free", "locked") for asset, balance in balances.items()}


def _levels(rows: list[list[Any]]) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(price), Decimal(quantity)) for price, quantity in rows]
