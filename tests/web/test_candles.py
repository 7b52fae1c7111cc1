"""GET /api/candles: stored bars first, then the exchange's, one answer for many pages, clear errors, never a hang."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from accounts.models import User
from connections import history
from connections.models import Connection
from desproject.lib.clock import SYSTEM_CLOCK, to_millis
from tests.web.exchange import ALICE_KEY, BOB_KEY, ThreadedExchange
from tests.web.rows import make_connection
from trading.models import Bar

FEED = "binance_spot:simulator"
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _fresh_history() -> Iterator[None]:
    history.shut_down()
    yield
    history.shut_down()


@pytest.fixture
def spot(alice: User) -> Connection:
    return make_connection(alice, ALICE_KEY)


def ask(client: APIClient, row: Connection, /, **query: Any) -> Any:
    return client.get("/api/candles", {"connection": str(row.pk), "symbol": "BTC/USDT", **query})


def this_minute() -> datetime:
    return SYSTEM_CLOCK.now().replace(second=0, microsecond=0)


def store(opened_at: datetime, close: str) -> None:
    Bar.objects.create(
        feed=FEED, symbol="BTC/USDT", timeframe="1m", opened_at=opened_at, open=Decimal(1), high=Decimal("9.5"),
        low=Decimal("0.5"), close=Decimal(close), volume=Decimal("2.50"),
    )


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings.CONFIG, "simulator_url", "http://127.0.0.1:9")


def test_the_exchanges_candles_come_oldest_first_with_the_growing_one(
    as_alice: APIClient, spot: Connection, exchange: ThreadedExchange
) -> None:
    before = this_minute()
    rows = ask(as_alice, spot, limit=5).json()["candles"]
    moments = [row[0] for row in rows]
    assert moments == sorted(moments)
    assert len(rows) == 5
    assert moments[-1] in {to_millis(before), to_millis(before + MINUTE)}
    for _, first, high, low, last, volume in rows:
        assert all(isinstance(value, str) for value in (first, high, low, last, volume))
        assert Decimal(low) <= min(Decimal(first), Decimal(last)) <= Decimal(high)


def test_before_pages_back_without_a_hole(as_alice: APIClient, spot: Connection, exchange: ThreadedExchange) -> None:
    newest = ask(as_alice, spot, limit=10).json()["candles"]
    before = datetime.fromtimestamp(newest[0][0] / 1000, tz=UTC).isoformat().replace("+00:00", "Z")
    older = ask(as_alice, spot, limit=10, before=before).json()["candles"]
    assert newest[0][0] - older[-1][0] == 60_000
    assert len(older) == 10


def test_a_stored_bar_stays_what_the_engine_saw(
    as_alice: APIClient, spot: Connection, exchange: ThreadedExchange
) -> None:
    store(this_minute() - 3 * MINUTE, "7")
    rows = {row[0]: row for row in ask(as_alice, spot, limit=10).json()["candles"]}
    assert rows[to_millis(this_minute() - 3 * MINUTE)][1:] == ["1", "9.5", "0.5", "7", "2.5"]


@pytest.mark.usefixtures("unreachable")
def test_what_is_stored_needs_no_exchange(as_alice: APIClient, spot: Connection) -> None:
    now = this_minute()
    for number in range(1, 7):
        store(now - number * MINUTE, str(number))
    stored = [row[4] for row in ask(as_alice, spot, limit=3, before=now - 2 * MINUTE).json()["candles"]]
    assert stored == ["5", "4", "3"]
    assert [row[4] for row in ask(as_alice, spot, limit=4).json()["candles"]][-3:] == ["3", "2", "1"]


@pytest.mark.usefixtures("unreachable")
def test_an_exchange_that_is_away_is_a_clear_503(as_alice: APIClient, spot: Connection) -> None:
    answer = ask(as_alice, spot)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "EXCHANGE_UNREACHABLE"


def test_an_exchange_that_never_answers_is_not_waited_for(
    as_alice: APIClient, spot: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(settings.CONFIG, "simulator_url", f"http://127.0.0.1:{silent.getsockname()[1]}")
        answer = ask(as_alice, spot)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "EXCHANGE_UNREACHABLE")


def test_many_pages_ask_the_exchange_once(
    as_alice: APIClient, as_bob: APIClient, spot: Connection, bob: User, exchange: ThreadedExchange,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(history, "GROWING_SECONDS", 60.0)
    bobs = make_connection(bob, BOB_KEY)
    before = this_minute() - MINUTE  # one page, also when two of them meet just now
    before_all = _asked(exchange)
    ask(as_alice, spot, limit=1, before=before)
    asked = _asked(exchange)
    assert asked == before_all + 1
    for _ in range(5):
        assert ask(as_bob, bobs, limit=1, before=before).status_code == 200
    assert _asked(exchange) == asked


def _asked(exchange: ThreadedExchange) -> int:
    return exchange.server.spot.requests["GET /api/v3/klines"]


def test_asking_without_end_is_refused_before_it_hurts_the_orders(
    as_alice: APIClient, spot: Connection, exchange: ThreadedExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PAGES_A_MINUTE", 2)
    answers = [ask(as_alice, spot, limit=1, timeframe=timeframe) for timeframe in ("1d", "12h", "8h", "6h")]
    assert [answer.status_code for answer in answers] == [200, 200, 503, 503]
    error = answers[-1].json()["error"]
    assert error["code"] == "EXCHANGE_THROTTLED"
    assert 0 < error["retry_after"] <= 60
    assert ask(as_alice, spot, limit=1, timeframe="1d").status_code == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"connection": "x"}, "connection"), ({"connection": ""}, "connection"), ({"symbol": "BTCUSDT"}, "symbol"),
        ({"symbol": "BTC/US\nDT"}, "symbol"), ({"symbol": "../../x"}, "symbol"), ({"symbol": ""}, "symbol"),
        ({"symbol": "A" * 30 + "/USDT"}, "symbol"), ({"timeframe": "7m"}, "timeframe"),
        ({"timeframe": "1M"}, "timeframe"),
        ({"limit": "0"}, "limit"), ({"limit": "1001"}, "limit"), ({"limit": "-5"}, "limit"),
        ({"limit": "NaN"}, "limit"),
        ({"limit": "1e3"}, "limit"), ({"before": "yesterday"}, "before"),
        ({"before": "2026-13-01T00:00:00Z"}, "before"),
        ({"before": "0001-01-01T00:00:00+14:00"}, "before"),
    ],
)  # fmt: skip
def test_bad_values_are_named(as_alice: APIClient, spot: Connection, query: dict[str, str], field: str) -> None:
    answer = ask(as_alice, spot, **query)
    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == [field]


def test_a_symbol_that_is_not_traded_is_named(
    as_alice: APIClient, spot: Connection, exchange: ThreadedExchange
) -> None:
    answer = ask(as_alice, spot, symbol="DOGE/USDT")
    assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, ["symbol"])


@pytest.mark.parametrize("before", ["1900-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])
def test_before_there_was_an_exchange_is_nothing(as_alice: APIClient, spot: Connection, before: str) -> None:
    assert ask(as_alice, spot, before=before).json() == {"candles": []}


def test_a_moment_to_come_is_now(as_alice: APIClient, spot: Connection, exchange: ThreadedExchange) -> None:
    future = ask(as_alice, spot, limit=3, before="9999-12-31T23:59:59Z").json()["candles"]
    assert [row[0] for row in future] == [row[0] for row in ask(as_alice, spot, limit=3).json()["candles"]]
