"""LIM-1: everybody's requests, then a user's, then a connection's orders; what must work is never refused."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from django.conf import settings
from django.db import OperationalError
from django.test import Client as Browser
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from accounts.caller import Caller
from accounts.models import User
from accounts.rate_limits import RateLimited, check_request
from accounts.tenancy import everyone
from audit.models import AuditLog
from connections.models import Connection
from desproject.lib import sliding_windows
from desproject.lib.sliding_windows import SharedWindows
from desproject.rate_limits import EXEMPT
from tests.conftest import PASSWORD
from tests.web.conftest import Client
from tests.web.exchange import ALICE_KEY
from tests.web.rows import make_connection, make_order
from tests.web.test_error_format import error_of
from tests.web.test_orders import place

Limit = Callable[..., None]
NOWHERE = Caller(None, "")


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    """``limit(requests=3)`` sets RATE_LIMIT_REQUESTS."""

    def set_limits(**values: int) -> None:
        for name, value in values.items():
            monkeypatch.setattr(settings.CONFIG, f"rate_limit_{name}", value)

    return set_limits


@pytest.fixture
def connection(alice: User) -> Connection:
    return make_connection(alice, ALICE_KEY)


def refusal_of(answer: Any) -> dict[str, Any]:
    error = error_of(answer, 429)
    assert error["code"] == "RATE_LIMITED"
    assert answer["Retry-After"] == str(error["retry_after"])
    return error


def hits() -> list[AuditLog]:
    with everyone():
        return list(AuditLog.objects.filter(event_type="rate_limit.hit").order_by("pk"))


def test_the_101st_request_of_a_user_is_refused_and_hurts_nobody_else(
    as_alice: APIClient, as_bob: APIClient, alice: User
) -> None:
    assert {as_alice.get("/api/disclosure").status_code for _ in range(100)} == {200}
    assert 0 < refusal_of(as_alice.get("/api/me"))["retry_after"] <= 60
    assert as_bob.get("/api/me").status_code == 200


def test_a_hundred_users_have_a_hundred_requests_each(
    limit: Limit, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that LIM-1 counts, without HTTP: tests/system/test_rate_limits.py has fewer, over two web processes."""
    monkeypatch.setattr("accounts.journal.record", lambda *_, **__: None)  # these users have no rows
    limit(global_requests=20_000)
    for user in [uuid4() for _ in range(100)]:
        for _ in range(100):
            check_request(user, NOWHERE, "")
        with pytest.raises(RateLimited):
            check_request(user, NOWHERE, "")


def test_tokens_of_one_user_share_their_limit(limit: Limit, logged_in: Client, alice: User) -> None:
    limit(requests=2)
    for _ in range(2):
        assert logged_in(alice).get("/api/me").status_code == 200
    refusal_of(logged_in(alice).get("/api/me"))


def test_browser_and_api_share_a_users_limit(limit: Limit, as_alice: APIClient, alice: User) -> None:
    browser = Browser()
    browser.force_login(alice)
    limit(requests=2)
    assert browser.get("/").status_code == 200
    assert as_alice.get("/api/me").status_code == 200
    refused = browser.get("/")
    assert refused.status_code == 429
    assert refused["Content-Type"].startswith("text/html")
    assert "Too many requests" in refused.content.decode()


def test_everybody_shares_the_global_limit(limit: Limit, as_alice: APIClient, as_bob: APIClient) -> None:
    limit(global_requests=3)
    assert [as_alice.get("/api/me").status_code for _ in range(3)] == [200] * 3
    assert "everybody" in refusal_of(as_bob.get("/api/me"))["message"]


def test_a_flood_of_one_user_takes_nothing_from_the_global_limit(
    limit: Limit, as_alice: APIClient, as_bob: APIClient
) -> None:
    limit(global_requests=5, requests=3)
    assert [as_alice.get("/api/me").status_code for _ in range(20)] == [200] * 3 + [429] * 17
    assert [as_bob.get("/api/me").status_code for _ in range(2)] == [200] * 2


