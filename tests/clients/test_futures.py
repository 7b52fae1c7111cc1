"""Clients trade perpetual contracts and listen: what each was told is what the simulator holds."""

from decimal import Decimal
from typing import Any

import pytest

from tests.clients import sessions
from tests.clients.sessions import Session

pytestmark = pytest.mark.clients

_SCRIPTS = {"python_binance": "", "binance_futures_connector": "", "ccxt": "ccxt_usdm"}
# The exchange's code, and ccxt's class for it where it has one for addresses that aren't the exchange's.
_REFUSED = {
    "poor": (-2019, "ExchangeError"),
    "tiny": (-4164, "ExchangeError"),
    "twin": (-4116, "ExchangeError"),
    "no_position": (-2022, "ExchangeError"),
    "unknown_order": (-2013, "OrderNotFound"),
    "unknown_cancel": (-2011, "OrderNotFound"),
    "forged": (-1022, "AuthenticationError"),
}
_ASKED_OF_THE_EXCHANGE = {"leverage": -4028, "margin_type": -4046}
_STREAMS = {
    "btcusdt@aggTrade": "aggTrade",
    "btcusdt@bookTicker": "bookTicker",
    "btcusdt@depth@100ms": "depthUpdate",
    "btcusdt@kline_1m": "kline",
    "btcusdt@markPrice@1s": "markPriceUpdate",
    "btcusdt@miniTicker": "24hrMiniTicker",
}


