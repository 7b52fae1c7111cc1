"""KEY-6: what was planted as a secret is found nowhere in the clear: answers, error reports, admin pages, logs, task
payloads, mails, database, Redis."""

import base64
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings as configured
from django.contrib import admin
from django.core import mail
from django.db import connection
from django.test import Client as Browser
from django.test import RequestFactory
from django.views.debug import ExceptionReporter
from django_q.brokers import get_broker
from django_q.signing import SignedPackage
from rest_framework.test import APIClient

from accounts.models import User
from accounts.signing import signing_key
from accounts.stored_keys import stored_key
from accounts.tasks import mail_password_reset
from accounts.tenancy import everyone
from connections import services
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.crypto import CustodyError
from desproject.lib.custody import keyring
from tests.accounts.second_factor import app_code
from tests.web.exchange import ALICE_KEY, ALICE_NEW_KEY, READ_ONLY_KEY, WITHDRAWING_KEY, ThreadedExchange

PASSWORD = "planted-password-for-dora-91"
RESET_PASSWORD = "planted-password-for-dora-93"
NEW_PASSWORD = "planted-password-for-dora-92"
OPERATOR_PASSWORD = "planted-password-for-operators"
WRONG = ("planted-wrong-key-000001", "planted-wrong-secret-000002")


class Visitor:
    """A client that keeps everything it was answered, and the tokens it got."""

    def __init__(self) -> None:
        self.client = APIClient()
        self.answers: list[str] = []
        self.tokens: list[str] = []
        self.shown_once: dict[str, Any] = {}

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = getattr(self.client, method)(path, body, format="json")
        shown = answer.content.decode()
        content = json.loads(shown) if shown else {}
        for name in ("token", "refresh"):
            if isinstance(content, dict) and name in content:
                self.tokens.append(content.pop(name))
        # What is shown once, to who asked for it, and nowhere else.
        for name in ("secret", "otpauth_uri", "qr_svg", "recovery_codes"):
            if isinstance(content, dict) and name in content:
                self.shown_once[name] = content.pop(name)
        self.answers.append(json.dumps(content) + str(answer.headers))
        return content

    def enter(self, path: str, password: str, **more: str) -> None:
        self.client.credentials()
        self.send("post", path, {"email": "dora@example.org", "password": password, **more})
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
    use_the_second_factor(visitor)
    visitor.send("post", "/api/token/refresh", {"refresh": visitor.tokens[-1]})
    visitor.send("post", "/api/token/refresh", {"refresh": "planted-refresh-token"})
    visitor.send("post", "/api/logout")


def use_the_second_factor(visitor: Visitor) -> None:
    visitor.send("post", "/api/otp/enrol")
    secret = visitor.shown_once["secret"]
    visitor.send("post", "/api/otp/confirm", {"otp": app_code(secret, SYSTEM_CLOCK.now())})
    codes = visitor.shown_once["recovery_codes"]
    visitor.enter("/api/login", NEW_PASSWORD, otp=codes[0])
    visitor.send("post", "/api/login", {"email": "dora@example.org", "password": NEW_PASSWORD, "otp": codes[0]})
    visitor.send("get", "/api/me")
    visitor.send("get", "/api/devices")


def forget_the_password(visitor: Visitor) -> str:
    """Asks for a new one and sets it; the code from the mail."""
    visitor.client.credentials()
    visitor.send("post", "/api/password/reset", {"email": "dora@example.org"})
    queued = get_broker().dequeue()
    assert queued, "a task was queued"
    mail_password_reset(*SignedPackage.loads(queued[0][1])["args"])
    token = str(re.findall(r"^ +(\S{40,})$", str(mail.outbox[-1].body), re.MULTILINE)[0])
    body = {"token": token, "new_password": RESET_PASSWORD}
    visitor.send("post", "/api/password/reset/confirm", body)
    visitor.send("post", "/api/password/reset/confirm", body)
    return token


def break_down(monkeypatch: pytest.MonkeyPatch, visitor: Visitor) -> list[str]:
    """A request with a key fails where it is in variables; what every kind of report of that would show."""
    reports: list[str] = []

    def fail(**given: Any) -> None:
        secret_in_a_variable = given["credentials"].api_secret
        try:
            raise RuntimeError("nobody thought of this") from CustodyError(f"length {len(secret_in_a_variable)}")
        except RuntimeError:
            request = RequestFactory().post("/", {"api_secret": secret_in_a_variable})
            reporter = ExceptionReporter(request, *sys.exc_info())
            reports.extend((reporter.get_traceback_html(), reporter.get_traceback_text(), repr(given)))
            raise

    with monkeypatch.context() as patch:
        patch.setattr(services, "create_connection", fail)
        visitor.client.raise_request_exception = False
        visitor.bind("broken", ALICE_KEY.api_key, ALICE_KEY.api_secret)
        visitor.client.raise_request_exception = True
    assert "RuntimeError" in reports[0]
    assert json.loads(visitor.answers[-1].partition("{'")[0])["error"]["code"] == "INTERNAL"
    return reports


