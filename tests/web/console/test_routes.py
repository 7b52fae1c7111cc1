"""Every route of the console has a verdict: what its owner gets, what others do.

The routes come from the console's own table: a new one without a verdict fails here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import get_resolver

from accounts.models import Role, User
from tests.web.callers import everything_stored
from tests.web.console.conftest import htmx
from tests.web.rows import Owned
from trading.console.urls import urlpatterns

Body = Callable[[Owned], dict[str, str]]


def nothing(_: Owned) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Verdict:
    """What the owner gets by method; ``of`` is the row that the path names, ``body`` what is posted."""

    owner: dict[str, int]
    of: str = ""
    body: Body = nothing


def on_connection(owned: Owned) -> dict[str, str]:
    return {"connection": str(owned.connection.pk)}


def new_order(owned: Owned) -> dict[str, str]:
    return on_connection(owned) | {"symbol": "BTC/USDT", "side": "buy", "type": "market", "quantity": "0.1"}


def new_strategy(owned: Owned) -> dict[str, str]:
    return on_connection(owned) | {
        "name": "mine", "strategy": "rsi", "symbol": "BTC/USDT", "timeframe": "1m", "params.period": "14",
        "sizing.type": "quote_amount", "sizing.amount": "50",
    }  # fmt: skip


def strategy_target(owned: Owned) -> dict[str, str]:
    return {"target": f"strategy:{owned.instance.pk}", "reason": "a test", "max_open_orders": "3"}


def connection_target(owned: Owned) -> dict[str, str]:
    return {"target": f"connection:{owned.connection.pk}", "reason": "a test"}


OPEN_TO_ALL = {"login", "register", "logout", "password/reset", "password/reset/confirm"}
VERDICTS = {
    "": Verdict({"get": 200}),
    "account": Verdict({"get": 200}),
    "account/password": Verdict({"get": 200, "post": 422}),
    "account/devices/<uuid:device_id>/revoke": Verdict({"post": 302}, of="device"),
    "account/otp/enrol": Verdict({"post": 200}),
    "account/otp/confirm": Verdict({"get": 200, "post": 422}),
    "account/otp/disable": Verdict({"get": 200, "post": 422}),
    "account/delete": Verdict({"get": 200, "post": 422}),
    "account/disclosure": Verdict({"get": 200, "post": 302}),
    "account/audit-log": Verdict({"get": 200}),
    "console/token": Verdict({"post": 200}),
    "console/connections/new": Verdict({"get": 200, "post": 422}),
    "console/connections/<uuid:connection_id>/test": Verdict({"post": 400}, of="connection"),
    "console/connections/<uuid:connection_id>/leaked": Verdict({"get": 200, "post": 200}, of="connection"),
    "console/connections/<uuid:connection_id>/delete": Verdict({"get": 200, "post": 200}, of="connection"),
    "console/strategies/new": Verdict({"get": 200, "post": 200}, body=new_strategy),
    "console/strategies/<uuid:instance_id>/edit": Verdict({"get": 200, "post": 200}, of="instance", body=new_strategy),
    "console/strategies/<uuid:instance_id>/start": Verdict({"post": 200}, of="instance"),
    "console/strategies/<uuid:instance_id>/pause": Verdict({"post": 409}, of="instance"),
    "console/strategies/<uuid:instance_id>/stop": Verdict({"post": 200}, of="instance"),
    "console/strategies/<uuid:instance_id>/delete": Verdict({"get": 200, "post": 200}, of="instance"),
    "console/orders/new": Verdict({"get": 200, "post": 200}, body=new_order),
    "console/orders/<uuid:order_id>/cancel": Verdict({"post": 200}, of="order"),
    "console/kill-switch": Verdict({"get": 200, "post": 200}, body=strategy_target),
    "console/kill-switch/lift": Verdict({"post": 200}, body=connection_target),
    "console/risk-policy": Verdict({"get": 200, "post": 200}, body=strategy_target),
}
ROUTES = [str(each.pattern) for each in urlpatterns]
OPERATIONS = [(method, route) for route, verdict in VERDICTS.items() for method in ("get", "post", "put", "delete")]
NAMING_A_ROW = [
    (method, route) for route, verdict in VERDICTS.items() for method in verdict.owner
    if verdict.of or (verdict.body is not nothing and method == "post")
]  # fmt: skip


def path_of(route: str, owned: Owned) -> str:
    head, _, rest = route.partition("<")
    if not rest:
        return f"/{route}"
    row = getattr(owned, VERDICTS[route].of)
    return f"/{head}{row.pk}{rest.partition('>')[2]}"


def send(browser: Browser, method: str, route: str, owned: Owned) -> Any:
    body = VERDICTS[route].body(owned) if method == "post" else None
    return getattr(browser, method)(path_of(route, owned), body)


def test_every_route_has_a_verdict() -> None:
    assert set(ROUTES) == set(VERDICTS) | OPEN_TO_ALL


def test_the_site_has_no_other_doors() -> None:
    """Besides the console's own routes there are the API's (tests/web/test_isolation.py) and the admin's."""
    assert {str(each.pattern) for each in get_resolver().url_patterns} == {"", "api/", "admin/login/", "admin/"}


