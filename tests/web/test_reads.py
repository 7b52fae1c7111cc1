"""Trades, positions, balances, signals, prices, the audit log: shapes and figures."""

from decimal import Decimal
from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from rest_framework.test import APIClient

from accounts.models import User
from connections.events import Quote
from connections.prices import PriceCache
from desproject.config import BASE_DIR
from desproject.lib import bus
from tests.web.conftest import access_token
from tests.web.exchange import ALICE_KEY
from tests.web.rows import Owned, make_everything


@pytest.fixture
def alices(alice: User) -> Owned:
    return make_everything(alice, ALICE_KEY)


def first(client: APIClient, name: str) -> dict[str, Any]:
    (row,) = client.get(f"/api/{name}").json()["results"]
    return row  # type: ignore[no-any-return]


def test_a_trade_has_its_shape(as_alice: APIClient, alices: Owned) -> None:
    assert first(as_alice, "trades") == {
        "id": str(alices.trade.pk), "order": str(alices.order.pk), "connection": str(alices.connection.pk),
        "exchange_trade_id": alices.trade.exchange_trade_id, "symbol": "BTC/USDT", "side": "buy", "quantity": "0.1",
        "price": "49000", "fee": "0.0001", "fee_asset": "BTC", "realized_pnl": "0", "liquidity": "",
        "paper": False,
        "executed_at": "2026-11-20T12:00:00Z",
    }


def test_available_is_what_neither_orders_nor_reservations_hold(as_alice: APIClient, alices: Owned) -> None:
    row = first(as_alice, "balances")
    assert (row["asset"], row["total"], row["reserved"], row["available"]) == ("USDT", "1000.25", "60.5", "939.75")


def test_a_position_without_a_price_says_so(as_alice: APIClient, alices: Owned) -> None:
    row = first(as_alice, "positions")
    assert (row["quantity"], row["average_price"]) == ("0.1", "49000")
    assert (row["mark_price"], row["unrealized_pnl"]) == (None, None)


async def _price(feed: str, bid: str, ask: str) -> None:
    cache, client = PriceCache(), bus.connect()
    cache.take(feed, Quote("BTC/USDT", 5_000_000, Decimal(bid), Decimal(1), Decimal(ask), Decimal(1)))
    await cache.mirror_once(client)
    await client.aclose()


@pytest.fixture
async def _priced(redis_server: str) -> None:
    await _price("binance_spot:simulator", "50000.5", "50001")
    await _price("binance_spot:live", "1", "2")


@pytest.mark.usefixtures("_priced")
def test_positions_are_worth_what_they_could_be_sold_at(as_alice: APIClient, alices: Owned) -> None:
    row = first(as_alice, "positions")
    assert (row["mark_price"], row["unrealized_pnl"]) == ("50000.5", "100.05")


@pytest.mark.usefixtures("_priced")
def test_prices_of_a_feed(as_alice: APIClient, alices: Owned) -> None:
    own = {"feed": "binance_spot:simulator", "symbol": "BTC/USDT", "last": None, "bid": "50000.5", "ask": "50001",
           "seen_ms": 5}  # fmt: skip
    assert as_alice.get("/api/prices").json() == [own]
    assert as_alice.get("/api/prices?feed=binance_spot:simulator").json() == [own]
    assert [row["bid"] for row in as_alice.get("/api/prices?feed=binance_spot:live").json()] == ["1"]
    assert as_alice.get("/api/prices?feed=upbit:live").json() == []


@pytest.mark.parametrize("feed", ["*", "binance_spot", "x:live%0ax", "a" * 200 + ":live", "../x:live"])
def test_bad_feeds_are_refused(as_alice: APIClient, feed: str) -> None:
    assert as_alice.get(f"/api/prices?feed={feed}").status_code == 400


def test_the_signal_says_what_was_seen(as_alice: APIClient, alices: Owned) -> None:
    row = first(as_alice, "signals")
    assert (row["strategy_instance"], row["action"], row["price"], row["decision"]) == (
        str(alices.instance.pk), "enter", "50000", "ordered"
    )


def test_the_audit_log_shows_what_was_done(as_alice: APIClient, alices: Owned) -> None:
    as_alice.post("/api/logout")
    as_alice.credentials(HTTP_AUTHORIZATION=f"Bearer {access_token(alices.user)}")
    rows = as_alice.get("/api/audit-logs").json()["results"]
    assert [row["event_type"] for row in rows] == ["logout", "connection.created"]
    assert rows[0]["ip"] == "127.0.0.1"


@pytest.mark.parametrize(
    "name", ["trades", "positions", "balances", "signals", "audit-logs", "connections", "risk/metrics", "orders"]
)
def test_lists_take_few_queries(
    as_alice: APIClient, alices: Owned, name: str, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(5):
        as_alice.get(f"/api/{name}")


def test_the_schema_is_valid_and_without_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    schema = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    validate_schema(schema)  # type: ignore[no-untyped-call]
    assert "arning" not in capsys.readouterr().err


def test_the_schema_and_its_pages_are_served(client: Any) -> None:
    assert client.get("/api/schema").status_code == 200
    docs = client.get("/api/docs")
    assert docs.status_code == 200
    assert "/static/drf_spectacular_sidecar/" in docs.content.decode()
    assert "https://" not in docs.content.decode(), "nothing comes from elsewhere"


_OWN_FILES = sorted(path.name for path in (BASE_DIR / "templates/static/console").iterdir())


@pytest.mark.parametrize("name", _OWN_FILES)
def test_the_consoles_files_are_served_and_make_no_markup_of_text(client: Any, name: str) -> None:
    answer = client.get(f"/static/console/{name}")
    assert answer.status_code == 200
    content = b"".join(answer.streaming_content)
    for maker in (b"innerHTML", b"outerHTML", b"insertAdjacentHTML", b"document.write", b"eval(", b"new Function"):
        assert maker not in content


def test_the_charts_module_is_served_as_a_script(client: Any) -> None:
    answer = client.get("/static/vendor/lightweight-charts/lightweight-charts.standalone.production.mjs")
    assert answer["Content-Type"].startswith("text/javascript")
    assert b"createChart" in b"".join(answer.streaming_content)
