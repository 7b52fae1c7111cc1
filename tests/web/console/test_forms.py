"""The console's forms: what they carry out, what they say is wrong and where, and what they never show."""

from typing import Any

import pytest
from django.test import Client as Browser

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections.models import Connection
from risk.models import KillSwitch, RiskPolicy
from tests.web.console.conftest import htmx
from tests.web.console.page import Page
from tests.web.exchange import ALICE_KEY, BOB_KEY, WITHDRAWING_KEY, ThreadedExchange
from tests.web.rows import Owned, make_connection, make_instance, make_order
from trading.models import Command, Order, StrategyInstance
from trading.strategies import params_schema, strategies, strategy, takes_pair

MARKUP = '<img src=x onerror="alert(1)">\'"&'
ESCAPED = "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&#x27;&quot;&amp;"


def rows(owned: Owned, model: Any) -> list[Any]:
    with tenant_scope(owned.user.pk):
        return list(model.objects.order_by("created_at"))


def is_done(answer: Any) -> bool:
    return bool(
        answer.status_code == 200 and answer["HX-Trigger"] == "des-changed" and b'class="note good"' in answer.content
    )


# Strategies


@pytest.mark.parametrize("slug", strategies())
def test_every_strategys_parameters_are_asked_for(at_desk: Browser, alices: Owned, slug: str) -> None:
    page = Page(at_desk.get(f"/console/strategies/new?strategy={slug}"))
    properties = params_schema(slug)["properties"]
    assert {name for name in page.inputs if name.startswith("params.")} == {f"params.{name}" for name in properties}
    for name, schema in properties.items():
        shown = page.inputs[f"params.{name}"]
        ids = str(shown.attributes.get("aria-describedby", "")).split()
        described = " ".join(page.texts[each] for each in ids)
        assert schema.get("description", "") in described
        assert schema.get("title", name).capitalize() in page.labels[str(shown.attributes["id"])]
        assert shown.options == schema.get("enum", [])


@pytest.mark.parametrize("slug", strategies())
def test_every_strategy_is_created_from_its_own_form(
    at_desk: Browser, alices: Owned, exchange: ThreadedExchange, slug: str
) -> None:
    pair = {}
    if takes_pair(slug):
        pair["connection"] = str(alices.connection.pk)
        pair["connection_b"] = str(make_connection(alices.user, BOB_KEY, "second").pk)
    page = Page(at_desk.get(f"/console/strategies/new?strategy={slug}"))
    assert page.inputs["strategy"].value == slug
    filled = page.filled(name=f"my {slug}", sizing__amount="25.5") | pair
    answer = at_desk.post("/console/strategies/new", filled)
    assert is_done(answer), answer.content.decode()
    made = rows(alices, StrategyInstance)[-1]
    assert (made.name, made.strategy, made.status) == (f"my {slug}", slug, "stopped")
    assert made.sizing == {"type": "quote_amount", "amount": "25.5"}
    assert made.params == strategy(slug).Params().model_dump()


def test_errors_stand_under_the_fields_they_are_about(at_desk: Browser, alices: Owned) -> None:
    page = Page(at_desk.get("/console/strategies/new?strategy=rsi"))
    bad = page.filled(name="mine", params__period="1", params__oversold="many", sizing__amount="5")
    answer = at_desk.post("/console/strategies/new", bad)
    assert answer.status_code == 422
    back = Page(answer)
    assert "greater than or equal to 2" in back.error("params.period")
    assert "number" in back.error("params.oversold")
    assert back.inputs["params.overbought"].attributes.get("aria-invalid") is None
    assert (back.inputs["name"].value, back.inputs["params.oversold"].value) == ("mine", "many")
    assert back.inputs["strategy"].value == "rsi"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("sizing.amount", "-1", "more than 0"), ("sizing.amount", "x", "decimal"), ("sizing.type", "all", "one of"),
        ("symbol", "btc", "BTC/USDT"), ("timeframe", "7w", "one of"), ("strategy", "magic", "one of"),
        ("name", "", "blank"), ("name", "x" * 81, "80"), ("connection", "mine", "UUID"),
    ],
)  # fmt: skip
def test_each_bad_value_is_named(at_desk: Browser, alices: Owned, name: str, value: str, text: str) -> None:
    page = Page(at_desk.get("/console/strategies/new"))
    answer = at_desk.post(
        "/console/strategies/new", page.filled(name="mine", sizing__amount="5") | {name: value}
    )
    assert answer.status_code == 422
    assert text in Page(answer).error(name)
    assert len(rows(alices, StrategyInstance)) == 1


