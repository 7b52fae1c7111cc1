"""Placing, listing and cancelling orders over HTTP."""

from typing import Any

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tenancy import everyone, shard_of, tenant_scope
from connections.models import Connection
from desproject.lib import bus
from tests.web.exchange import ALICE_KEY, BOB_KEY
from tests.web.rows import make_connection, make_instance, make_order
from trading import order_queue
from trading.models import Command, Order


@pytest.fixture
def connection(alice: User) -> Connection:
    return make_connection(alice, ALICE_KEY)


def place(client: APIClient, connection: Connection, /, key: str | None = None, **changes: Any) -> Any:
    body = {
        "connection": str(connection.pk), "symbol": "BTC/USDT", "side": "buy", "type": "limit",
        "quantity": "0.010", "price": "50000.10", **changes,
    }
    headers = {"Idempotency-Key": key} if key is not None else {}
    return client.post("/api/orders", body, format="json", headers=headers)


def stored() -> list[Order]:
    with everyone():
        return list(Order.objects.all())


def test_an_order_is_accepted_and_kept(as_alice: APIClient, alice: User, connection: Connection) -> None:
    answer = place(as_alice, connection)
    assert answer.status_code == 202, answer.content
    body = answer.json()
    assert (body["quantity"], body["price"], body["status"]) == ("0.01", "50000.1", "new")
    assert body["created_at"].endswith("Z")
    (row,) = stored()
    assert (row.user_id, str(row.pk)) == (alice.pk, body["id"])


def test_the_engine_is_woken(
    as_alice: APIClient, alice: User, connection: Connection, monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    sent: list[bus.Wake] = []
    monkeypatch.setattr("trading.services.wake", sent.append)
    with django_capture_on_commit_callbacks(execute=True):
        place(as_alice, connection)
    assert sent == [bus.Wake(shard_of(alice.pk), alice.pk, "order")]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"quantity": "-1"}, "quantity"),
        ({"quantity": "0"}, "quantity"),
        ({"quantity": "0.000000000000000000"}, "quantity"),
        ({"quantity": "0.0000000000000000001"}, "quantity"),
        ({"quantity": "0.123456789012345678901234567891"}, "quantity"),
        ({"quantity": "1" + "0" * 25}, "quantity"),
        ({"quantity": "NaN"}, "quantity"),
        ({"quantity": "Infinity"}, "quantity"),
        ({"quantity": "1e3"}, "quantity"),
        ({"quantity": "1E+9999999999"}, "quantity"),
        ({"quantity": " 1"}, "quantity"),
        ({"quantity": "1_0"}, "quantity"),
        ({"quantity": "\u0661"}, "quantity"),
        ({"quantity": "0x10"}, "quantity"),
        ({"quantity": "1,5"}, "quantity"),
        ({"quantity": ""}, "quantity"),
        ({"quantity": None}, "quantity"),
        ({"quantity": True}, "quantity"),
        ({"quantity": 0.1}, "quantity"),
        ({"quantity": ["1"]}, "quantity"),
        ({"quantity": {"amount": "1"}}, "quantity"),
        ({"price": "-5"}, "price"),
        ({"price": None}, "price"),
        ({"type": "market"}, "price"),
        ({"type": "stop"}, "type"),
        ({"side": "long"}, "side"),
        ({"time_in_force": "week"}, "time_in_force"),
        ({"type": "post_only", "time_in_force": "ioc"}, "time_in_force"),
        ({"time_in_force": "gtd"}, "expires_at"),
        ({"time_in_force": "gtd", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"time_in_force": "gtd", "expires_at": "9999-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2099-01-01T00:00:00Z"}, "expires_at"),
        ({"time_in_force": "gtd", "expires_at": "tomorrow"}, "expires_at"),
        ({"time_in_force": "day", "timeout_seconds": 5}, "timeout_seconds"),
        ({"time_in_force": "ioc", "timeout_seconds": 0}, "timeout_seconds"),
        ({"timeout_seconds": -1}, "timeout_seconds"),
        ({"timeout_seconds": 1e12}, "timeout_seconds"),
        ({"timeout_seconds": "soon"}, "timeout_seconds"),
        ({"symbol": "BTCUSDT"}, "symbol"),
        ({"symbol": "btc/usdt"}, "symbol"),
        ({"symbol": "BTC/USDT; DROP TABLE orders"}, "symbol"),
        ({"symbol": "B" * 40 + "/USDT"}, "symbol"),
        ({"symbol": 5}, "symbol"),
        ({"connection": "main"}, "connection"),
        ({"connection": None}, "connection"),
        ({"reduce_only": "perhaps"}, "reduce_only"),
        ({"stop_price": "49000"}, "stop_price"),
        ({"leverage": 100}, "leverage"),
    ],
)
def test_bad_values_are_named_and_nothing_is_kept(
    as_alice: APIClient, connection: Connection, change: dict[str, Any], field: str
) -> None:
    answer = place(as_alice, connection, **change)
    assert answer.status_code == 400, answer.content
    assert answer.json()["error"]["code"] == "INVALID"
    assert field in answer.json()["error"]["fields"], answer.content
    assert stored() == []