@pytest.mark.parametrize(("method", "route"), OPERATIONS)
def test_the_owner_gets_what_is_said(at_desk: Browser, alices: Owned, method: str, route: str) -> None:
    answer = send(at_desk, method, route, alices)
    assert answer.status_code == VERDICTS[route].owner.get(method, 405), answer.content
    assert "no-store" in answer["Cache-Control"] or answer.status_code == 405


@pytest.fixture
def others(at_desk: Browser, alices: Owned, bob: User, charlie: User) -> dict[str, Browser]:
    """By the callers of a verdict. Charlie leads alice's team; the deleted one is alice, with the session still."""
    User.objects.filter(pk=charlie.pk).update(role=Role.MANAGER)
    User.objects.filter(pk=alices.user.pk).update(manager=charlie)
    return {"stranger": htmx(bob), "manager": htmx(charlie), "nobody": htmx(), "deleted": at_desk}


@pytest.mark.parametrize("caller", ["nobody", "deleted"])
def test_who_is_not_let_in_gets_nothing_and_changes_nothing(
    others: dict[str, Browser], alices: Owned, caller: str
) -> None:
    if caller == "deleted":
        User.objects.filter(pk=alices.user.pk).update(is_active=False, is_deleted=True)
    before = everything_stored()
    for method, route in OPERATIONS:
        answer = send(others[caller], method, route, alices)
        if method not in VERDICTS[route].owner:
            assert answer.status_code == 405, (method, route)
        elif route == "":
            assert answer["Location"] == "/login"
        else:
            assert answer.status_code == 401, (method, route)
            assert route == "console/token" or answer["HX-Redirect"] == "/login?ended"
        assert not any(each in answer.content.decode() for each in alices.ids), (method, route)
    assert everything_stored() == before


@pytest.mark.parametrize("caller", ["stranger", "manager"])
def test_others_get_404_for_alices_rows_and_change_nothing(
    others: dict[str, Browser], bobs: Owned, alices: Owned, caller: str
) -> None:
    before = everything_stored()
    for method, route in NAMING_A_ROW:
        answer = send(others[caller], method, route, alices)
        assert answer.status_code == 404, (method, route, answer.content)
        assert not any(each in answer.content.decode() for each in alices.ids), (method, route)
    assert everything_stored() == before


@pytest.mark.parametrize("route", [route for route, verdict in VERDICTS.items() if "get" in verdict.owner])
def test_others_see_nothing_of_alices(others: dict[str, Browser], bobs: Owned, alices: Owned, route: str) -> None:
    for caller in ("stranger", "manager"):
        text = send(others[caller], "get", route, bobs).content.decode()
        assert not any(each in text for each in alices.ids), caller
