"""TEN-4: another tenant's id answers 404 on every route of the published schema, and leaves nothing changed.

The routes come from the schema itself, what each caller gets from the one table in ``verdicts``: a new route without a
verdict fails here.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.apps import apps
from rest_framework.test import APIClient

from accounts.models import Role, User
from accounts.tenancy import OutOfScope, ScopeError, TenantModel, tenant_scope
from desproject.urls import api_urls
from tests.web.callers import everything_stored, require
from tests.web.conftest import Client
from tests.web.exchange import ALICE_KEY, BOB_KEY, ThreadedExchange
from tests.web.operations import OPERATIONS
from tests.web.rows import Owned, make_connection, make_everything, make_instance
from tests.web.verdicts import API
from trading.models import Order

# Whose id the path parameter of a resource is.
RESOURCES = {
    "connections": "connection", "strategy-instances": "instance", "orders": "order", "devices": "device",
    "users": "user", "risk": "event",
}
REFUSALS = {401: {"UNAUTHENTICATED", "TOKEN_INVALID"}, 403: {"FORBIDDEN"}, 404: {"NOT_FOUND"}}
# Figures of the whole installation (tests/web/test_metrics.py), users (tests/web/test_roles.py).
NOT_FOR_TRADERS = {"/api/metrics", "/api/metrics/latency", "/api/users"}

WITH_PARAMETERS = [(method, path) for method, path, _ in OPERATIONS if "{" in path]
LISTS = [(path, operation) for method, path, operation in OPERATIONS if method == "get" and "{" not in path]


@pytest.fixture
def alices(alice: User) -> Owned:
    return make_everything(alice, ALICE_KEY)


@pytest.fixture
def bobs(bob: User) -> Owned:
    return make_everything(bob, BOB_KEY)


def fill(path: str, owned: Owned) -> str:
    resource = path.split("/")[2]
    assert resource in RESOURCES, f"{path}: tell this test which row its parameter names"
    filled = path.replace("{id}", str(getattr(owned, RESOURCES[resource]).pk))
    assert "{" not in filled, f"{path}: tell this test how to fill its parameters"
    return filled


def query(operation: dict[str, Any], owned: Owned) -> dict[str, str]:
    """The operation's required query parameters: of those that name a row, one of the user's."""
    known = {"connection": str(owned.connection.pk), "symbol": "BTC/USDT", "level": "connection"}
    names = [row["name"] for row in operation.get("parameters", ()) if row["in"] == "query" and row.get("required")]
    assert set(names) <= set(known), "tell this test how to fill the parameters"
    return {name: known[name] for name in names}


BODIES: dict[tuple[str, str], Callable[[Owned], dict[str, Any]]] = {
    ("post", "/api/orders"): lambda owned: {
        "connection": str(owned.connection.pk), "symbol": "BTC/USDT", "side": "buy", "type": "market", "quantity": "1",
    },
    ("post", "/api/strategy-instances"): lambda owned: {
        "name": "x", "strategy": "rsi", "connection": str(owned.connection.pk), "symbol": "BTC/USDT",
        "timeframe": "1m", "params": {}, "sizing": {"type": "quote_amount", "amount": "10"},
    },
    ("patch", "/api/orders/{id}"): lambda _: {"quantity": "7"},
    ("patch", "/api/connections/{id}"): lambda _: {"name": "renamed"},
    ("patch", "/api/strategy-instances/{id}"): lambda _: {"name": "renamed"},
    ("post", "/api/kill-switch"): lambda owned: {"level": "strategy", "id": str(owned.instance.pk), "reason": "x"},
    ("delete", "/api/kill-switch"): lambda owned: {
        "level": "connection", "id": str(owned.connection.pk), "reason": "x",
    },
    ("put", "/api/risk/policy"): lambda owned: {
        "level": "connection", "id": str(owned.connection.pk), "max_order_size": "1",
    },
    ("patch", "/api/risk/events/{id}"): lambda _: {"impact": "none"},
}


@pytest.fixture
def clients(
    alices: Owned, bob: User, charlie: User, logged_in: Client, anonymous: APIClient
) -> dict[str, APIClient]:
    """By the callers of a verdict. Charlie leads alice's team."""
    User.objects.filter(pk=charlie.pk).update(role=Role.MANAGER)
    User.objects.filter(pk=alices.user.pk).update(manager=charlie)
    return {
        "owner": logged_in(alices.user), "stranger": logged_in(bob), "manager": logged_in(charlie),
        "nobody": anonymous,
    }