@pytest.fixture(scope="module", params=_SCRIPTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def session(client: str) -> Session:
    return sessions.run(client, "futures", exchange="binance_usdm", script=_SCRIPTS[client])


@pytest.fixture(scope="module", params=["python_binance", "binance_futures_connector"])
def listening(request: pytest.FixtureRequest) -> Session:
    return sessions.run(request.param, "futures_stream", exchange="binance_usdm")


@pytest.fixture(scope="module")
def watching() -> Session:
    return sessions.run("ccxt", "futures_stream", exchange="binance_usdm", script="ccxt_usdm")


def _numbers(row: Any, *names: str) -> list[Decimal]:
    return [Decimal(row[name]) for name in names]


# by REST


def test_every_order_is_read_back_as_the_simulator_holds_it(session: Session) -> None:
    held = [[order["client_order_id"], order["status"]] for order in session.ledger["alice"]["orders"]]

    assert session.report["orders"] == held
    assert held == [["long", "FILLED"], ["resting", "CANCELED"], ["partial", "CANCELED"], ["short", "FILLED"]]


def test_a_resting_order_is_open_then_partly_filled_then_cancelled(session: Session) -> None:
    status, executed = session.report["partial"]

    assert session.report["open"] == ["resting", "partial"]
    assert (status, Decimal(executed)) == ("PARTIALLY_FILLED", Decimal("0.005"))
    assert session.report["cancelled"] == ["CANCELED", "CANCELED"]
    assert Decimal(session.order("partial")["executed"]) == Decimal("0.005")


def test_the_position_turned_at_the_price_of_the_sale(session: Session) -> None:
    quantity, entry = session.report["position"]
    bid, _ask = session.report["top"]

    assert (Decimal(quantity), Decimal(entry)) == (Decimal("-0.02"), Decimal(bid))
    assert (session.report["leverage"], Decimal(session.report["long"])) == (10, Decimal("0.01"))


def test_trades_and_balance_are_the_ledgers(session: Session) -> None:
    fills = session.ledger["alice"]["fills"]

    assert [(trade_id, Decimal(earned), is_maker) for trade_id, earned, is_maker in session.report["trades"]] == [
        (fill["trade_id"], Decimal(fill["realized"]), fill["is_maker"]) for fill in fills
    ]
    held = Decimal(session.ledger["alice"]["balances"]["USDT"]["free"])
    assert Decimal(session.report["wallet"]) == Decimal(session.report["balance"]) == held
    assert session.report["income"] == ["COMMISSION", "REALIZED_PNL"]


def test_a_stop_goes_where_stops_live_now(session: Session, client: str) -> None:
    if client == "binance_futures_connector":  # it knows only the old way, and the exchange doesn't any more
        assert session.report["refusals"]["old_stop"][0] == -4120
    else:
        assert session.report["stop"] == ["stop", "NEW", "STOP_MARKET"]


def test_refusals_raise_what_the_client_documents(session: Session, client: str) -> None:
    seen = {name: refusal and refusal[0] for name, refusal in session.report["refusals"].items()}

    assert {name: seen[name] for name in _REFUSED} == {name: _REFUSED[name][client == "ccxt"] for name in _REFUSED}
    if client == "ccxt":  # it looks at leverage by itself, and finds nothing wrong with a margin type that is set
        assert seen["leverage"] == "BadRequest"
    else:
        assert {name: seen[name] for name in _ASKED_OF_THE_EXCHANGE} == _ASKED_OF_THE_EXCHANGE
    assert session.counters["orders"] == 5, "a refused order was accepted"


def test_public_data_is_understood(session: Session) -> None:
    market, (bid, ask) = session.report["market"], session.report["top"]

    assert session.report["symbols"] == ["BTCUSDT"]
    assert Decimal(bid) < Decimal(market["mark"]) < Decimal(ask)
    assert (market["depth"], market["klines"], market["brackets"]) == (20, 10, 125)
    assert Decimal(market["commission"]) == Decimal("0.0005")


def test_no_client_complains(session: Session) -> None:
    assert session.report["stderr"] == ""


# by streams


def test_the_user_stream_tells_every_change_of_every_order_in_order(listening: Session) -> None:
    reports = [event["o"] for event in listening.report["events"] if event["e"] == "ORDER_TRADE_UPDATE"]
    (fill,) = listening.ledger["alice"]["fills"]

    assert [(report["c"], report["x"], report["X"]) for report in reports] == [
        ("long", "NEW", "NEW"),
        ("long", "TRADE", "FILLED"),
        ("resting", "NEW", "NEW"),
        ("resting", "CANCELED", "CANCELED"),
    ]
    assert (reports[1]["t"], *_numbers(reports[1], "L", "l", "n", "rp")) == (
        fill["trade_id"], *_numbers(fill, "price", "quantity", "commission", "realized"),
    )  # fmt: skip


def test_the_account_event_tells_wallet_and_position(listening: Session) -> None:
    (told,) = [event["a"] for event in listening.report["events"] if event["e"] == "ACCOUNT_UPDATE"]

    assert _numbers(told["B"][0], "wb") == _numbers(listening.ledger["alice"]["balances"]["USDT"], "free")
    assert _numbers(told["P"][0], "pa", "ep") == [
        Decimal("0.01"), Decimal(listening.ledger["alice"]["fills"][0]["price"]),
    ]  # fmt: skip


def test_every_kind_of_market_stream_is_heard_at_its_address(listening: Session) -> None:
    heard = listening.report["heard"]

    assert {name: event["e"] for name, event in heard.items()} == _STREAMS
    assert {event["s"] for event in heard.values()} == {"BTCUSDT"}
    assert heard["btcusdt@depth@100ms"]["u"] >= heard["btcusdt@depth@100ms"]["U"]


def test_ccxt_watches_orders_trades_positions_and_balance(watching: Session) -> None:
    report, (fill,) = watching.report, watching.ledger["alice"]["fills"]

    assert [(name, status, Decimal(filled)) for name, status, filled in report["orders"]] == [
        ("long", "open", 0), ("long", "closed", Decimal("0.01")), ("resting", "open", 0), ("resting", "canceled", 0),
    ]  # fmt: skip
    ((trade_id, *amounts, liquidity),) = report["trades"]
    assert (trade_id, liquidity) == (fill["trade_id"], "taker")
    assert [Decimal(amount) for amount in amounts] == _numbers(fill, "price", "quantity", "commission")
    side, contracts, entry = report["positions"][-1]
    assert (side, Decimal(contracts), Decimal(entry)) == ("long", Decimal("0.01"), Decimal(fill["price"]))
    assert Decimal(report["balance"]) == Decimal(watching.ledger["alice"]["balances"]["USDT"]["free"])
    assert report["book"]["bids"][0][0] < report["book"]["asks"][0][0]