STOP = {"type": "stop_loss", "side": "sell", "price": None, "stop_price": "49000"}
TRAILING = {"type": "trailing_stop", "side": "sell", "price": None, "trail_rate": "0.01"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({**STOP, "stop_price": None}, "stop_price"),
        ({**STOP, "stop_price": "0"}, "stop_price"),
        ({**STOP, "stop_price": "NaN"}, "stop_price"),
        ({**STOP, "price": "49000"}, "price"),
        ({**STOP, "type": "stop_loss_limit"}, "price"),
        ({**STOP, "time_in_force": "ioc"}, "time_in_force"),
        ({**STOP, "timeout_seconds": 0}, "timeout_seconds"),
        ({**STOP, "trail_rate": "0.01"}, "trail_rate"),
        ({**STOP, "side": "buy", "reduce_only": True}, "reduce_only"),
        ({**TRAILING, "trail_rate": None}, "trail_rate"),
        ({**TRAILING, "trail_rate": "0.6"}, "trail_rate"),
        ({**TRAILING, "trail_rate": "0.00001"}, "trail_rate"),
        ({**TRAILING, "stop_price": "49000"}, "stop_price"),
        ({**TRAILING, "oco_with": "the other"}, "oco_with"),
        ({"type": "market", "price": None, "time_in_force": "day"}, "time_in_force"),
        ({"reduce_only": True}, "reduce_only"),
    ],
)
def test_bad_triggers_are_named_and_nothing_is_kept(
    as_alice: APIClient, connection: Connection, change: dict[str, Any], field: str
) -> None:
    answer = place(as_alice, connection, **change)
    assert answer.status_code == 400, answer.content
    assert list(answer.json()["error"]["fields"]) == [field], answer.content
    assert stored() == []


def test_orders_that_wait_together_are_of_the_same_kind_of_thing(as_alice: APIClient, connection: Connection) -> None:
    first = place(as_alice, connection, **STOP).json()
    together = place(as_alice, connection, **TRAILING, oco_with=first["id"])
    other_size = place(as_alice, connection, **TRAILING, oco_with=first["id"], quantity="0.02")
    no_trigger = place(as_alice, connection, oco_with=first["id"], side="sell")
    assert (together.status_code, together.json()["oco_group"]) == (202, first["id"])
    for answer in (other_size, no_trigger):
        assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, ["oco_with"])


def test_another_users_order_is_nothing_to_wait_with(as_alice: APIClient, connection: Connection, bob: User) -> None:
    theirs = make_order(make_connection(bob, BOB_KEY), type="stop_loss", status="waiting", stop_price="49000")
    assert place(as_alice, connection, **STOP, oco_with=str(theirs.pk)).status_code == 404