def test_the_schema_has_the_routes_that_matter() -> None:
    assert {"/api/connections/{id}", "/api/strategy-instances/{id}/start", "/api/orders/{id}"} <= {
        path for _, path in WITH_PARAMETERS
    }
    assert len(WITH_PARAMETERS) >= 12


def test_every_operation_has_a_verdict() -> None:
    assert {(method, path) for method, path, _ in OPERATIONS} == set(API)


def test_the_schema_names_every_route() -> None:
    """But those that tell about the API itself, and the one that says of all other paths that there are none."""
    paths = {re.sub("<uuid:id>", "{id}", f"/api/{each.pattern}") for each in api_urls}
    unnamed = paths - {path for _, path, _ in OPERATIONS}
    assert unnamed == {"/api/schema", "/api/docs", "/api/^(?P<rest>.*)$"}


@pytest.mark.parametrize(("method", "path"), API)
def test_each_caller_gets_what_the_table_says(
    clients: dict[str, APIClient], alices: Owned, exchange: ThreadedExchange, method: str, path: str
) -> None:
    (operation,) = [found for verb, route, found in OPERATIONS if (verb, route) == (method, path)]
    asked = urlencode(query(operation, alices))
    filled = fill(path, alices) if "{" in path else path
    body = BODIES[method, path](alices) if (method, path) in BODIES else {}

    def send(client: APIClient) -> Any:
        answer = getattr(client, method)(f"{filled}?{asked}" if asked else filled, body, format="json")
        if answer.status_code in REFUSALS:
            assert answer.json()["error"]["code"] in REFUSALS[answer.status_code]
        return answer

    require(API[method, path], alices, clients, send)


@pytest.mark.parametrize(("path", "operation"), LISTS)
def test_no_list_shows_bob_anything_of_alice(
    as_bob: APIClient, alices: Owned, bobs: Owned, exchange: ThreadedExchange, path: str, operation: dict[str, Any]
) -> None:
    answer = as_bob.get(path, query(operation, bobs))
    assert answer.status_code in ({403} if path in NOT_FOR_TRADERS else {200, 503})
    text = answer.content.decode()
    leaked = [key for key in alices.ids if key in text]
    assert leaked == []
    assert alices.user.email not in text


@pytest.mark.parametrize("path", ["connections", "strategy-instances", "orders", "trades", "positions", "balances",
                                  "signals", "audit-logs", "kill-switch",
                                  "devices", "risk/policy", "risk/metrics"])  # fmt: skip
def test_lists_do_show_bob_his_own(as_bob: APIClient, bobs: Owned, path: str) -> None:
    text = as_bob.get(f"/api/{path}").content.decode()
    assert any(key in text for key in bobs.ids)


def test_alices_ids_in_bobs_queries_find_nothing(as_bob: APIClient, alices: Owned, bobs: Owned) -> None:
    named = [(path, query(operation, alices)) for path, operation in LISTS if query(operation, alices)]
    assert "/api/candles" in dict(named)
    for path, asked in named:
        answer = as_bob.get(path, asked)
        assert answer.status_code == 404, (path, answer.content)


def _bodies(owned: Owned) -> Iterator[tuple[str, str, dict[str, Any]]]:
    yield "post", "/api/orders", {
        "connection": str(owned.connection.pk), "symbol": "BTC/USDT", "side": "buy", "type": "market", "quantity": "1",
    }
    yield "post", "/api/strategy-instances", {
        "name": "x", "strategy": "rsi", "connection": str(owned.connection.pk), "symbol": "BTC/USDT",
        "timeframe": "1m", "params": {}, "sizing": {"type": "quote_amount", "amount": "10"},
    }
    for level, row in (("connection", owned.connection), ("strategy", owned.instance), ("user", owned.user)):
        target = {"level": level, "id": str(row.pk)}
        yield "post", "/api/kill-switch", {**target, "reason": "x", "flatten": True}
        yield "delete", "/api/kill-switch", {**target, "reason": "x"}
        yield "put", "/api/risk/policy", {**target, "max_order_size": "1"}


