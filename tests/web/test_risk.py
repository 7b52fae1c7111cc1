"""Limits and kill switches over HTTP."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tenancy import everyone, shard_of, tenant_scope
from audit.models import AuditLog
from desproject.lib import bus
from desproject.lib.clock import SYSTEM_CLOCK
from risk.models import KillSwitch, RiskMetrics, RiskPolicy
from tests.conftest import PASSWORD
from tests.web.conftest import Client
from tests.web.exchange import ALICE_KEY, BOB_KEY
from tests.web.rows import make_connection, make_instance


def press(client: APIClient, **body: Any) -> Any:
    return client.post("/api/kill-switch", {"level": "user", "reason": "a bad day", **body}, format="json")


def held(client: APIClient) -> list[dict[str, Any]]:
    return client.get("/api/kill-switch").json()  # type: ignore[no-any-return]


def test_pressing_and_lifting(as_alice: APIClient, alice: User) -> None:
    answer = press(as_alice, flatten=True)
    assert answer.status_code == 201, answer.content
    assert [(row["level"], row["target"], row["flatten"]) for row in held(as_alice)] == [("user", str(alice.pk), True)]
    lifted = as_alice.delete("/api/kill-switch?level=user&reason=calm+again")
    assert lifted.status_code == 200, lifted.content
    assert lifted.json()[0]["lift_reason"] == "calm again"
    assert held(as_alice) == []
    with everyone():
        row = KillSwitch.objects.get()
        events = AuditLog.objects.filter(event_type__startswith="kill_switch").order_by("id")
        assert [event.event_type for event in events] == ["kill_switch.pressed", "kill_switch.lifted"]
    assert row.lifted_at is not None


def test_lifting_takes_a_body_too(as_alice: APIClient) -> None:
    press(as_alice)
    assert as_alice.delete("/api/kill-switch", {"level": "user"}, format="json").status_code == 200


def test_lifting_what_is_not_pressed_is_not_found(as_alice: APIClient) -> None:
    assert as_alice.delete("/api/kill-switch?level=user").status_code == 404


def test_own_connections_and_strategies_can_be_stopped(as_alice: APIClient, alice: User) -> None:
    connection = make_connection(alice, ALICE_KEY)
    instance = make_instance(connection)
    assert press(as_alice, level="connection", id=str(connection.pk)).status_code == 201
    assert press(as_alice, level="strategy", id=str(instance.pk)).status_code == 201
    assert {row["target"] for row in held(as_alice)} == {str(connection.pk), str(instance.pk)}


def test_pressing_wakes_the_engine(
    as_alice: APIClient, alice: User, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    sent: list[bus.Wake] = []
    monkeypatch.setattr("risk.services.wake", lambda *messages: sent.extend(messages))
    with django_capture_on_commit_callbacks(execute=True):
        press(as_alice)
    assert sent == [bus.Wake(shard_of(alice.pk), alice.pk, "kill")]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"level": "everything"}, 400),
        ({"level": "connection"}, 400),
        ({"level": "strategy", "id": "mine"}, 400),
        ({"level": "strategy", "id": str(uuid4())}, 404),
        ({"level": "user", "id": str(uuid4())}, 404),
        ({"level": "system"}, 403),
        ({"reason": ""}, 400),
        ({"reason": "r" * 501}, 400),
        ({"flatten": "maybe"}, 400),
    ],
)
def test_bad_presses_are_refused(as_alice: APIClient, body: dict[str, Any], status: int) -> None:
    assert press(as_alice, **body).status_code == status
    assert held(as_alice) == []


def test_administrators_stop_the_whole_system(
    as_alice: APIClient, alice: User, bob: User, logged_in: Client, monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    sent: list[bus.Wake] = []
    monkeypatch.setattr("risk.services.wake", lambda *messages: sent.extend(messages))
    operator = User.objects.create_superuser("operator@example.org", PASSWORD)
    client = logged_in(operator)
    with django_capture_on_commit_callbacks(execute=True):
        assert press(client, level="system").status_code == 201
    assert {message.user_id for message in sent} == {alice.pk, bob.pk, operator.pk}
    other = logged_in(User.objects.create_superuser("second@example.org", PASSWORD))
    assert [row["level"] for row in held(other)] == ["system"]
    assert as_alice.delete("/api/kill-switch?level=system").status_code == 403
    assert other.delete("/api/kill-switch?level=system").status_code == 200
    with everyone():
        assert KillSwitch.objects.get().lifted_at is not None


def test_limits_are_set_and_shown(as_alice: APIClient, alice: User) -> None:
    connection = make_connection(alice, ALICE_KEY)
    body = {"level": "user", "max_order_size": "1000.50", "max_open_orders": 5}
    answer = as_alice.put("/api/risk/policy", body, format="json")
    assert answer.status_code == 200, answer.content
    as_alice.put(
        "/api/risk/policy", {"level": "connection", "id": str(connection.pk), "max_daily_loss": "50"}, format="json"
    )
    shown = as_alice.get("/api/risk/policy").json()
    assert shown["effective"] == {
        "max_order_size": "1000.5", "max_position_size": None, "max_exposure": None, "max_daily_loss": None,
        "max_open_orders": 5, "max_drawdown": None, "max_daily_trades": None, "max_orders_per_second": None,
        "symbols": None, "max_leverage": None, "max_slippage": "0.001", "max_depth_share": "0.1",
        "max_market_btc": "0.1",
    }
    assert {(row["level"], row["id"]) for row in shown["policies"]} == {
        ("user", str(alice.pk)), ("connection", str(connection.pk))
    }


def test_setting_limits_again_replaces_them(as_alice: APIClient) -> None:
    as_alice.put("/api/risk/policy", {"level": "user", "max_order_size": "10", "max_exposure": "90"}, format="json")
    as_alice.put("/api/risk/policy", {"level": "user", "max_order_size": "20"}, format="json")
    with everyone():
        row = RiskPolicy.objects.get()
    assert (str(row.max_order_size), row.max_exposure) == ("20", None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"level": "global"}, "level"),
        ({"max_order_size": "-1"}, "max_order_size"),
        ({"max_order_size": 0.5}, "max_order_size"),
        ({"max_open_orders": -1}, "max_open_orders"),
        ({"max_open_orders": 10**12}, "max_open_orders"),
        ({"max_orders_per_second": 0}, "max_orders_per_second"),
        ({"symbols": ["BTC/USDT", "btc-usdt"]}, "symbols.1"),
        ({"symbols": "BTC/USDT"}, "symbols"),
        ({"level": "connection"}, "id"),
        ({"max_leverage": 0}, "max_leverage"),
        ({"max_leverage": 1001}, "max_leverage"),
        ({"max_slippage": "-0.001"}, "max_slippage"),
        ({"max_slippage": "1.1"}, "max_slippage"),
        ({"max_depth_share": "0"}, "max_depth_share"),
        ({"max_market_btc": "NaN"}, "max_market_btc"),
        ({"max_order_size": "10", "max_exposure": "9.99"}, "max_order_size"),
        ({"max_position_size": "10", "max_exposure": "9.99"}, "max_position_size"),
    ],
)
def test_bad_limits_are_named(as_alice: APIClient, body: dict[str, Any], field: str) -> None:
    answer = as_alice.put("/api/risk/policy", {"level": "user", **body}, format="json")
    assert answer.status_code == 400
    assert field in answer.json()["error"]["fields"]


def test_metrics_are_summed_over_a_users_connections(as_alice: APIClient, alice: User, bob: User) -> None:
    today = SYSTEM_CLOCK.now().date()
    spot, futures = (make_connection(alice, ALICE_KEY, name) for name in ("spot", "futures"))
    others = make_connection(bob, BOB_KEY)
    traded = ((spot, "USDT", "-1.5"), (futures, "USDT", "4"), (futures, "USDC", "2"), (others, "USDT", "9"))
    for row, asset, pnl in traded:
        with tenant_scope(row.user_id):
            RiskMetrics.objects.create(
                user_id=row.user_id, connection=row, date=today, quote_asset=asset, trade_count=2,
                realized_pnl=Decimal(pnl), loss=max(-Decimal(pnl), Decimal(0)),
            )
    told = as_alice.get("/api/risk/metrics/summed?days=1").json()
    assert told == [
        {
            "date": str(today), "quote_asset": "USDC", "connections": 1, "trade_count": 2, "realized_pnl": "2",
            "loss": "0",
        },
        {
            "date": str(today), "quote_asset": "USDT", "connections": 2, "trade_count": 4, "realized_pnl": "2.5",
            "loss": "1.5",
        },
    ]
    assert "days" in as_alice.get("/api/risk/metrics/summed?days=0").json()["error"]["fields"]
