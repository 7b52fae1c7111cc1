"""A sealed value that was moved or altered opens nothing: the error has a name, and the audit log a row (KEY-3).

API keys are tried on their way to a gateway in tests/connections/test_pool.py; here second factors and the signing key.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client as Browser
from rest_framework.test import APIClient

from accounts import unreadable
from accounts.models import SystemConfig, User
from accounts.second_factor import enrol
from accounts.signing import signing_key
from accounts.stored_keys import stored_key
from accounts.tenancy import everyone
from audit.codes import row_code
from audit.models import AuditLog
from connections.models import Connection
from desproject.lib.clock import SYSTEM_CLOCK
from tests.accounts.second_factor import CALLER, app_code, enable_second_factor
from tests.conftest import PASSWORD
from tests.web.exchange import ALICE_KEY
from tests.web.rows import make_connection

EMAIL = "alice@example.org"


@pytest.fixture(autouse=True)
def _nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unreadable, "_told", {})


def told() -> list[AuditLog]:
    with everyone():
        return list(AuditLog.objects.filter(event_type="secret.unreadable"))


def altered(sealed: str) -> str:
    head, body = sealed.split(":")
    flipped = bytearray(b64decode(body))
    flipped[-1] ^= 1
    return f"{head}:{b64encode(flipped).decode()}"


def another_tenants(alice: User, bob: User) -> str:
    enable_second_factor(bob)
    return User.objects.get(pk=bob.pk).otp_secret


def another_columns(alice: User, bob: User) -> str:
    row = make_connection(alice, ALICE_KEY)
    with everyone():
        return Connection.objects.get(pk=row.pk).api_secret_sealed  # type: ignore[no-any-return]


def a_byte(alice: User, bob: User) -> str:
    return altered(User.objects.get(pk=alice.pk).otp_secret)


def no_ciphertext(alice: User, bob: User) -> str:
    return "JBSWY3DPEHPK3PXP"


def an_unknown_version(alice: User, bob: User) -> str:
    return User.objects.get(pk=alice.pk).otp_secret.replace("ENC[v1]", "ENC[v9]")


MEDDLINGS = [another_tenants, another_columns, a_byte, no_ciphertext, an_unknown_version]


@pytest.mark.parametrize("meddled", MEDDLINGS)
def test_a_second_factor_that_was_meddled_with_lets_nobody_in(
    anonymous: APIClient, alice: User, bob: User, meddled: Callable[[User, User], str]
) -> None:
    enable_second_factor(alice)
    stored = meddled(alice, bob)
    User.objects.filter(pk=alice.pk).update(otp_secret=stored)

    answer = anonymous.post("/api/login", {"email": EMAIL, "password": PASSWORD, "otp": "123456"}, format="json")

    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "SECRET_UNREADABLE")
    assert stored not in answer.content.decode()
    (row,) = told()
    assert (row.user_id, row.resource_type, row.resource_id) == (alice.pk, "user", str(alice.pk))
    assert row.details["reason"]
    with everyone():
        assert AuditLog.objects.get(event_type="login.failed").details["reason"] == "SECRET_UNREADABLE"


def test_a_recovery_code_still_lets_its_user_in(anonymous: APIClient, alice: User) -> None:
    code = enable_second_factor(alice)[0]
    User.objects.filter(pk=alice.pk).update(otp_secret="gone")
    answer = anonymous.post("/api/login", {"email": EMAIL, "password": PASSWORD, "otp": code}, format="json")
    assert answer.status_code == 200, answer.content


def test_an_unreadable_second_factor_locks_nobody_out(anonymous: APIClient, alice: User, settings: Any) -> None:
    code = enable_second_factor(alice)[0]
    User.objects.filter(pk=alice.pk).update(otp_secret="gone")
    body = {"email": EMAIL, "password": PASSWORD}
    for _ in range(settings.CONFIG.lockout_account_tries):
        anonymous.post("/api/login", {**body, "otp": "123456"}, format="json")
    assert anonymous.post("/api/login", {**body, "otp": code}, format="json").status_code == 200
    assert len(told()) == 1, "told once a minute"


def test_it_confirms_no_second_factor_either(as_alice: APIClient, alice: User) -> None:
    code = app_code(enrol(alice, CALLER).secret, SYSTEM_CLOCK.now())
    User.objects.filter(pk=alice.pk).update(otp_secret=altered(User.objects.get(pk=alice.pk).otp_secret))
    answer = as_alice.post("/api/otp/confirm", {"otp": code}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "SECRET_UNREADABLE")
    assert [row.user_id for row in told()] == [alice.pk]


def test_the_admin_says_it_too(alice: User, client: Browser) -> None:
    enable_second_factor(alice)
    User.objects.filter(pk=alice.pk).update(otp_secret="gone", is_admin=True)
    answer = client.post("/admin/login/", {"username": EMAIL, "password": PASSWORD, "otp": "123456"})
    assert answer.status_code == 200
    assert "can&#x27;t be opened" in answer.content.decode()
    assert len(told()) == 1


def another_rows_value() -> str:
    stored_key("another")
    return SystemConfig.objects.get(key="another").value


def an_altered_value() -> str:
    return altered(SystemConfig.objects.get(key="jwt_signing_key").value)


@pytest.mark.parametrize("meddled", [another_rows_value, an_altered_value])
def test_a_signing_key_that_was_meddled_with_signs_and_accepts_nothing(
    as_alice: APIClient, anonymous: APIClient, meddled: Callable[[], str]
) -> None:
    signing_key()
    SystemConfig.objects.filter(key="jwt_signing_key").update(value=meddled())
    stored_key.cache_clear()

    answers = [
        as_alice.get("/api/me"),
        anonymous.post("/api/login", {"email": EMAIL, "password": PASSWORD}, format="json"),
        anonymous.post("/api/register", {"email": "dora@example.org", "password": "plum-sunrise-otter"}, format="json"),
    ]

    assert [answer.status_code for answer in answers] == [500] * 3
    assert {answer.json()["error"]["code"] for answer in answers} == {"SECRET_UNREADABLE"}
    (row,) = told()
    assert (row.user_id, row.resource_type, row.resource_id) == (None, "system_config", "jwt_signing_key")


def test_a_log_in_is_what_tells_of_the_signing_key_first(anonymous: APIClient, alice: User) -> None:
    signing_key()
    SystemConfig.objects.filter(key="jwt_signing_key").update(value="gone")
    stored_key.cache_clear()
    answer = anonymous.post("/api/login", {"email": EMAIL, "password": PASSWORD}, format="json")
    assert answer.json()["error"]["code"] == "SECRET_UNREADABLE"
    assert len(told()) == 1


def test_an_audit_key_that_was_meddled_with_codes_no_row(alice: User) -> None:
    """It can't be audited: nothing can be. The act fails with it rather than go unrecorded."""
    with everyone():
        row = AuditLog(user_id=alice.pk, event_type="x", created_at=SYSTEM_CLOCK.now())
    row_code(row, "0" * 32)
    SystemConfig.objects.filter(key="audit_key").update(value="gone")
    stored_key.cache_clear()
    with pytest.raises(unreadable.SecretUnreadable):
        row_code(row, "0" * 32)
