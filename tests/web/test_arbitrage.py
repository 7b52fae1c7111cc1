"""The two sides of an arbitrage over HTTP: what is refused, by field, and what is told of its fires."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections.models import Connection
from tests.web.exchange import ALICE_KEY, BOB_KEY, ThreadedExchange
from tests.web.rows import Owned, make_connection, make_everything, make_instance
from trading.models import ArbitrageFire


@pytest.fixture
def sides(alice: User) -> tuple[Connection, Connection]:
    return make_connection(alice, ALICE_KEY), make_connection(alice, BOB_KEY, "second")


def create(client: APIClient, sides: tuple[Connection, Connection], /, **changes: Any) -> Any:
    body = {
        "name": "both", "strategy": "arbitrage", "connection": str(sides[0].pk), "connection_b": str(sides[1].pk),
        "symbol": "BTC/USDT", "timeframe": "1m", "params": {}, "sizing": {"type": "quote_amount", "amount": "100"},
        **changes,
    }  # fmt: skip
    return client.post("/api/strategy-instances", body, format="json")


def test_an_arbitrage_has_two_sides(
    as_alice: APIClient, sides: tuple[Connection, Connection], exchange: ThreadedExchange
) -> None:
    answer = create(as_alice, sides)
    assert answer.status_code == 201, answer.content
    assert answer.json()["connection_b"] == str(sides[1].pk)


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"connection_b": None}, "connection_b", "needs a second connection"),
        ({"connection_b": "first"}, "connection_b", "another connection"),
        ({"strategy": "rsi"}, "connection_b", "only an arbitrage"),
        ({"symbol": "BTC/USDT:USDT"}, "symbol", "spot"),
        ({"symbol": "NONE/USDT"}, "symbol", "not traded on spot"),
        ({"params": {"min_profit_rate": 0.02, "max_profit_rate": 0.01}}, "params.max_profit_rate", "at least"),
        ({"params": {"fee_rate": -1}}, "params.fee_rate", "greater"),
    ],
)
def test_what_cant_be_is_refused_by_field(
    as_alice: APIClient, sides: tuple[Connection, Connection], exchange: ThreadedExchange,
    changes: dict[str, Any], field: str, said: str,
) -> None:  # fmt: skip
    if changes.get("connection_b") == "first":
        changes = {"connection_b": str(sides[0].pk)}
    answer = create(as_alice, sides, **changes)
    assert answer.status_code == 400, answer.content
    assert said in answer.json()["error"]["fields"][field][0]


def test_an_arbitrage_that_isnt_even_keeps_its_instance_and_its_connections(as_alice: APIClient, alice: User) -> None:
    owned = make_everything(alice, ALICE_KEY)
    with tenant_scope(alice.pk):
        ArbitrageFire.objects.update(status="exposed")
    answer = as_alice.delete(f"/api/strategy-instances/{owned.instance.pk}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "FIRE_UNSETTLED")


def test_the_second_side_is_in_use_too(
    as_alice: APIClient, sides: tuple[Connection, Connection], exchange: ThreadedExchange
) -> None:
    make_instance(sides[0], strategy="arbitrage", connection_b=sides[1], params={}, status="running")
    answer = as_alice.delete(f"/api/connections/{sides[1].pk}")
    assert answer.status_code == 409
    assert "dip buyer" in answer.json()["error"]["message"]


def test_fires_are_told_with_their_legs(as_alice: APIClient, alice: User) -> None:
    owned: Owned = make_everything(alice, ALICE_KEY)
    (fire,) = as_alice.get(f"/api/strategy-instances/{owned.instance.pk}/fires").json()["results"]
    assert (fire["expected_profit"], fire["profit"], fire["exposed_seconds"]) == ("5", None, None)
    assert [(leg["role"], leg["order"]) for leg in fire["legs"]] == [("buy", str(owned.order.pk))]