@pytest.mark.parametrize(
    ("order", "change", "status", "told"),
    [
        ({}, {}, 400, "INVALID"),
        ({}, {"price": "NaN"}, 400, "INVALID"),
        ({}, {"side": "sell"}, 400, "INVALID"),
        ({}, {"stop_price": "49000"}, 400, "INVALID"),
        ({"filled_quantity": "0.3", "status": "partially_filled"}, {"quantity": "0.3"}, 400, "INVALID"),
        ({"status": "filled"}, {"price": "49000"}, 409, "ORDER_ENDED"),
        ({"status": "cancelled"}, {"price": "49000"}, 409, "ORDER_ENDED"),
        ({"type": "market", "price": None}, {"quantity": "2"}, 409, "ORDER_NEVER_RESTS"),
    ],
)
def test_what_cant_be_replaced_is_told(
    as_alice: APIClient, connection: Connection, order: dict[str, Any], change: dict[str, Any], status: int, told: str
) -> None:
    row = make_order(connection, **order)
    answer = as_alice.patch(f"/api/orders/{row.pk}", change, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, told), answer.content
    assert len(stored()) == 1


def test_whole_json_numbers_are_exact(as_alice: APIClient, connection: Connection) -> None:
    assert place(as_alice, connection, quantity=3).json()["quantity"] == "3"


def test_another_users_connection_is_not_found(as_alice: APIClient, bob: User) -> None:
    answer = place(as_alice, make_connection(bob, BOB_KEY))
    assert answer.status_code == 404
    assert stored() == []


def test_a_deleted_connection_is_not_found(as_alice: APIClient, alice: User) -> None:
    gone = make_connection(alice, ALICE_KEY, is_deleted=True)
    assert place(as_alice, gone).status_code == 404


def test_the_same_key_and_body_make_one_order(as_alice: APIClient, connection: Connection) -> None:
    first = place(as_alice, connection, key="k-1")
    second = place(as_alice, connection, key="k-1", quantity="0.0100")
    assert first.status_code == second.status_code == 202
    assert first.json()["id"] == second.json()["id"]
    assert len(stored()) == 1


def test_the_same_key_with_another_body_is_a_conflict(as_alice: APIClient, connection: Connection) -> None:
    place(as_alice, connection, key="k-1")
    answer = place(as_alice, connection, key="k-1", quantity="0.02")
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert len(stored()) == 1


def test_two_users_may_use_the_same_key(
    as_alice: APIClient, as_bob: APIClient, bob: User, connection: Connection
) -> None:
    first = place(as_alice, connection, key="k-1").json()
    second = place(as_bob, make_connection(bob, BOB_KEY), key="k-1").json()
    assert first["id"] != second["id"]


def test_an_order_is_answered_again_when_it_could_not_be_accepted_any_more(
    as_alice: APIClient, connection: Connection
) -> None:
    stop = make_order(connection, type="stop_loss", side="sell", price=None, stop_price="40000", status="waiting")
    rise = {
        "type": "take_profit", "side": "sell", "quantity": "0.5", "price": None, "stop_price": "60000",
        "oco_with": str(stop.pk),
    }  # fmt: skip
    first = place(as_alice, connection, key="k-1", **rise)
    with everyone():
        Order.objects.filter(pk=stop.pk).update(status="cancelled")
    second = place(as_alice, connection, key="k-1", **rise)
    assert (first.status_code, second.status_code) == (202, 202), second.content
    assert first.json()["id"] == second.json()["id"]


@pytest.mark.parametrize("key", ["", "k" * 65, "with blank", "schlüssel".encode().decode("latin-1")])
def test_bad_idempotency_keys_are_refused(as_alice: APIClient, connection: Connection, key: str) -> None:
    assert place(as_alice, connection, key=key).status_code == 400
    assert stored() == []