def test_nobody_known_is_counted_by_address(limit: Limit, anonymous: APIClient, as_alice: APIClient) -> None:
    limit(requests=2)
    assert [anonymous.get("/api/me").status_code for _ in range(3)] == [401, 401, 429]
    assert anonymous.get("/no-such-page").status_code == 429
    assert anonymous.get("/api/me", REMOTE_ADDR="192.0.2.7").status_code == 401
    assert as_alice.get("/api/me").status_code == 200, "who is logged in isn't counted by address"


def test_addresses_of_one_ipv6_customer_are_one(limit: Limit, anonymous: APIClient) -> None:
    limit(requests=1)
    assert anonymous.get("/api/me", REMOTE_ADDR="2001:db8::1").status_code == 401
    assert anonymous.get("/api/me", REMOTE_ADDR="2001:db8::2").status_code == 429
    assert anonymous.get("/api/me", REMOTE_ADDR="2001:db8:0:1::1").status_code == 401


def test_a_forged_token_counts_for_the_address_only(
    limit: Limit, anonymous: APIClient, as_alice: APIClient, alice: User
) -> None:
    limit(requests=1)
    forged = "Bearer eyJhbGciOiJIUzI1NiJ9." + "eyJ1c2VyX2lkIjoxfQ" + ".AAAA"
    answers = [anonymous.get("/api/me", HTTP_AUTHORIZATION=forged).status_code for _ in range(2)]
    assert answers == [401, 429]
    assert as_alice.get("/api/me").status_code == 200


def test_a_connection_takes_ten_orders_a_second(
    as_alice: APIClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounts.rate_limits._ORDER_SECONDS", 30.0)  # placing ten may take a second
    other = make_connection(connection.user, ALICE_KEY, "other")
    assert [place(as_alice, connection).status_code for _ in range(10)] == [202] * 10
    assert "orders" in refusal_of(place(as_alice, connection))["message"]
    assert place(as_alice, other).status_code == 202
    (hit,) = hits()
    assert (hit.resource_type, hit.resource_id) == ("connection", str(connection.pk))


def test_a_strangers_connection_is_not_counted(
    limit: Limit, as_bob: APIClient, as_alice: APIClient, connection: Connection
) -> None:
    limit(orders=1)
    assert [place(as_bob, connection).status_code for _ in range(3)] == [404] * 3
    assert place(as_alice, connection).status_code == 202


def test_the_order_of_the_limits_is_global_user_connection(
    limit: Limit, as_alice: APIClient, connection: Connection
) -> None:
    limit(orders=1, requests=2, global_requests=3)
    assert place(as_alice, connection).status_code == 202
    assert "orders" in refusal_of(place(as_alice, connection))["message"]
    assert refusal_of(place(as_alice, connection))["message"].startswith("too many requests, ")
    limit(global_requests=2)
    assert "everybody" in refusal_of(place(as_alice, connection))["message"]


@pytest.fixture
def exhausted(limit: Limit, alice: User, as_alice: APIClient, connection: Connection) -> Browser:
    """Every limit is used up, for everybody. A browser of Alice's that was logged in before."""
    browser = Browser()
    assert browser.post("/login", {"email": alice.email, "password": PASSWORD}).status_code == 302
    limit(orders=1, requests=1, global_requests=1)
    place(as_alice, connection)
    assert as_alice.get("/api/me").status_code == 429
    assert browser.get("/").status_code == 429
    return browser


def test_what_must_work_works_while_every_limit_is_exhausted(
    exhausted: Browser, as_alice: APIClient, anonymous: APIClient, connection: Connection, logged_in: Client
) -> None:
    orders = [make_order(connection) for _ in range(2)]
    assert anonymous.get("/api/health").status_code == 200
    assert anonymous.head("/api/health").status_code == 200
    assert anonymous.get("/api/health/ready").status_code in {200, 503}
    operator = logged_in(User.objects.create_superuser("operator@example.org", PASSWORD))
    assert operator.get("/api/metrics").status_code == 200
    assert as_alice.delete(f"/api/orders/{orders[0].pk}").status_code == 202
    assert exhausted.post(f"/console/orders/{orders[1].pk}/cancel").status_code == 302
    pressed = as_alice.post("/api/kill-switch", {"level": "user", "reason": "a flood"}, format="json")
    assert pressed.status_code == 201
    assert exhausted.get("/console/kill-switch").status_code == 200
    assert exhausted.post("/console/kill-switch", {"target": "user", "reason": "a flood"}).status_code == 200
    assert as_alice.post("/api/logout").status_code == 200
    assert exhausted.post("/logout").status_code == 302
    assert anonymous.get("/api/me").status_code == 429, "all the while the limits were exhausted"


def routes(patterns: list[Any], before: str = "") -> Iterator[str]:
    """Every route of the site as a path; converters as something that they match."""
    for entry in patterns:
        path = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry.url_patterns, path)
        elif isinstance(entry, URLPattern):
            yield "/" + re.sub(r"<[^>]+>", str(UUID(int=7)), path)


