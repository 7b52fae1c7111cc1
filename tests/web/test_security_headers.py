"""SEC-1: every answer carries the security headers, whoever gives it; other origins only where they are named."""

from typing import Any

import pytest
from channels.testing import HttpCommunicator
from django.test import Client as Browser
from rest_framework.test import APIClient

from accounts.models import User
from desproject.asgi import application
from tests.web.test_rate_limits import all_routes

REQUIRED = {"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin"}  # fmt: skip
YEAR = "max-age=31536000; includeSubDomains; preload"
PATHS = sorted({*all_routes(), "/static/console/desk.css", "/static/none.css", "/nothing", "/api/nothing", "/admin"})


def lacking(answer: Any) -> set[str]:
    answer.close()  # a static file is open until then
    found = {name for name, value in REQUIRED.items() if answer.headers.get(name) != value}
    return found | ({"Content-Security-Policy"} - set(answer.headers))


@pytest.fixture(autouse=True)
def _unlimited(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings.CONFIG, "rate_limit_requests", 10_000)


def test_every_route_answers_with_them(db: None, alice: User) -> None:
    """Whatever it answers, to a GET and to a POST, to nobody known and to Alice."""
    nobody, logged_in = Browser(raise_request_exception=False), Browser(raise_request_exception=False)
    logged_in.force_login(alice)
    bare = {
        (path, method, answer.status_code): found
        for path in PATHS for browser in (nobody, logged_in) for method in ("get", "post")
        for answer in [getattr(browser, method)(path)] if (found := lacking(answer))
    }  # fmt: skip
    assert bare == {}
    assert len(PATHS) > 60


def test_faults_of_ours_carry_them(as_alice: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("trading.console.desk.render", fail)
    browser = Browser(raise_request_exception=False)
    browser.force_login(User.objects.get())
    answer = browser.get("/")
    assert answer.status_code == 500
    assert lacking(answer) == set()


def test_refusals_of_the_framework_carry_them(anonymous: APIClient) -> None:
    for answer in (
        anonymous.get("/api/health", HTTP_HOST="evil.example"),
        anonymous.post("/api/login", b"x" * 2_000_000, content_type="application/json"),
        Browser(enforce_csrf_checks=True).post("/logout"),
        anonymous.get("/api/nothing"),
        anonymous.put("/api/health"),
    ):
        assert answer.status_code in {400, 403, 404, 405, 413}
        assert lacking(answer) == set(), answer.status_code


def test_over_tls_browsers_are_told_to_stay_there(anonymous: APIClient, settings: Any) -> None:
    settings.SECURE_HSTS_SECONDS = 31_536_000
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = settings.SECURE_HSTS_PRELOAD = True
    for path in ("/api/health", "/login", "/nothing"):
        assert Browser().get(path, secure=True)["Strict-Transport-Security"] == YEAR
        assert "Strict-Transport-Security" not in Browser().get(path)


def test_where_tls_is_enforced_only_health_is_told_without_it(anonymous: APIClient, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    answer = Browser().get("/login")
    assert (answer.status_code, answer["Location"]) == (301, "https://testserver/login")
    assert lacking(answer) == set()
    assert anonymous.get("/api/health").status_code == 200
    assert anonymous.get("/api/me").status_code == 301


OURS, THEIRS = "https://desk.example", "https://evil.example"


def test_only_named_origins_may_read_answers(as_alice: APIClient, settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [OURS]
    assert as_alice.get("/api/me", HTTP_ORIGIN=OURS)["Access-Control-Allow-Origin"] == OURS
    for origin in (THEIRS, "null", f"{OURS}.evil.example", "http://desk.example"):
        answer = as_alice.get("/api/me", HTTP_ORIGIN=origin)
        assert "Access-Control-Allow-Origin" not in answer
    assert "Access-Control-Allow-Credentials" not in as_alice.get("/api/me", HTTP_ORIGIN=OURS)


def test_what_is_asked_beforehand_is_answered_to_named_origins_only(anonymous: APIClient, settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [OURS]
    asked: Any = {
        "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST", "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "idempotency-key",
    }  # fmt: skip
    allowed = anonymous.options("/api/orders", HTTP_ORIGIN=OURS, **asked)
    assert allowed["Access-Control-Allow-Origin"] == OURS
    assert "idempotency-key" in allowed["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Origin" not in anonymous.options("/api/orders", HTTP_ORIGIN=THEIRS, **asked)


def test_other_origins_read_nothing_unless_named(as_alice: APIClient) -> None:
    assert "Access-Control-Allow-Origin" not in as_alice.get("/api/me", HTTP_ORIGIN=OURS)


def test_other_origins_are_told_when_to_try_again(as_alice: APIClient, settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [OURS]
    answer = as_alice.get("/api/me", HTTP_ORIGIN=OURS)
    assert "Retry-After" in answer["Access-Control-Expose-Headers"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/api/health", "/nothing", "/api/\udcff"])
async def test_they_are_there_on_the_wire(redis_server: str, path: str) -> None:
    asked = HttpCommunicator(application, "GET", path, headers=[(b"host", b"localhost")])
    answer = await asked.get_response(timeout=30)
    await asked.wait()
    names = {name.decode().lower() for name, _ in answer["headers"]}
    assert {name.lower() for name in REQUIRED} | {"content-security-policy"} <= names
