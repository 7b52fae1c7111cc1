"""Registering, logging in and out, tokens and what revokes them."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import time_machine
from rest_framework.test import APIClient

from accounts.models import Device, LoginAttempt, SystemConfig, User
from accounts.signing import signing_key
from accounts.stored_keys import stored_key
from accounts.tenancy import everyone
from audit.models import AuditLog
from desproject.lib.features import GATEWAY_TRUST, Stage
from tests.conftest import PASSWORD
from tests.web.conftest import Client

STRONG = "plum-sunrise-otter"


def register(client: APIClient, email: str = "dora@example.org", password: str = STRONG, **more: str) -> Any:
    return client.post("/api/register", {"email": email, "password": password, **more}, format="json")


def log_in(client: APIClient, email: str = "alice@example.org", password: str = PASSWORD, **more: str) -> Any:
    return client.post("/api/login", {"email": email, "password": password, **more}, format="json")


def bearer(client: APIClient, token: str) -> APIClient:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def events() -> list[str]:
    with everyone():
        return list(AuditLog.objects.order_by("id").values_list("event_type", flat=True))


def test_registering_logs_in(anonymous: APIClient) -> None:
    answer = register(anonymous)
    assert answer.status_code == 201
    body = answer.json()
    assert body["success"] is True
    assert body["user"]["email"] == "dora@example.org"
    assert bearer(anonymous, body["token"]).get("/api/me").json()["id"] == body["user"]["id"]
    assert events() == ["user.registered"]


def test_the_same_email_in_other_case_is_refused(anonymous: APIClient) -> None:
    register(anonymous)
    answer = register(anonymous, email="Dora@Example.ORG")
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "EMAIL_TAKEN"
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("short", "too short"),
        ("password1234", "too common"),
        ("dora@example.org", "too similar"),
        ("8301845620174", "entirely numeric"),
    ],
)
def test_weak_passwords_are_refused_with_a_reason(anonymous: APIClient, password: str, reason: str) -> None:
    answer = register(anonymous, password=password)
    assert answer.status_code == 400
    assert any(reason in text for text in answer.json()["error"]["fields"]["password"])
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "email",
    ["", "dora", "dora@", "dora@exam ple.org", "d" * 300 + "@example.org", "\u212aate@example.org", 7, None, ["a"]],
)
def test_what_is_no_email_is_refused(anonymous: APIClient, email: object) -> None:
    answer = register(anonymous, email=email)  # type: ignore[arg-type]
    assert answer.status_code == 400
    assert "email" in answer.json()["error"]["fields"]


def test_passwords_are_hashed_with_argon2id(anonymous: APIClient) -> None:
    register(anonymous)
    assert User.objects.get().password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")


def test_login_takes_the_email_in_any_case(anonymous: APIClient, alice: User) -> None:
    answer = log_in(anonymous, email="ALICE@example.org")
    assert answer.status_code == 200
    assert answer.json()["user"]["id"] == str(alice.pk)
    attempt = LoginAttempt.objects.get()
    assert (attempt.user, attempt.success, attempt.ip) == (alice, True, "127.0.0.1")
    assert events() == ["login.succeeded"]


def test_a_wrong_password_and_an_unknown_email_get_the_same_answer(anonymous: APIClient, alice: User) -> None:
    wrong = log_in(anonymous, password="not-her-password")
    unknown = log_in(anonymous, email="nobody@example.org")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.content == unknown.content
    assert list(LoginAttempt.objects.values_list("user", "success")) == [(alice.pk, False), (None, False)]
    assert events() == ["login.failed", "login.failed"]


def test_an_unknown_email_costs_a_hash_too(anonymous: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    monkeypatch.setattr("accounts.passwords.check_password", lambda password, encoded: checked.append(encoded))
    log_in(anonymous, email="nobody@example.org")
    assert len(checked) == 1
    assert checked[0].startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_deleted": True}])
def test_users_who_were_shut_out_cannot_log_in(anonymous: APIClient, alice: User, change: dict[str, bool]) -> None:
    User.objects.filter(pk=alice.pk).update(**change)
    answer = log_in(anonymous)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "BAD_CREDENTIALS"


def test_too_many_tries_are_stopped_and_told_for_how_long(anonymous: APIClient, alice: User) -> None:
    # The window is fixed to the clock: a second one may begin in between.
    answers = (log_in(anonymous) for _ in range(41))
    stopped = next(answer for answer in answers if answer.status_code == 429)
    error = stopped.json()["error"]
    assert error["code"] == "RATE_LIMITED"
    assert 0 < error["retry_after"] <= 60
    assert stopped.headers["Retry-After"] == str(error["retry_after"])


def test_without_redis_nobody_logs_in(anonymous: APIClient, alice: User, settings: Any) -> None:
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    }
    answer = log_in(anonymous)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "UNAVAILABLE"


def test_an_access_token_holds_the_documented_claims(anonymous: APIClient, alice: User) -> None:
    token = log_in(anonymous, device_id="phone").json()["token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    assert set(claims) == {"user_id", "email", "device_id", "exp", "iat", "jti", "token_version", "type"}
    assert claims["exp"] - claims["iat"] == 15 * 60
    assert claims["device_id"] == str(Device.objects.get(name="phone").pk)


def test_an_expired_token_is_refused(anonymous: APIClient, alice: User) -> None:
    token = log_in(anonymous).json()["token"]
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=15, seconds=1)):
        answer = bearer(anonymous, token).get("/api/me")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "TOKEN_EXPIRED"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def _tampered(token: str) -> list[str]:
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    admin = base64.urlsafe_b64encode(json.dumps({**claims, "email": "x@x"}).encode()).decode().rstrip("=")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    return [
        f"{header}.{admin}.{signature}",
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        f"{header}.{payload}",
        token[:-1],
        "x" * 5000,
        "ä",
        "",
        jwt.encode(claims, signing_key(), algorithm="HS512"),
        jwt.encode(claims, "another-key-of-thirty-two-bytes!!", algorithm="HS256"),
        jwt.encode({**claims, "user_id": "alice"}, signing_key(), algorithm="HS256"),
        jwt.encode({key: value for key, value in claims.items() if key != "exp"}, signing_key(), algorithm="HS256"),
    ]


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_tampered_tokens_are_refused(anonymous: APIClient, alice: User) -> None:
    token = log_in(anonymous).json()["token"]
    for bad in _tampered(token):
        answer = bearer(anonymous, bad).get("/api/me")
        assert answer.status_code == 401, bad
        assert answer.json()["error"]["code"] in {"TOKEN_INVALID", "TOKEN_EXPIRED", "UNAUTHENTICATED"}


def test_a_refresh_token_is_no_access_token(anonymous: APIClient, alice: User) -> None:
    pair = log_in(anonymous).json()
    assert bearer(anonymous, pair["refresh"]).get("/api/me").status_code == 401
    anonymous.credentials()
    answer = anonymous.post("/api/token/refresh", {"refresh": pair["token"]}, format="json")
    assert answer.status_code == 401


def test_refreshing_rotates(anonymous: APIClient, alice: User) -> None:
    first = log_in(anonymous).json()
    answer = anonymous.post("/api/token/refresh", {"refresh": first["refresh"]}, format="json")
    assert answer.status_code == 200
    assert set(answer.json()) == {"token", "refresh"}
    assert answer.json()["refresh"] != first["refresh"]
    assert bearer(anonymous, answer.json()["token"]).get("/api/me").status_code == 200


def test_a_spent_refresh_token_revokes_its_device(anonymous: APIClient, alice: User) -> None:
    first = log_in(anonymous).json()
    second = anonymous.post("/api/token/refresh", {"refresh": first["refresh"]}, format="json").json()
    again = anonymous.post("/api/token/refresh", {"refresh": first["refresh"]}, format="json")
    assert again.status_code == 401
    assert anonymous.post("/api/token/refresh", {"refresh": second["refresh"]}, format="json").status_code == 401
    assert bearer(anonymous, second["token"]).get("/api/me").status_code == 401
    assert "token.reused" in events()


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_deleted": True}])
def test_a_shut_out_user_cannot_refresh(anonymous: APIClient, alice: User, change: dict[str, bool]) -> None:
    pair = log_in(anonymous).json()
    User.objects.filter(pk=alice.pk).update(**change)
    assert anonymous.post("/api/token/refresh", {"refresh": pair["refresh"]}, format="json").status_code == 401
    assert bearer(anonymous, pair["token"]).get("/api/me").status_code == 401


def test_logging_out_ends_the_device_at_once(anonymous: APIClient, alice: User, logged_in: Client) -> None:
    other = logged_in(alice)
    pair = log_in(anonymous).json()
    assert bearer(anonymous, pair["token"]).post("/api/logout").status_code == 200
    assert anonymous.get("/api/me").status_code == 401
    anonymous.credentials()
    assert anonymous.post("/api/token/refresh", {"refresh": pair["refresh"]}, format="json").status_code == 401
    assert other.get("/api/me").status_code == 200
    assert events()[-1] == "logout"


def test_tokens_from_before_a_logout_stay_dead_when_the_device_comes_back(anonymous: APIClient, alice: User) -> None:
    old = log_in(anonymous, device_id="phone").json()
    bearer(anonymous, old["token"]).post("/api/logout")
    anonymous.credentials()
    new = log_in(anonymous, device_id="phone").json()
    assert bearer(anonymous, old["token"]).get("/api/me").status_code == 401
    assert bearer(anonymous, new["token"]).get("/api/me").status_code == 200


def test_changing_the_password_ends_every_session(anonymous: APIClient, alice: User, logged_in: Client) -> None:
    pair = log_in(anonymous).json()
    client = logged_in(alice)
    body = {"current_password": PASSWORD, "new_password": STRONG}
    assert client.post("/api/password/change", body, format="json").status_code == 200
    assert client.get("/api/me").status_code == 401
    assert bearer(anonymous, pair["token"]).get("/api/me").status_code == 401
    anonymous.credentials()
    assert anonymous.post("/api/token/refresh", {"refresh": pair["refresh"]}, format="json").status_code == 401
    assert log_in(anonymous).status_code == 401
    assert log_in(anonymous, password=STRONG).status_code == 200


@pytest.mark.parametrize(
    ("current", "new", "field"),
    [("wrong-wrong", STRONG, "current_password"), (PASSWORD, "short", "new_password")],
)
def test_a_password_is_not_changed_without_need(as_alice: APIClient, current: str, new: str, field: str) -> None:
    answer = as_alice.post("/api/password/change", {"current_password": current, "new_password": new}, format="json")
    assert answer.status_code == 400
    assert field in answer.json()["error"]["fields"]
    assert as_alice.get("/api/me").status_code == 200


def test_me_tells_which_features_the_caller_has(as_alice: APIClient, alice: User, settings: Any) -> None:
    settings.FEATURE_STAGES = {GATEWAY_TRUST.name: Stage.of("alpha")}
    assert as_alice.get("/api/me").json()["features"] == []
    User.objects.filter(pk=alice.pk).update(is_alpha=True)
    assert as_alice.get("/api/me").json()["features"] == ["GATEWAY_TRUST"]


def test_me_counts_in_one_query(anonymous: APIClient, alice: User, django_assert_num_queries: Any) -> None:
    as_alice = bearer(anonymous, log_in(anonymous).json()["token"])
    with django_assert_num_queries(2):  # the token's device and user, and the counts
        body = as_alice.get("/api/me").json()
    assert (body["instances"], body["running_instances"], body["logins_30_days"]) == (0, 0, 1)


def test_the_signing_key_is_made_once_and_stored_sealed(db: None) -> None:
    key = signing_key()
    stored_key.cache_clear()
    assert signing_key() == key
    stored = SystemConfig.objects.get(key="jwt_signing_key").value
    assert stored.startswith("ENC[v1]:")
    assert key not in stored


def test_jwt_secret_wins(settings: Any, db: None) -> None:
    settings.CONFIG = settings.CONFIG.model_copy(update={"jwt_secret": "a-secret-from-the-environment-32"})
    assert signing_key() == "a-secret-from-the-environment-32"
    assert not SystemConfig.objects.exists()
    stored_key.cache_clear()
