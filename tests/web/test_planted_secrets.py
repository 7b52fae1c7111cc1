"""KEY-6: what was planted as a secret is found nowhere in the clear: answers, logs, database, Redis."""

import json
import logging
from typing import Any

import pytest
import redis
from django.db import connection
from rest_framework.test import APIClient

from accounts.signing import signing_key
from tests.web.exchange import ALICE_KEY, ALICE_NEW_KEY, READ_ONLY_KEY, WITHDRAWING_KEY, ThreadedExchange

PASSWORD = "planted-password-for-dora-91"
NEW_PASSWORD = "planted-password-for-dora-92"
WRONG = ("planted-wrong-key-000001", "planted-wrong-secret-000002")


class Visitor:
    """A client that keeps everything it was answered, and the tokens it got."""

    def __init__(self) -> None:
        self.client = APIClient()
        self.answers: list[str] = []
        self.tokens: list[str] = []

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = getattr(self.client, method)(path, body, format="json")
        shown = answer.content.decode()
        content = json.loads(shown) if shown else {}
        for name in ("token", "refresh"):
            if isinstance(content, dict) and name in content:
                self.tokens.append(content.pop(name))
        self.answers.append(json.dumps(content) + str(answer.headers))
        return content

    def enter(self, path: str, password: str) -> None:
        self.client.credentials()
        self.send("post", path, {"email": "dora@example.org", "password": password})
        self.client.credentials(HTTP_AUTHORIZATION=f"Bearer {self.tokens[-2]}")

    def bind(self, name: str, key: str, secret: str) -> Any:
        return self.send("post", "/api/connections", {
            "name": name, "exchange": "binance_spot", "mode": "simulator", "api_key": key, "api_secret": secret,
        })  # fmt: skip


def live_a_day(visitor: Visitor) -> None:
    visitor.enter("/api/register", PASSWORD)
    visitor.enter("/api/login", PASSWORD)
    made = visitor.bind("good", ALICE_KEY.api_key, ALICE_KEY.api_secret)
    for key in (WITHDRAWING_KEY, READ_ONLY_KEY):
        visitor.bind("bad", key.api_key, key.api_secret)
    visitor.bind("wrong", *WRONG)
    path = f"/api/connections/{made['id']}"
    visitor.send("patch", path, {"api_key": ALICE_NEW_KEY.api_key, "api_secret": ALICE_NEW_KEY.api_secret})
    visitor.send("patch", path, {"api_key": ALICE_KEY.api_key})
    visitor.send("post", f"{path}/test")
    for name in ("connections", "audit-logs", "me", "strategies"):
        visitor.send("get", f"/api/{name}")
    visitor.send("post", "/api/password/change", {"current_password": PASSWORD, "new_password": NEW_PASSWORD})
    visitor.enter("/api/login", NEW_PASSWORD)
    visitor.send("post", "/api/token/refresh", {"refresh": visitor.tokens[-1]})
    visitor.send("post", "/api/logout")


def stored_text() -> str:
    """Every value of every table."""
    parts = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608  # names from the database
            parts += [str(row) for row in cursor.fetchall()]
    return "\n".join(parts)


def redis_text(url: str) -> str:
    """Every key and value in Redis."""
    client = redis.Redis.from_url(url)
    readers: dict[Any, Any] = {
        b"string": client.get, b"hash": client.hgetall, b"set": client.smembers,
        b"list": lambda key: client.lrange(key, 0, -1), b"zset": lambda key: client.zrange(key, 0, -1),
        b"stream": client.xrange,
    }  # fmt: skip
    found = [f"{key!r} {readers[client.type(key)](key)!r}" for key in client.scan_iter()]
    client.close()
    return "\n".join(found)


def test_planted_secrets_are_found_nowhere(
    db: None, exchange: ThreadedExchange, redis_server: str, capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    visitor = Visitor()
    with caplog.at_level(logging.DEBUG):
        live_a_day(visitor)
    keys = (ALICE_KEY, ALICE_NEW_KEY, WITHDRAWING_KEY, READ_ONLY_KEY)
    planted = {PASSWORD, NEW_PASSWORD, *WRONG, *visitor.tokens, signing_key()}
    planted |= {part for key in keys for part in (key.api_key, key.api_secret)}
    output = capfd.readouterr()
    places = {
        "answers": "\n".join(visitor.answers), "log": caplog.text + output.out + output.err,
        "database": stored_text(), "redis": redis_text(redis_server),
    }  # fmt: skip
    assert len(visitor.tokens) >= 8
    assert "BINANCE_***_8f02" in places["database"], "the right database was read"
    assert "login-email" in places["redis"] or places["redis"], "the right Redis was read"
    found = {(place, secret[:20]) for place, text in places.items() for secret in planted if secret in text}
    assert found == set()
