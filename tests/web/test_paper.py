"""Paper accounts and instances on paper, over HTTP."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tenancy import everyone
from connections.models import Connection
from tests.web.exchange import ALICE_KEY
from tests.web.rows import make_connection
from trading.models import StrategyInstance


@pytest.fixture
def connection(alice: User) -> Connection:
    return make_connection(alice, ALICE_KEY)


def made(client: APIClient, connection: Connection, mode: str = "paper") -> dict[str, Any]:
    body = {
        "name": "dips", "strategy": "rsi", "connection": str(connection.pk), "symbol": "BTC/USDT", "timeframe": "1m",
        "params": {}, "sizing": {"type": "quote_amount", "amount": "100"}, "mode": mode,
    }
    found: dict[str, Any] = client.post("/api/strategy-instances", body, format="json").json()
    return found


def test_an_instance_on_paper_opens_a_paper_account_and_shows_its_own_connection(
    as_alice: APIClient, connection: Connection
) -> None:
    instance = made(as_alice, connection)
    assert as_alice.post(f"/api/strategy-instances/{instance['id']}/start").json()["connection"] == str(connection.pk)
    real, twin = sorted(as_alice.get("/api/connections").json()["results"], key=lambda row: row["mode"] == "paper")
    assert (real["paper_of"], twin["paper_of"], twin["mode"]) == (None, str(connection.pk), "paper")
    assert twin["name"] == f"{connection.name} (paper)"
    assert (twin["api_key_masked"], twin["key_is_old"]) == ("", False)


def test_a_paper_account_begins_with_what_is_asked_for(as_alice: APIClient, connection: Connection) -> None:
    answer = as_alice.post(
        f"/api/connections/{connection.pk}/paper-account", {"balances": {"USDT": "250.5"}}, format="json"
    )
    assert answer.status_code == 201, answer.content
    with everyone():
        assert Connection.objects.get(pk=answer.json()["id"]).paper_start == {"USDT": "250.5"}


def test_a_connection_has_one_paper_account(as_alice: APIClient, connection: Connection) -> None:
    as_alice.post(f"/api/connections/{connection.pk}/paper-account")
    again = as_alice.post(f"/api/connections/{connection.pk}/paper-account")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "PAPER_ACCOUNT_OPEN")


@pytest.mark.parametrize("balances", [{"usdt": "1"}, {"USDT": "-1"}, {"USDT": 5.5}, "USDT"])
def test_bad_balances_are_named(as_alice: APIClient, connection: Connection, balances: object) -> None:
    answer = as_alice.post(f"/api/connections/{connection.pk}/paper-account", {"balances": balances}, format="json")
    assert answer.status_code == 400
    assert any(name.startswith("balances") for name in answer.json()["error"]["fields"])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("patch", "", {"api_key": "k", "api_secret": "s"}),
        ("post", "/test", {}),
        ("post", "/leaked", {}),
        ("post", "/paper-account", {}),
    ],
)
def test_a_paper_account_has_no_key(
    as_alice: APIClient, connection: Connection, method: str, path: str, body: dict[str, str]
) -> None:
    twin = as_alice.post(f"/api/connections/{connection.pk}/paper-account").json()["id"]
    answer = getattr(as_alice, method)(f"/api/connections/{twin}{path}", body, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "PAPER_ACCOUNT")


def test_a_paper_account_in_use_stays(as_alice: APIClient, connection: Connection) -> None:
    instance = made(as_alice, connection)
    as_alice.post(f"/api/strategy-instances/{instance['id']}/start")
    with everyone():
        twin = Connection.objects.get(paper_of=connection)
    assert as_alice.delete(f"/api/connections/{twin.pk}").status_code == 409
    as_alice.post(f"/api/strategy-instances/{instance['id']}/stop")
    assert as_alice.delete(f"/api/connections/{twin.pk}").status_code == 204


def test_a_connection_takes_its_paper_account_along(as_alice: APIClient, connection: Connection) -> None:
    as_alice.post(f"/api/connections/{connection.pk}/paper-account")
    assert as_alice.delete(f"/api/connections/{connection.pk}").status_code == 204
    with everyone():
        assert not Connection.objects.filter(is_deleted=False).exists()


def test_what_is_held_on_paper_stays_there(as_alice: APIClient, connection: Connection) -> None:
    instance = made(as_alice, connection)
    with everyone():
        StrategyInstance.objects.filter(pk=instance["id"]).update(held_quantity="0.5", state={"step": 1})
    answer = as_alice.patch(f"/api/strategy-instances/{instance['id']}", {"mode": "live"}, format="json")
    assert (answer.json()["mode"], answer.json()["held_quantity"]) == ("live", "0")
    with everyone():
        assert StrategyInstance.objects.get().state == {}


def test_what_is_held_live_must_be_sold_first(as_alice: APIClient, connection: Connection) -> None:
    instance = made(as_alice, connection, "live")
    with everyone():
        StrategyInstance.objects.filter(pk=instance["id"]).update(held_quantity="0.5")
    answer = as_alice.patch(f"/api/strategy-instances/{instance['id']}", {"mode": "paper"}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "INSTANCE_HOLDS")


def test_a_paper_account_is_never_live(as_alice: APIClient, connection: Connection) -> None:
    twin = as_alice.post(f"/api/connections/{connection.pk}/paper-account").json()["id"]
    with everyone():
        answer = made(as_alice, Connection.objects.get(pk=twin), "live")
    assert list(answer["error"]["fields"]) == ["mode"]


def test_an_order_on_a_paper_account_says_so(as_alice: APIClient, connection: Connection) -> None:
    twin = as_alice.post(f"/api/connections/{connection.pk}/paper-account").json()["id"]
    body = {"connection": twin, "symbol": "BTC/USDT", "side": "buy", "type": "market", "quantity": "0.01"}
    answer = as_alice.post("/api/orders", body, format="json")
    assert (answer.status_code, answer.json()["paper"]) == (202, True)