def admin_pages() -> Iterator[str]:
    """Every list of the admin site, and a page of each kind of row."""
    User.objects.create_superuser("operator@example.org", OPERATOR_PASSWORD)
    desk = Browser()
    desk.post("/admin/login/", {"username": "operator@example.org", "password": OPERATOR_PASSWORD})
    yield desk.get("/admin/").content.decode()
    for model in admin.site._registry:
        path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        yield desk.get(path).content.decode()
        with everyone():
            keys = list(model._default_manager.values_list("pk", flat=True)[:1])
        for key in keys:
            yield desk.get(f"{path}{key}/change/").content.decode()


def custody_secrets() -> set[str]:
    """What everything else is sealed, signed and authenticated with, in the forms it may be written in."""
    master = base64.b64decode(os.environ["MASTER_ENCRYPTION_KEY"])
    forms = {os.environ["MASTER_ENCRYPTION_KEY"], master.hex(), repr(master), configured.SECRET_KEY, signing_key()}
    return forms | {stored_key("audit_key")}


def stored_text() -> str:
    """Every value of every table."""
    parts = []
    with everyone(), connection.cursor() as cursor:
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


@pytest.fixture
def payloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every task's payload, before it is packed."""
    packed: list[str] = []
    dumps = SignedPackage.dumps

    def kept(content: Any, *more: Any) -> Any:
        packed.append(repr(content))
        return dumps(content, *more)

    monkeypatch.setattr(SignedPackage, "dumps", kept)
    return packed


def test_planted_secrets_are_found_nowhere(
    transactional_db: None, exchange: ThreadedExchange, redis_server: str, capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture, payloads: list[str], monkeypatch: pytest.MonkeyPatch, settings: Any,
) -> None:
    settings.ADMINS = [("Operator", "operator@example.org")]
    visitor = Visitor()
    with caplog.at_level(logging.DEBUG):
        live_a_day(visitor)
        reset_token = forget_the_password(visitor)
    # Not under DEBUG: Django's templates write their whole context there for every name they don't find.
    visitor.enter("/api/login", RESET_PASSWORD, otp=visitor.shown_once["recovery_codes"][2])
    reports = break_down(monkeypatch, visitor)
    pages = "\n".join(admin_pages())
    keys = (ALICE_KEY, ALICE_NEW_KEY, WITHDRAWING_KEY, READ_ONLY_KEY)
    planted = {PASSWORD, NEW_PASSWORD, *WRONG, *visitor.tokens, signing_key()}
    planted |= {part for key in keys for part in (key.api_key, key.api_secret)}
    planted |= {reset_token, RESET_PASSWORD, OPERATOR_PASSWORD, "planted-refresh-token", visitor.shown_once["secret"]}
    planted |= custody_secrets()
    planted |= set(visitor.shown_once["recovery_codes"])
    planted |= {code.replace("-", "") for code in visitor.shown_once["recovery_codes"]}
    output = capfd.readouterr()
    places = {
        "answers": "\n".join(visitor.answers), "log": caplog.text + output.out + output.err,
        "database": stored_text(), "redis": redis_text(redis_server), "error reports": "\n".join(reports),
        "admin pages": pages, "payloads": "\n".join(payloads),
        # The one mail that is made to carry a secret does.
        "mails": "\n".join(str(sent.message()) for sent in mail.outbox).replace(reset_token, "", 1),
        "reprs": f"{keyring()!r} {settings.CONFIG!r}",
    }  # fmt: skip
    assert len(visitor.tokens) >= 8
    assert "mail_password_reset" in places["payloads"], "the tasks were seen"
    assert "dora@example.org" in places["admin pages"], "the pages show something"
    assert "BINANCE_***_8f02" in places["database"], "the right database was read"
    assert "login-email" in places["redis"] or places["redis"], "the right Redis was read"
    found = {(place, secret[:20]) for place, text in places.items() for secret in planted if secret in text}
    assert found == set()