def test_alices_ids_in_bobs_bodies_find_nothing(as_bob: APIClient, alices: Owned) -> None:
    before = everything_stored()
    for method, path, body in _bodies(alices):
        answer = getattr(as_bob, method)(path, body, format="json")
        assert answer.status_code == 404, (method, path, body, answer.content)
    assert everything_stored() == before


def test_alices_connection_is_not_found_for_bobs_instance(as_bob: APIClient, alices: Owned, bobs: Owned) -> None:
    before = everything_stored()
    answer = as_bob.patch(
        f"/api/strategy-instances/{bobs.instance.pk}", {"connection": str(alices.connection.pk)}, format="json"
    )
    assert answer.status_code == 404
    assert everything_stored() == before


def test_alices_connection_is_no_second_side_of_bobs_arbitrage(
    as_bob: APIClient, alices: Owned, bobs: Owned
) -> None:
    before = everything_stored()
    (body,) = [body for _, path, body in _bodies(bobs) if path == "/api/strategy-instances"]
    pair = {**body, "strategy": "arbitrage", "connection_b": str(alices.connection.pk)}
    assert as_bob.post("/api/strategy-instances", pair, format="json").status_code == 404
    change = {"connection_b": str(alices.connection.pk)}
    answer = as_bob.patch(f"/api/strategy-instances/{bobs.instance.pk}", change, format="json")
    assert answer.status_code == 404
    assert everything_stored() == before


def test_filters_by_alices_ids_show_bob_nothing(as_bob: APIClient, alices: Owned) -> None:
    for query in (
        f"orders?connection={alices.connection.pk}", f"orders?strategy_instance={alices.instance.pk}",
        f"trades?order={alices.order.pk}", f"positions?connection={alices.connection.pk}",
        f"balances?connection={alices.connection.pk}", f"signals?strategy_instance={alices.instance.pk}",
    ):  # fmt: skip
        assert as_bob.get(f"/api/{query}").json()["results"] == [], query


def test_the_schema_says_who_is_let_in() -> None:
    """What the schema calls open is exactly the allow list."""
    said_open = {(method, path) for method, path, operation in OPERATIONS if {} in operation.get("security", [{}])}
    assert said_open == {operation for operation, verdict in API.items() if verdict.nobody not in verdict.turned_away}


TENANT_MODELS = [model for model in apps.get_models() if issubclass(model, TenantModel)]


@pytest.mark.parametrize("model", TENANT_MODELS)
def test_an_unscoped_query_raises(db: None, model: type[TenantModel]) -> None:
    for query in (
        lambda: list(model.objects.all()), lambda: model.objects.count(), lambda: model.objects.filter(pk=1).first(),
        lambda: model.objects.filter(pk=1).delete(), lambda: model.objects.update(created_at=None),
    ):
        with pytest.raises(ScopeError):
            query()


def test_a_row_outside_the_scope_cannot_be_written(alices: Owned, bob: User) -> None:
    with tenant_scope(bob.pk), pytest.raises(OutOfScope):
        alices.order.save()
    with pytest.raises(OutOfScope):
        alices.order.save()
    with tenant_scope(bob.pk):
        assert Order.objects.filter(pk=alices.order.pk).update(status="filled") == 0


def test_the_scope_of_a_request_ends_with_it(as_alice: APIClient, alices: Owned) -> None:
    as_alice.get("/api/orders")
    with pytest.raises(ScopeError):
        Order.objects.count()


def test_another_tenants_row_is_no_row_for_instance_and_connection_alike(
    as_bob: APIClient, alice: User, bob: User, exchange: ThreadedExchange
) -> None:
    """What bob is told of alice's id is what he is told of an id that nobody has."""
    hers = make_instance(make_connection(alice, ALICE_KEY))
    told = as_bob.get(f"/api/strategy-instances/{hers.pk}")
    nobody = as_bob.get(f"/api/strategy-instances/{bob.pk}")
    assert (told.status_code, json.loads(told.content)) == (nobody.status_code, json.loads(nobody.content))