def test_cancelling_is_accepted_and_left_to_the_engine(as_alice: APIClient, connection: Connection) -> None:
    order = make_order(connection)
    answer = as_alice.delete(f"/api/orders/{order.pk}")
    assert answer.status_code == 202
    assert answer.json()["status"] == "submitted"
    with everyone():
        assert list(Command.objects.values_list("kind", "order")) == [("cancel", order.pk)]


def test_an_ended_order_cannot_be_cancelled(as_alice: APIClient, connection: Connection) -> None:
    order = make_order(connection, status="filled")
    answer = as_alice.delete(f"/api/orders/{order.pk}")
    assert answer.status_code == 409


def test_orders_are_listed_newest_first_by_page(as_alice: APIClient, connection: Connection) -> None:
    made = [str(make_order(connection).pk) for _ in range(5)]
    first = as_alice.get("/api/orders?limit=3").json()
    second = as_alice.get(first["next"]).json()
    assert [row["id"] for row in first["results"] + second["results"]] == made[::-1]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=filled", {"b"}),
        ("status=filled&status=submitted", {"a", "b"}),
        ("open=true", {"a"}),
        ("open=false", {"b", "c"}),
        ("symbol=ETH/USDT", {"c"}),
        ("side=sell", {"b"}),
        ("connection=00000000-0000-0000-0000-000000000000", set()),
    ],
)
def test_orders_are_filtered(as_alice: APIClient, connection: Connection, query: str, found: set[str]) -> None:
    make_order(connection, client_order_id="a")
    make_order(connection, client_order_id="b", status="filled", side="sell")
    make_order(connection, client_order_id="c", status="cancelled", symbol="ETH/USDT")
    rows = as_alice.get(f"/api/orders?{query}").json()["results"]
    assert {row["client_order_id"] for row in rows} == found


@pytest.mark.parametrize("query", ["status=gone", "connection=main", "side=long", "cursor=abc", "cursor=cD14"])
def test_bad_filters_are_refused(as_alice: APIClient, connection: Connection, query: str) -> None:
    make_order(connection)
    answer = as_alice.get(f"/api/orders?{query}")
    assert answer.status_code in {400, 404}, answer.content
    assert answer.json()["error"]["code"] in {"INVALID", "NOT_FOUND"}


def test_a_list_takes_the_same_queries_however_long(
    as_alice: APIClient, connection: Connection, django_assert_max_num_queries: Any
) -> None:
    instance = make_instance(connection)
    for _ in range(30):
        make_order(connection, instance=instance)
    with django_assert_max_num_queries(5):
        assert len(as_alice.get("/api/orders?limit=200").json()["results"]) == 30


def test_past_the_queues_bound_orders_are_refused_each_user_for_herself(
    as_alice: APIClient, logged_in: Any, connection: Connection, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings.CONFIG, "order_queue_size", 2)
    first = place(as_alice, connection)
    assert [first.status_code, place(as_alice, connection).status_code] == [202, 202]
    refused = place(as_alice, connection)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "QUEUE_FULL")
    assert refused["Retry-After"] == "1"
    assert len(stored()) == 2
    assert place(logged_in(bob), make_connection(bob, BOB_KEY)).status_code == 202
    with everyone():
        Order.objects.filter(pk=first.json()["id"]).update(status="pending")
    assert place(as_alice, connection).status_code == 202


def test_an_engine_takes_a_batch_exits_first(
    alice: User, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings.CONFIG, "order_queue_batch", 1)
    monkeypatch.setattr(settings.CONFIG, "order_queue_overflow", 1)
    make_order(connection, status="new")
    exit_ = make_order(connection, status="new", reduce_only=True)
    sale = make_order(connection, status="new", side="sell")
    with tenant_scope(alice.pk):
        assert order_queue.next_batch() == ([exit_.pk, sale.pk], 1)