def test_a_stopped_strategy_is_changed(at_desk: Browser, alices: Owned) -> None:
    url = f"/console/strategies/{alices.instance.pk}/edit"
    page = Page(at_desk.get(url))
    assert "strategy" not in page.inputs
    assert (page.inputs["params.period"].value, page.inputs["sizing.amount"].value) == ("14", "100")
    assert is_done(at_desk.post(url, page.filled(name="renamed", params__period="21")))
    changed = rows(alices, StrategyInstance)[0]
    assert (changed.name, changed.params["period"]) == ("renamed", 21)


def test_a_running_strategy_isnt_changed_and_the_form_says_so(at_desk: Browser, alices: Owned) -> None:
    url = f"/console/strategies/{alices.instance.pk}"
    page = Page(at_desk.get(f"{url}/edit"))
    assert is_done(at_desk.post(f"{url}/start"))
    answer = at_desk.post(f"{url}/edit", page.filled(params__period="21"))
    assert answer.status_code == 422
    assert "stop the strategy" in answer.content.decode().lower()
    assert at_desk.post(f"{url}/delete", {"confirmed": "yes"}).status_code == 409


def test_starting_pausing_stopping(at_desk: Browser, alices: Owned) -> None:
    for act, status in (("start", "running"), ("pause", "paused"), ("start", "running"), ("stop", "stopped")):
        assert is_done(at_desk.post(f"/console/strategies/{alices.instance.pk}/{act}"))
        assert rows(alices, StrategyInstance)[0].status == status


# Orders


def ticket(browser: Browser, **changes: str) -> dict[str, str]:
    return Page(browser.get("/console/orders/new")).filled(**changes)


def test_an_order_is_accepted_and_the_ticket_is_fresh(at_desk: Browser, alices: Owned) -> None:
    body = ticket(at_desk, quantity="0.015", price="49000.5", side="sell")
    answer = at_desk.post("/console/orders/new", body)
    assert is_done(answer)
    made = rows(alices, Order)[-1]
    assert (made.side, str(made.quantity), str(made.price), made.status) == ("sell", "0.015", "49000.5", "new")
    page = Page(answer)
    assert page.inputs["quantity"].value == ""
    assert page.inputs["idempotency_key"].value != body["idempotency_key"]


def test_a_ticket_sent_twice_is_one_order(at_desk: Browser, alices: Owned) -> None:
    body = ticket(at_desk, quantity="0.015", price="49000")
    assert is_done(at_desk.post("/console/orders/new", body))
    assert is_done(at_desk.post("/console/orders/new", body))
    assert len(rows(alices, Order)) == 2, "the one that was there, and the new one"
    assert at_desk.post("/console/orders/new", body | {"quantity": "9"}).status_code == 422


@pytest.mark.parametrize(
    ("changes", "name", "text"),
    [
        ({"quantity": "x", "price": "1"}, "quantity", "decimal"),
        ({"quantity": "0", "price": "1"}, "quantity", "above 0"),
        ({"quantity": "NaN", "price": "1"}, "quantity", "decimal"), ({"quantity": "1"}, "price", "needs a price"),
        ({"quantity": "1", "price": "1", "type": "market"}, "price", "takes no price"),
        ({"quantity": "1", "price": "1", "side": "up"}, "side", "not a valid choice"),
        ({"quantity": "0." + "1" * 30, "price": "1"}, "quantity", "18 decimals"),
    ],
)  # fmt: skip
def test_a_bad_order_is_sent_back(
    at_desk: Browser, alices: Owned, changes: dict[str, str], name: str, text: str
) -> None:
    answer = at_desk.post("/console/orders/new", ticket(at_desk, **changes))
    assert answer.status_code == 422
    page = Page(answer)
    assert text in page.error(name)
    assert page.inputs["quantity"].value == changes["quantity"]
    assert len(rows(alices, Order)) == 1


def test_cancelling_is_asked_of_the_engine(at_desk: Browser, alices: Owned) -> None:
    assert is_done(at_desk.post(f"/console/orders/{alices.order.pk}/cancel"))
    assert rows(alices, Command)[-1].order_id == alices.order.pk


def test_an_order_that_ended_isnt_cancelled(at_desk: Browser, alices: Owned) -> None:
    ended = make_order(alices.connection, status="filled")
    answer = at_desk.post(f"/console/orders/{ended.pk}/cancel")
    assert answer.status_code == 409
    assert "The order is already filled." in answer.content.decode()


# Kill switch