def all_routes() -> list[str]:
    """Every route of the site."""
    return list(routes(get_resolver().url_patterns))


def test_exactly_these_routes_are_exempt() -> None:
    seven = str(UUID(int=7))
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    found = {
        f"{method} {path}" for path in all_routes() for method in methods
        if EXEMPT.fullmatch(f"{method} {path}")
    }  # fmt: skip
    watched = {f"/api/{name}" for name in ("health", "health/ready", "metrics", "metrics/latency")}
    assert found == {f"{method} {path}" for method in ("GET", "HEAD") for path in watched} | {
        "POST /api/logout", "POST /logout", f"DELETE /api/orders/{seven}", f"POST /console/orders/{seven}/cancel",
        "GET /api/kill-switch", "POST /api/kill-switch", "DELETE /api/kill-switch",
        "GET /console/kill-switch", "POST /console/kill-switch",
        "GET /console/kill-switch/lift", "POST /console/kill-switch/lift",
    }  # fmt: skip


def test_one_hit_a_window_is_recorded_not_every_refusal(
    limit: Limit, as_alice: APIClient, alice: User, anonymous: APIClient
) -> None:
    limit(requests=1)
    for _ in range(5):
        as_alice.get("/api/me", HTTP_USER_AGENT="a script")
        anonymous.get("/api/me")
    of_alice, of_nobody = hits()
    assert (of_alice.user_id, of_alice.ip, of_alice.user_agent) == (alice.pk, "127.0.0.1", "a script")
    assert (of_alice.resource_type, of_alice.resource_id) == ("user", str(alice.pk))
    assert of_alice.details == {"limit": 1, "window_seconds": 60, "refused": "GET /api/me"}
    assert (of_nobody.user_id, of_nobody.resource_type, of_nobody.resource_id) == (None, "address", "127.0.0.1")


def test_without_redis_requests_and_orders_are_limited_by_each_process(
    limit: Limit, as_alice: APIClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sliding_windows, "sync_client", lambda: redis.Redis(port=1))
    monkeypatch.setattr("accounts.rate_limits.WINDOWS", SharedWindows())
    limit(requests=3, orders=1)
    assert place(as_alice, connection).status_code == 202
    assert "orders" in refusal_of(place(as_alice, connection))["message"]
    assert as_alice.get("/api/me").status_code == 200
    refusal_of(as_alice.get("/api/me"))


def test_a_refusal_carries_the_security_headers(limit: Limit, anonymous: APIClient) -> None:
    limit(requests=1)
    anonymous.get("/api/me")
    answer = anonymous.get("/api/me")
    assert answer.status_code == 429
    assert answer["X-Frame-Options"] == "DENY"
    assert "default-src 'self'" in answer["Content-Security-Policy"]


def test_hits_that_cannot_be_recorded_are_refused_all_the_same(
    limit: Limit, as_alice: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("away")

    limit(requests=1)
    as_alice.get("/api/me")
    monkeypatch.setattr("accounts.journal.record", fail)
    refusal_of(as_alice.get("/api/me"))


