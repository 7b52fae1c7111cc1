"""GET /api/equity: the line of a user's accounts, and how long its points are kept."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from connections.models import Connection
from desproject.lib.clock import SYSTEM_CLOCK, ManualClock, to_millis
from tests.web.exchange import ALICE_KEY, BOB_KEY
from tests.web.rows import make_connection
from trading import equity
from trading.models import EquityPoint

MINUTE = timedelta(minutes=1)


@pytest.fixture
def spot(alice: User) -> Connection:
    return make_connection(alice, ALICE_KEY)


def point(connection: Connection, at: datetime, value: str, asset: str = "USDT") -> None:
    with tenant_scope(connection.user_id):
        EquityPoint.objects.create(
            user_id=connection.user_id, connection=connection, asset=asset, at=at, value=Decimal(value)
        )


def this_minute() -> datetime:
    return SYSTEM_CLOCK.now().replace(second=0, microsecond=0)


def test_a_users_accounts_are_added_up_and_a_missing_minute_is_no_fall(as_alice: APIClient, spot: Connection) -> None:
    now = this_minute()
    other = make_connection(spot.user, ALICE_KEY, "second")
    point(spot, now - 3 * MINUTE, "100.5")
    point(other, now - 3 * MINUTE, "10")
    point(spot, now - 2 * MINUTE, "101")
    point(other, now - MINUTE, "11")
    answer = as_alice.get("/api/equity").json()
    stamps = [to_millis(now - number * MINUTE) for number in (3, 2, 1)]
    assert answer == {
        "asset": "USDT", "points": [[stamps[0], "110.5"], [stamps[1], "111"], [stamps[2], "112"]]
    }  # fmt: skip
    alone = as_alice.get("/api/equity", {"connection": str(other.pk)}).json()
    assert alone["points"] == [[stamps[0], "10"], [stamps[2], "11"]]


def test_the_asset_is_the_most_common_unless_asked(as_alice: APIClient, spot: Connection) -> None:
    now = this_minute()
    point(spot, now, "1", "BTC")
    point(spot, now, "100")
    point(spot, now - MINUTE, "100")
    assert as_alice.get("/api/equity").json()["asset"] == "USDT"
    assert as_alice.get("/api/equity", {"asset": "BTC"}).json()["points"] == [[to_millis(now), "1"]]


def test_nothing_is_an_empty_line(as_alice: APIClient, spot: Connection) -> None:
    assert as_alice.get("/api/equity").json() == {"asset": "", "points": []}


def test_since_narrows_and_a_day_is_the_default(as_alice: APIClient, spot: Connection) -> None:
    now = this_minute()
    for days in (0, 2, 5):
        point(spot, now - timedelta(days=days), str(days + 1))

    def values(**query: str) -> list[str]:
        return [row[1] for row in as_alice.get("/api/equity", query).json()["points"]]

    assert values() == ["1"]
    assert values(since=(now - timedelta(days=3)).isoformat()) == ["3", "1"]
    assert values(since="1900-01-01T00:00:00Z") == ["6", "3", "1"]


def test_a_long_line_is_thinned_and_keeps_its_ends(as_alice: APIClient, spot: Connection) -> None:
    now = this_minute()
    with tenant_scope(spot.user_id):
        EquityPoint.objects.bulk_create(
            EquityPoint(user_id=spot.user_id, connection=spot, asset="USDT", at=now - n * MINUTE, value=Decimal(n))
            for n in range(1200)
        )
    points = as_alice.get("/api/equity").json()["points"]
    assert 450 <= len(points) <= 500
    assert points[-1] == [to_millis(now), "0"]
    assert points == sorted(points)


@pytest.mark.parametrize(
    ("query", "field"),
    [({"connection": "x"}, "connection"), ({"since": "soon"}, "since"), ({"asset": "<b>"}, "asset"),
     ({"asset": "A" * 17}, "asset")],
)  # fmt: skip
def test_bad_values_are_named(as_alice: APIClient, query: dict[str, str], field: str) -> None:
    answer = as_alice.get("/api/equity", query)
    assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, [field])


def test_anothers_line_is_not_found_and_not_added(as_alice: APIClient, bob: User, spot: Connection) -> None:
    bobs = make_connection(bob, BOB_KEY)
    point(bobs, this_minute(), "777")
    assert as_alice.get("/api/equity", {"connection": str(bobs.pk)}).status_code == 404
    assert as_alice.get("/api/equity").json()["points"] == []


def test_old_minutes_go_and_hours_stay(spot: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equity, "_BATCH", 7)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(150):
        point(spot, start + number * MINUTE, str(number))
    clock = ManualClock(start + timedelta(days=30, minutes=100))
    assert equity.prune(clock) == 98
    assert equity.prune(clock) == 0
    with everyone():
        left: list[Any] = list(EquityPoint.objects.order_by("at").values_list("at", flat=True))
    assert left == [start, start + 60 * MINUTE, *(start + number * MINUTE for number in range(100, 150))]