def test_the_kill_switch_is_pressed_and_lifted(at_desk: Browser, alice: User) -> None:
    assert "Trading is allowed." in at_desk.get("/console/kill-switch").content.decode()
    answer = at_desk.post("/console/kill-switch", {"target": "user", "reason": "too hot", "flatten": "on"})
    assert is_done(answer)
    assert "too hot" in answer.content.decode()
    with tenant_scope(alice.pk):
        switch = KillSwitch.objects.get()
    assert (switch.level, switch.flatten, switch.reason, switch.lifted_at) == ("user", True, "too hot", None)
    answer = at_desk.post("/console/kill-switch/lift", {"target": "user", "reason": "cooled down"})
    assert is_done(answer)
    assert "Trading is allowed." in answer.content.decode()
    with tenant_scope(alice.pk):
        switch.refresh_from_db()
    assert switch.lift_reason == "cooled down"
    assert at_desk.post("/console/kill-switch/lift", {"target": "user", "reason": "again"}).status_code == 404


@pytest.mark.parametrize("level", ["connection", "strategy"])
def test_one_thing_alone_is_stopped(at_desk: Browser, alices: Owned, level: str) -> None:
    row = alices.instance if level == "strategy" else alices.connection
    page = Page(at_desk.get("/console/kill-switch"))
    assert f"{level}:{row.pk}" in page.inputs["target"].options
    assert is_done(at_desk.post("/console/kill-switch", {"target": f"{level}:{row.pk}", "reason": "this one"}))
    pressed = rows(alices, KillSwitch)[-1]
    assert (pressed.level, pressed.target_id) == (level, row.pk)


def test_a_switch_wants_a_reason(at_desk: Browser) -> None:
    answer = at_desk.post("/console/kill-switch", {"target": "user", "reason": "", "flatten": "on"})
    assert answer.status_code == 422
    page = Page(answer)
    assert "blank" in page.error("reason")
    assert "checked" in page.inputs["flatten"].attributes


@pytest.mark.parametrize("target", ["", "user:x", "galaxy", "strategy", "strategy:x"])
def test_nonsense_stops_nothing(at_desk: Browser, alice: User, target: str) -> None:
    answer = at_desk.post("/console/kill-switch", {"target": target, "reason": "why"})
    assert answer.status_code == 422
    with tenant_scope(alice.pk):
        assert not KillSwitch.objects.exists()


def test_only_administrators_stop_the_system(at_desk: Browser, db: None) -> None:
    body = {"target": "system", "reason": "all of it"}
    assert "system" not in Page(at_desk.get("/console/kill-switch")).inputs["target"].options
    assert at_desk.post("/console/kill-switch", body).status_code == 403
    operator = htmx(User.objects.create_superuser("operator@example.org", None))
    assert is_done(operator.post("/console/kill-switch", body))
    seen = at_desk.get("/console/kill-switch").content.decode()
    assert "all of it" in seen
    assert "kill-switch/lift" not in seen
    assert at_desk.post("/console/kill-switch/lift", body).status_code == 403
    assert is_done(operator.post("/console/kill-switch/lift", body))


# Limits


def test_limits_are_set_and_shown_again(at_desk: Browser, alice: User) -> None:
    body = Page(at_desk.get("/console/risk-policy")).filled(max_order_size="1000.50", max_open_orders="7")
    answer = at_desk.post("/console/risk-policy", body)
    assert is_done(answer)
    page = Page(answer)
    assert (page.inputs["max_order_size"].value, page.inputs["max_open_orders"].value) == ("1000.5", "7")
    assert page.inputs["max_exposure"].value == ""
    with tenant_scope(alice.pk):
        assert str(RiskPolicy.objects.get().max_order_size) == "1000.5"


def test_a_bad_limit_is_named(at_desk: Browser) -> None:
    answer = at_desk.post("/console/risk-policy", {"target": "user", "max_exposure": "-1", "max_open_orders": "many"})
    assert answer.status_code == 422
    page = Page(answer)
    assert "above 0" in page.error("max_exposure")
    assert "integer" in page.error("max_open_orders")


def test_each_target_has_limits_of_its_own(at_desk: Browser, alices: Owned) -> None:
    assert Page(at_desk.get("/console/risk-policy")).inputs["max_order_size"].value == "1000"
    target = f"connection:{alices.connection.pk}"
    page = Page(at_desk.get(f"/console/risk-policy?target={target}"))
    assert (page.inputs["target"].value, page.inputs["max_order_size"].value) == (target, "")


# Connections


