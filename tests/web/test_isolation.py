"""TEN-4: another tenant's id answers 404 on every route of the published schema, and leaves nothing changed.

The routes come from the schema itself: a new one with a path parameter that this test can't fill fails it.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tenancy import OutOfScope, ScopeError, TenantModel, everyone, tenant_scope
from tests.web.exchange import ALICE_KEY, BOB_KEY, ThreadedExchange
from tests.web.rows import Owned, make_connection, make_everything, make_instance
from trading.models import Order

# Whose id the path parameter of a resource is.
RESOURCES = {"connections": "connection", "strategy-instances": "instance", "orders": "order"}
OPEN_TO_ALL = {
    ("post", "/api/register"), ("post", "/api/login"), ("post", "/api/token/refresh"),
    ("get", "/api/health"), ("get", "/api/health/ready"),
}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    schema = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


OPERATIONS = list(operations())
WITH_PARAMETERS = [(method, path) for method, path, _ in OPERATIONS if "{" in path]
LISTS = [path for method, path, _ in OPERATIONS if method == "get" and "{" not in path]


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


def everything_stored() -> dict[str, list[dict[str, Any]]]:
    """All rows of our own tables but those that a request itself leaves behind."""
    with everyone():
        return {
            model.__name__: [
                {field.attname: getattr(row, field.attname) for field in model._meta.concrete_fields}
                for row in model._default_manager.order_by("pk")
            ]
            for app in ("accounts", "audit", "connections", "risk", "trading")
            for model in apps.get_app_config(app).get_models()
        }


def test_the_schema_has_the_routes_that_matter() -> None:
    assert {"/api/connections/{id}", "/api/strategy-instances/{id}/start", "/api/orders/{id}"} <= {
        path for _, path in WITH_PARAMETERS
    }
    assert len(WITH_PARAMETERS) >= 12


@pytest.mark.parametrize(("method", "path"), WITH_PARAMETERS)
def test_bob_gets_404_for_alices_ids_and_changes_nothing(
    as_bob: APIClient, alices: Owned, exchange: ThreadedExchange, method: str, path: str
) -> None:
    before = everything_stored()
    answer = getattr(as_bob, method)(fill(path, alices), {"name": "taken over"}, format="json")
    assert answer.status_code == 404, answer.content
    assert answer.json()["error"]["code"] == "NOT_FOUND"
    assert everything_stored() == before


@pytest.mark.parametrize(("method", "path"), WITH_PARAMETERS)
def test_alice_herself_is_not_told_404(
    as_alice: APIClient, alices: Owned, exchange: ThreadedExchange, method: str, path: str
) -> None:
    """Else the test above would pass on routes that never find anything."""
    answer = getattr(as_alice, method)(fill(path, alices), {"name": "renamed"}, format="json")
    assert answer.status_code in {200, 202, 204, 409}, answer.content


@pytest.mark.parametrize("path", LISTS)
def test_no_list_shows_bob_anything_of_alice(as_bob: APIClient, alices: Owned, bobs: Owned, path: str) -> None:
    answer = as_bob.get(path)
    assert answer.status_code in {200, 503}
    text = answer.content.decode()
    leaked = [key for key in alices.ids if key in text]
    assert leaked == []
    assert alices.user.email not in text


@pytest.mark.parametrize("path", ["connections", "strategy-instances", "orders", "trades", "positions", "balances",
                                  "signals", "audit-logs", "kill-switch", "risk/policy", "risk/metrics"])  # fmt: skip
def test_lists_do_show_bob_his_own(as_bob: APIClient, bobs: Owned, path: str) -> None:
    text = as_bob.get(f"/api/{path}").content.decode()
    assert any(key in text for key in bobs.ids)


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


def test_filters_by_alices_ids_show_bob_nothing(as_bob: APIClient, alices: Owned) -> None:
    for query in (
        f"orders?connection={alices.connection.pk}", f"orders?strategy_instance={alices.instance.pk}",
        f"trades?order={alices.order.pk}", f"positions?connection={alices.connection.pk}",
        f"balances?connection={alices.connection.pk}", f"signals?strategy_instance={alices.instance.pk}",
    ):  # fmt: skip
        assert as_bob.get(f"/api/{query}").json()["results"] == [], query


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _ in OPERATIONS])
def test_nobody_known_gets_nothing(anonymous: APIClient, alices: Owned, method: str, path: str) -> None:
    if (method, path) in OPEN_TO_ALL:
        return
    before = everything_stored()
    answer = getattr(anonymous, method)(fill(path, alices) if "{" in path else path, {}, format="json")
    assert answer.status_code == 401, answer.content
    assert answer.json()["error"]["code"] == "UNAUTHENTICATED"
    assert everything_stored() == before


def test_the_schema_says_who_is_let_in() -> None:
    """What the schema calls open is exactly the allow list."""
    said_open = {(method, path) for method, path, operation in OPERATIONS if {} in operation.get("security", [{}])}
    assert said_open == OPEN_TO_ALL


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
