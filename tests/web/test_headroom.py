"""GET /api/risk/headroom: how much of each limit is used, and whose limit it is."""

from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections.events import Quote
from connections.prices import PriceCache
from desproject.lib import bus
from desproject.lib.clock import SYSTEM_CLOCK
from risk.models import RiskMetrics, RiskPolicy
from tests.web.exchange import ALICE_KEY, BOB_KEY
from tests.web.rows import Owned, make_connection, make_everything


@pytest.fixture
def alices(alice: User) -> Owned:
    """0.1 BTC held at 49000, an open buy of 0.5 at 50000.10 that reserves 60.5 USDT, an order limit of the user."""
    return make_everything(alice, ALICE_KEY)


def limit(owned: Owned, level: str, target: Any, **limits: Any) -> None:
    with tenant_scope(owned.user.pk):
        RiskPolicy.objects.update_or_create(user=owned.user, level=level, target_id=target, defaults=limits)


def entries(client: APIClient, rule: str) -> list[dict[str, Any]]:
    return [row for row in client.get("/api/risk/headroom").json() if row["rule"] == rule]


def test_without_a_policy_the_global_limits_show(as_alice: APIClient, alices: Owned) -> None:
    assert as_alice.get("/api/risk/headroom").json() == [
        {
            "level": "global", "connection": str(alices.connection.pk), "strategy_instance": None, "symbol": None,
            "rule": "open_orders", "limit": "200", "used": "1", "left": "199", "unit": "orders", "ratio": "0.005",
        }
    ]


def test_exposure_is_what_is_held_and_what_open_buys_may_spend(as_alice: APIClient, alices: Owned) -> None:
    limit(alices, "user", alices.user.pk, max_exposure=Decimal(10_000))
    (row,) = entries(as_alice, "exposure")
    assert (row["level"], row["unit"], row["used"], row["left"], row["ratio"]) == (
        "user", "USDT", "4960.5", "5039.5", "0.496"
    )


@pytest.fixture
async def _priced(redis_server: str) -> None:
    cache, client = PriceCache(), bus.connect()
    cache.take(
        "binance_spot:simulator", Quote("BTC/USDT", 5_000_000, Decimal(60_000), Decimal(1), Decimal(60_001), Decimal(1))
    )
    await cache.mirror_once(client)
    await client.aclose()


@pytest.mark.usefixtures("_priced")
def test_what_is_held_counts_at_the_present_price(as_alice: APIClient, alices: Owned) -> None:
    limit(alices, "user", alices.user.pk, max_exposure=Decimal(10_000), max_position_size=Decimal(30_000))
    assert entries(as_alice, "exposure")[0]["used"] == "6060.5"
    (row,) = entries(as_alice, "position_size")
    assert (row["symbol"], row["used"], row["left"], row["ratio"]) == ("BTC/USDT", "36000", "0", "1.2")


def test_the_connections_limit_goes_before_the_users(as_alice: APIClient, alices: Owned) -> None:
    limit(alices, "user", alices.user.pk, max_open_orders=50)
    limit(alices, "connection", alices.connection.pk, max_open_orders=4)
    (row,) = entries(as_alice, "open_orders")
    assert (row["level"], row["limit"], row["ratio"]) == ("connection", "4", "0.25")


def test_a_strategys_own_limit_stands_beside_its_connections(as_alice: APIClient, alices: Owned) -> None:
    limit(alices, "strategy", alices.instance.pk, max_open_orders=0)
    of_connection, own = entries(as_alice, "open_orders")
    assert (of_connection["level"], of_connection["strategy_instance"]) == ("global", None)
    assert (own["level"], own["strategy_instance"], own["ratio"]) == ("strategy", str(alices.instance.pk), "1")


def test_only_todays_loss_counts_and_a_win_is_none(as_alice: APIClient, alices: Owned) -> None:
    limit(alices, "user", alices.user.pk, max_daily_loss=Decimal(100))
    with tenant_scope(alices.user.pk):
        RiskMetrics.objects.update(realized_pnl=Decimal(-500))  # of another day
        today = {"user": alices.user, "connection": alices.connection, "date": SYSTEM_CLOCK.now().date()}
        RiskMetrics.objects.create(**today, quote_asset="USDT", realized_pnl=Decimal("-25.5"))
        RiskMetrics.objects.create(**today, quote_asset="BTC", realized_pnl=Decimal("0.5"))
    used = {row["unit"]: (row["used"], row["left"], row["ratio"]) for row in entries(as_alice, "daily_loss")}
    assert used == {"USDT": ("25.5", "74.5", "0.255"), "BTC": ("0", "100", "0")}


def test_a_connection_without_trades_shows_its_limits_unused(as_alice: APIClient, alice: User) -> None:
    row = make_connection(alice, ALICE_KEY)
    with tenant_scope(alice.pk):
        RiskPolicy.objects.create(user=alice, level="user", target_id=alice.pk, max_open_orders=3)
    (entry,) = as_alice.get("/api/risk/headroom").json()
    assert (entry["connection"], entry["used"], entry["left"]) == (str(row.pk), "0", "3")


def test_others_use_nothing_of_hers(as_alice: APIClient, alices: Owned, bob: User) -> None:
    make_everything(bob, BOB_KEY)
    assert [row["used"] for row in entries(as_alice, "open_orders")] == ["1"]


def test_it_takes_few_queries(as_alice: APIClient, alices: Owned, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(9):
        as_alice.get("/api/risk/headroom")
