"""Strategy instances over HTTP: made, changed, started, stopped; bad values named by field."""

from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tenancy import everyone, shard_of, tenant_scope
from audit.models import AuditLog
from connections.models import Connection
from desproject.lib import bus
from tests.web.exchange import ALICE_KEY
from tests.web.rows import make_connection, make_everything, make_instance, make_order
from trading.models import StrategyInstance


@pytest.fixture
def connection(alice: User) -> Connection:
    return make_connection(alice, ALICE_KEY)


def create(client: APIClient, connection: Connection, /, **changes: Any) -> Any:
    body = {
        "name": "dips", "strategy": "rsi", "connection": str(connection.pk), "symbol": "BTC/USDT", "timeframe": "1m",
        "params": {"period": 10, "oversold": 25.5}, "sizing": {"type": "quote_amount", "amount": "100"}, **changes,
    }
    return client.post("/api/strategy-instances", body, format="json")


def stored() -> list[StrategyInstance]:
    with everyone():
        return list(StrategyInstance.objects.all())


def test_an_instance_is_made_stopped(as_alice: APIClient, connection: Connection) -> None:
    answer = create(as_alice, connection)
    assert answer.status_code == 201, answer.content
    body = answer.json()
    assert (body["status"], body["strategy"], body["symbol"]) == ("stopped", "rsi", "BTC/USDT")
    assert body["params"] == {"period": 10, "oversold": 25.5}
    assert body["performance"] == {
        "trades": 0, "realized_pnl": "0", "results": 0, "win_rate": None, "average_profit": None,
        "profit_factor": None, "sharpe": None, "max_drawdown": "0",
        "last_7_days": {"results": 0, "win_rate": None, "average_profit": None},
    }
    assert as_alice.get(f"/api/strategy-instances/{body['id']}").json() == body
    with everyone():
        assert AuditLog.objects.filter(event_type="strategy.created", resource_id=body["id"]).count() == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"strategy": "martingale"}, "strategy"),
        ({"params": {"period": 1}}, "params.period"),
        ({"params": {"period": 100_000}}, "params.period"),
        ({"params": {"period": "many"}}, "params.period"),
        ({"params": {"period": 10.5}}, "params.period"),
        ({"params": {"oversold": -3}}, "params.oversold"),
        ({"params": {"oversold": None}}, "params.oversold"),
        ({"params": {"oversold": 80, "overbought": 20}}, "params.overbought"),
        ({"params": {"colour": "red"}}, "params.colour"),
        ({"params": []}, "params"),
        ({"params": "period=3"}, "params"),
        ({"sizing": {"type": "quote_amount", "amount": "-5"}}, "sizing.amount"),
        ({"sizing": {"type": "quote_amount", "amount": "NaN"}}, "sizing.amount"),
        ({"sizing": {"type": "quote_amount", "amount": 5.5}}, "sizing.amount"),
        ({"sizing": {"type": "everything"}}, "sizing.type"),
        ({"sizing": {}}, "sizing.type"),
        ({"exits": {"stop_loss": "1"}}, "exits.stop_loss"),
        ({"exits": {"stop_loss": 0.02}}, "exits.stop_loss"),
        ({"exits": {"take_profit": "101"}}, "exits.take_profit"),
        ({"exits": {"trailing_stop": "-0.1"}}, "exits.trailing_stop"),
        ({"exits": {"max_holding_seconds": 0}}, "exits.max_holding_seconds"),
        ({"exits": {"cool_down_seconds": 99999999}}, "exits.cool_down_seconds"),
        ({"exits": {"stop": "0.1"}}, "exits.stop"),
        ({"exits": "none"}, "exits"),
        ({"symbol": "BTC-USDT"}, "symbol"),
        ({"symbol": ""}, "symbol"),
        ({"timeframe": "7m"}, "timeframe"),
        ({"mode": "real"}, "mode"),
        ({"name": ""}, "name"),
        ({"name": "n" * 81}, "name"),
        ({"connection": "mine"}, "connection"),
        ({"status": "running"}, "status"),
    ],
)
def test_bad_values_are_named_by_field(
    as_alice: APIClient, connection: Connection, change: dict[str, Any], field: str
) -> None:
    answer = create(as_alice, connection, **change)
    assert answer.status_code == 400, answer.content
    assert field in answer.json()["error"]["fields"], answer.content
    assert stored() == []


def test_candles_that_the_exchange_lacks_are_refused(as_alice: APIClient, alice: User) -> None:
    futures = make_connection(alice, ALICE_KEY, "futures")
    with tenant_scope(alice.pk):
        Connection.objects.filter(pk=futures.pk).update(exchange="binance_usdm")
    answer = create(as_alice, futures, symbol="BTC/USDT:USDT", timeframe="1s")
    (reason,) = answer.json()["error"]["fields"]["timeframe"]
    assert (answer.status_code, reason[:44]) == (400, "this exchange has no such candles: must be o")
    assert create(as_alice, futures, symbol="BTC/USDT:USDT", timeframe="1m").status_code == 201