def bind(browser: Browser, key: Any, name: str = "main") -> Any:
    body = Page(browser.get("/console/connections/new")).filled(
        name=name, mode="simulator", api_key=key.api_key, api_secret=key.api_secret
    )
    return browser.post("/console/connections/new", body)


def test_an_account_is_bound_tested_and_removed(at_desk: Browser, alice: User, exchange: ThreadedExchange) -> None:
    assert is_done(bind(at_desk, ALICE_KEY))
    with tenant_scope(alice.pk):
        row = Connection.objects.get()
    assert (row.name, row.status) == ("main", "ok")
    assert is_done(at_desk.post(f"/console/connections/{row.pk}/test"))
    asked = at_desk.post(f"/console/connections/{row.pk}/delete")
    assert "Remove main?" in asked.content.decode()
    assert "HX-Trigger" not in asked
    assert is_done(at_desk.post(f"/console/connections/{row.pk}/delete", Page(asked).filled()))
    with tenant_scope(alice.pk):
        row.refresh_from_db()
    assert row.is_deleted


def test_a_refused_key_is_named_and_no_secret_comes_back(
    at_desk: Browser, alice: User, exchange: ThreadedExchange
) -> None:
    answer = bind(at_desk, WITHDRAWING_KEY)
    assert answer.status_code == 422
    page = Page(answer)
    assert "can withdraw" in page.error("api_key")
    assert page.inputs["name"].value == "main"
    assert WITHDRAWING_KEY.api_key not in page.source
    assert WITHDRAWING_KEY.api_secret not in page.source
    assert page.inputs["api_secret"].attributes["autocomplete"] == "off"
    with tenant_scope(alice.pk):
        assert not Connection.objects.exists()


def test_an_account_in_use_stays(at_desk: Browser, alices: Owned) -> None:
    answer = at_desk.post(f"/console/connections/{alices.connection.pk}/delete", {"confirmed": "yes"})
    assert answer.status_code == 409
    assert "stop that first" in answer.content.decode()


# Markup, and browsers without script


def test_markup_in_names_is_text_everywhere(at_desk: Browser, alice: User) -> None:
    connection = make_connection(alice, ALICE_KEY, name=MARKUP)
    instance = make_instance(connection, name=MARKUP)
    at_desk.post("/console/kill-switch", {"target": f"strategy:{instance.pk}", "reason": MARKUP})
    fragments = {
        "/console/strategies/new": at_desk.get("/console/strategies/new"),
        "edit": at_desk.get(f"/console/strategies/{instance.pk}/edit"),
        "delete": at_desk.get(f"/console/strategies/{instance.pk}/delete"),
        "start": at_desk.post(f"/console/strategies/{instance.pk}/start"),
        "pause": at_desk.post(f"/console/strategies/{instance.pk}/pause"),
        "stop": at_desk.post(f"/console/strategies/{instance.pk}/stop"),
        "order": at_desk.get("/console/orders/new"),
        "kill": at_desk.get("/console/kill-switch"),
        "policy": at_desk.get("/console/risk-policy"),
        "remove": at_desk.get(f"/console/connections/{connection.pk}/delete"),
        "symbol": at_desk.get("/console/orders/new", {"symbol": MARKUP}),
        "bad name": at_desk.post("/console/connections/new", {"name": MARKUP}),
        "bad symbol": at_desk.post("/console/strategies/new", {"name": "x", "symbol": MARKUP}),
    }
    for name, answer in fragments.items():
        text = answer.content.decode()
        assert ESCAPED in text, name
        assert "<img" not in text, name
        assert "onerror" not in str(answer.headers), name


def test_without_script_a_part_is_a_page_and_a_post_leads_back(alices: Owned) -> None:
    browser = Browser()
    browser.force_login(alices.user)
    answer = browser.get("/console/orders/new")
    assert answer.content.decode().startswith("<!doctype html>")
    assert Page(answer).inputs["symbol"].value == "BTC/USDT"
    assert "HX-Request" in answer["Vary"]
    done = browser.post(f"/console/orders/{alices.order.pk}/cancel")
    assert (done.status_code, done["Location"]) == (302, "/")


@pytest.mark.parametrize("path", ["orders/new", "strategies/new", "kill-switch", "risk-policy", "connections/new"])
def test_text_that_no_database_stores_is_refused(at_desk: Browser, alices: Owned, path: str) -> None:
    answer = at_desk.post(f"/console/{path}", {"name": "a\x00b", "symbol": "\x00", "reason": "\x00"})
    assert answer.status_code == 400
    assert "NUL" in answer.content.decode()
