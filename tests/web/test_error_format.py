"""Every error has one shape, and no bad input brings the server down."""

import json
from typing import Any

import pytest
from channels.testing import HttpCommunicator
from django.db import OperationalError
from django.test import Client as Browser
from rest_framework.test import APIClient

from accounts.models import User
from desproject.asgi import application

MEGABYTE = 1024 * 1024


def error_of(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"].startswith("application/json")
    body = json.loads(answer.content)
    assert set(body) == {"error"}
    assert {"code", "message"} <= set(body["error"]) <= {"code", "message", "fields", "retry_after"}
    assert body["error"]["code"] == body["error"]["code"].upper()
    return body["error"]  # type: ignore[no-any-return]


def send(client: APIClient, raw: bytes, path: str = "/api/orders", kind: str = "application/json") -> Any:
    return client.generic("POST", path, raw, kind)  # type: ignore[arg-type]  # bytes go out as they are


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"nonsense", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1e999}', b"\xff\xfe", b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}', b'{"a": "\\u0000"}', b"[" * 100_000, b'{"a":' * 1000 + b"1" + b"}" * 1000,
        b'{"quantity": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_malformed_json_is_refused(as_alice: APIClient, raw: bytes) -> None:
    error = error_of(send(as_alice, raw), 400)
    assert error["code"] in {"MALFORMED_JSON", "INVALID"}


@pytest.mark.parametrize("raw", [b"[]", b"null", b"7", b'"text"', b"true", b"[{}]"])
def test_a_body_that_is_no_object_is_refused(as_alice: APIClient, raw: bytes) -> None:
    for path in ("/api/orders", "/api/strategy-instances", "/api/connections", "/api/kill-switch"):
        assert error_of(send(as_alice, raw, path), 400)["code"] == "INVALID"


def test_ten_megabytes_are_too_many(as_alice: APIClient, anonymous: APIClient) -> None:
    raw = b'{"name": "' + b"x" * (10 * MEGABYTE) + b'"}'
    for path in ("/api/orders", "/api/strategy-instances", "/api/connections"):
        assert error_of(send(as_alice, raw, path), 413)["code"] == "BODY_TOO_LARGE"
    assert error_of(send(anonymous, raw, "/api/login"), 413)["code"] == "BODY_TOO_LARGE"


async def post_without_length(path: str, body: bytes) -> dict[str, Any]:
    headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
    communicator = HttpCommunicator(application, "POST", path, body, headers)
    answer: dict[str, Any] = await communicator.get_response(timeout=30)
    await communicator.wait()
    return answer


@pytest.mark.django_db(transaction=True)
async def test_without_a_length_the_body_itself_is_measured(redis_server: str) -> None:
    answer = await post_without_length("/api/login", b'{"email": "' + b"x" * (10 * MEGABYTE) + b'"}')
    assert answer["status"] == 413
    assert json.loads(answer["body"])["error"]["code"] == "BODY_TOO_LARGE"


@pytest.mark.django_db(transaction=True)
async def test_without_a_length_a_body_is_read_all_the_same(redis_server: str) -> None:
    answer = await post_without_length("/api/login", b'{"email": "alice@example.org", "password": "wrong-wrong"}')
    assert answer["status"] == 401
    assert json.loads(answer["body"])["error"]["code"] == "BAD_CREDENTIALS"


def test_up_to_a_megabyte_is_read(as_alice: APIClient) -> None:
    raw = b'{"name": "' + b"x" * (MEGABYTE - 100) + b'"}'
    assert error_of(send(as_alice, raw), 400)["code"] == "INVALID"


def test_other_content_types_are_refused(as_alice: APIClient) -> None:
    assert error_of(send(as_alice, b"a=1", kind="application/x-www-form-urlencoded"), 415)
    assert error_of(send(as_alice, b"<a/>", kind="text/xml"), 415)


def test_wrong_methods_are_refused(as_alice: APIClient) -> None:
    assert error_of(as_alice.put("/api/orders", {}, format="json"), 405)["code"] == "METHOD_NOT_ALLOWED"
    assert error_of(as_alice.post("/api/me"), 405)


@pytest.mark.parametrize(
    "path",
    ["/api/", "/api/nothing", "/api/orders/", "/api/orders/not-a-uuid", "/api/orders/1%00", "/api/%F0%9F", "/api//"],
)
def test_unknown_paths_are_not_found(as_alice: APIClient, path: str) -> None:
    assert error_of(as_alice.get(path), 404)["code"] == "NOT_FOUND"


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_unknown_paths_are_not_found_by_whatever_method(method: str) -> None:
    browser = Browser(enforce_csrf_checks=True)
    assert error_of(getattr(browser, method)("/api/nothing"), 404)["code"] == "NOT_FOUND"


@pytest.mark.parametrize("path", ["orders", "logout", "risk/policy"])
def test_what_there_is_only_the_schema_says(as_alice: APIClient, path: str) -> None:
    assert error_of(as_alice.options(f"/api/{path}"), 405)["code"] == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize("cursor", ["x", "é", "cD1hYmM=", "cD0yMDI2LTAxLTAxAA==", "bz0xJnA9MjAyNg=="])
@pytest.mark.parametrize("path", ["orders", "risk/metrics"])
def test_a_cursor_that_is_none_is_refused(as_alice: APIClient, path: str, cursor: str) -> None:
    error = error_of(as_alice.get(f"/api/{path}?cursor={cursor}"), 400)
    assert set(error["fields"]) == {"cursor"}


def test_pages_for_people_stay_pages(client: Browser) -> None:
    answer = client.get("/nothing")
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer a b", "Basic YWxpY2U6eA==", "ä", "Token x"])
def test_odd_authorization_headers_are_refused(anonymous: APIClient, header: str) -> None:
    answer = anonymous.get("/api/me", HTTP_AUTHORIZATION=header)
    assert error_of(answer, 401)["code"] in {"UNAUTHENTICATED", "TOKEN_INVALID"}


def test_what_is_not_foreseen_tells_nothing(
    as_alice: APIClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("inner secret of the house")

    monkeypatch.setattr("trading.selectors.user_with_counts", fail)
    answer = as_alice.get("/api/me")
    assert error_of(answer, 500)["code"] == "INTERNAL"
    assert "secret" not in answer.content.decode()
    assert any("request_failed" in record.getMessage() for record in caplog.records)


def test_a_database_that_is_away_is_told_as_such(as_alice: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("could not connect to server at 10.0.0.7")

    monkeypatch.setattr("trading.selectors.user_with_counts", fail)
    answer = as_alice.get("/api/me")
    assert error_of(answer, 503)["code"] == "UNAVAILABLE"
    assert "10.0.0.7" not in answer.content.decode()


def test_a_wrong_host_is_refused_in_the_format(anonymous: APIClient) -> None:
    assert error_of(anonymous.get("/api/health", HTTP_HOST="evil.example"), 400)["code"] == "BAD_REQUEST"


def test_pages_of_lists_are_bounded(as_alice: APIClient, alice: User) -> None:
    for limit in ("0", "-1", "x", "100000"):
        assert as_alice.get(f"/api/orders?limit={limit}").status_code == 200