def test_starting_pausing_and_stopping(as_alice: APIClient, connection: Connection) -> None:
    path = f"/api/strategy-instances/{create(as_alice, connection).json()['id']}"
    assert as_alice.post(f"{path}/pause").status_code == 409
    for action, status in (("start", "running"), ("pause", "paused"), ("start", "running"), ("stop", "stopped")):
        answer = as_alice.post(f"{path}/{action}")
        assert (answer.status_code, answer.json()["status"]) == (200, status), action
    assert answer.json()["started_at"].endswith("Z")


def test_starting_wakes_the_engine(
    as_alice: APIClient, alice: User, connection: Connection, monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    instance = make_instance(connection)
    sent: list[bus.Wake] = []
    monkeypatch.setattr("trading.services.wake", sent.append)
    with django_capture_on_commit_callbacks(execute=True):
        as_alice.post(f"/api/strategy-instances/{instance.pk}/start")
    assert sent == [bus.Wake(shard_of(alice.pk), alice.pk, "instance")]


def test_a_stopped_instance_is_changed(as_alice: APIClient, connection: Connection) -> None:
    instance = make_instance(connection)
    body = {"name": "other", "params": {"period": 20}, "symbol": "ETH/USDT"}
    answer = as_alice.patch(f"/api/strategy-instances/{instance.pk}", body, format="json")
    assert answer.status_code == 200, answer.content
    assert (answer.json()["name"], answer.json()["symbol"], answer.json()["timeframe"]) == ("other", "ETH/USDT", "1m")


def test_a_running_instance_is_not_changed_or_deleted(as_alice: APIClient, connection: Connection) -> None:
    path = f"/api/strategy-instances/{make_instance(connection, status='running').pk}"
    assert as_alice.patch(path, {"symbol": "ETH/USDT"}, format="json").status_code == 409
    assert as_alice.delete(path).status_code == 409
    (row,) = stored()
    assert (row.symbol, row.is_deleted) == ("BTC/USDT", False)


def test_its_strategy_cannot_be_changed(as_alice: APIClient, connection: Connection) -> None:
    path = f"/api/strategy-instances/{make_instance(connection).pk}"
    answer = as_alice.patch(path, {"strategy": "ema_cross"}, format="json")
    assert answer.status_code == 400
    assert "strategy" in answer.json()["error"]["fields"]


def test_a_deleted_instance_is_gone(as_alice: APIClient, connection: Connection) -> None:
    path = f"/api/strategy-instances/{make_instance(connection).pk}"
    assert as_alice.delete(path).status_code == 204
    assert as_alice.get(path).status_code == 404
    assert as_alice.post(f"{path}/start").status_code == 404
    assert as_alice.get("/api/strategy-instances").json()["results"] == []


def test_performance_sums_the_instances_trades(as_alice: APIClient, alice: User) -> None:
    owned = make_everything(alice, ALICE_KEY)
    body = as_alice.get(f"/api/strategy-instances/{owned.instance.pk}").json()
    assert (body["performance"]["trades"], body["performance"]["realized_pnl"]) == (1, "0")


def test_a_list_takes_the_same_queries_however_long(
    as_alice: APIClient, connection: Connection, django_assert_max_num_queries: Any
) -> None:
    for _ in range(30):
        make_instance(connection)
    with django_assert_max_num_queries(5):
        assert len(as_alice.get("/api/strategy-instances?limit=200").json()["results"]) == 30


def test_the_catalogue_describes_every_strategy(as_alice: APIClient) -> None:
    kinds = {row["slug"]: row for row in as_alice.get("/api/strategies").json()}
    assert {"rsi", "ema_cross"} <= set(kinds)
    period = kinds["rsi"]["params"]["properties"]["period"]
    assert (period["type"], period["minimum"], period["default"]) == ("integer", 2, 14)
    assert "1m" in kinds["rsi"]["timeframes"]


@pytest.mark.parametrize("change", ["symbol", "connection"])
def test_an_instance_that_holds_something_stays_where_it_is(
    as_alice: APIClient, alice: User, connection: Connection, change: str
) -> None:
    instance = make_instance(connection, held_quantity=Decimal("0.5"))
    other = make_connection(alice, ALICE_KEY, name="other")
    body = {"symbol": "ETH/USDT"} if change == "symbol" else {"connection": str(other.pk)}
    answer = as_alice.patch(f"/api/strategy-instances/{instance.pk}", body, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "INSTANCE_HOLDS")
    (row,) = stored()
    assert (row.symbol, row.connection_id) == ("BTC/USDT", connection.pk)


def test_an_instance_with_an_open_order_keeps_its_symbol(as_alice: APIClient, connection: Connection) -> None:
    instance = make_instance(connection)
    make_order(connection, instance=instance)
    answer = as_alice.patch(f"/api/strategy-instances/{instance.pk}", {"symbol": "ETH/USDT"}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "INSTANCE_HOLDS")


def test_an_instance_that_holds_something_may_get_other_parameters(
    as_alice: APIClient, connection: Connection
) -> None:
    instance = make_instance(connection, held_quantity=Decimal("0.5"))
    body = {"symbol": "BTC/USDT", "params": {"period": 20}}
    answer = as_alice.patch(f"/api/strategy-instances/{instance.pk}", body, format="json")
    assert answer.status_code == 200, answer.content
