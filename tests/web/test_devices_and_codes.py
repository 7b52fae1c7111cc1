"""Devices and the second factor over HTTP."""

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import Device, User
from accounts.tenancy import everyone
from audit.models import AuditLog
from desproject.lib.clock import SYSTEM_CLOCK
from tests.accounts.second_factor import app_code
from tests.conftest import PASSWORD
from tests.web.conftest import Client


def log_in(client: APIClient, **more: str) -> Any:
    client.credentials()
    return client.post("/api/login", {"email": "alice@example.org", "password": PASSWORD, **more}, format="json")


def test_devices_show_where_the_user_is_logged_in(anonymous: APIClient, alice: User, logged_in: Client) -> None:
    logged_in(alice)
    pair = anonymous.post(
        "/api/login", {"email": alice.email, "password": PASSWORD, "device_id": "phone"}, format="json",
        HTTP_USER_AGENT="Alice's phone",
    ).json()  # fmt: skip
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {pair['token']}")
    shown = anonymous.get("/api/devices").json()["results"]
    assert len(shown) == 2
    phone = shown[0]
    assert (phone["name"], phone["user_agent"], phone["ip"]) == ("phone", "Alice's phone", "127.0.0.1")
    assert phone["last_used_at"].endswith("Z")
    assert [device["current"] for device in shown] == [True, False]


def test_refreshing_is_using(anonymous: APIClient, alice: User) -> None:
    pair = log_in(anonymous, device_id="phone").json()
    Device.objects.update(last_used_at=SYSTEM_CLOCK.now() - timedelta(days=2), ip="192.0.2.1", user_agent="old")
    anonymous.post("/api/token/refresh", {"refresh": pair["refresh"]}, format="json", HTTP_USER_AGENT="new")
    device = Device.objects.get()
    assert SYSTEM_CLOCK.now() - device.last_used_at < timedelta(minutes=1)
    assert (device.ip, device.user_agent) == ("127.0.0.1", "new")


def test_a_device_whose_tokens_all_ended_is_not_listed(as_alice: APIClient, alice: User) -> None:
    gone = SYSTEM_CLOCK.now() - timedelta(days=8)
    Device.objects.create(user=alice, name="old", refresh_jti="7" * 32, last_used_at=gone)
    assert len(as_alice.get("/api/devices").json()["results"]) == 1


def test_revoking_one_device_ends_it_and_no_other(anonymous: APIClient, alice: User, as_alice: APIClient) -> None:
    pair = log_in(anonymous, device_id="phone").json()
    device = Device.objects.get(name="phone")
    assert as_alice.delete(f"/api/devices/{device.pk}").status_code == 204
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {pair['token']}")
    assert anonymous.get("/api/me").status_code == 401
    anonymous.credentials()
    assert anonymous.post("/api/token/refresh", {"refresh": pair["refresh"]}, format="json").status_code == 401
    assert as_alice.get("/api/me").status_code == 200
    assert as_alice.delete(f"/api/devices/{device.pk}").status_code == 404, "it is gone"
    with everyone():
        row = AuditLog.objects.get(event_type="device.revoked")
    assert (row.user, row.resource_id) == (alice, str(device.pk))


@pytest.fixture
def enrolled(as_alice: APIClient) -> dict[str, Any]:
    answer = as_alice.post("/api/otp/enrol")
    assert answer.status_code == 200
    return answer.json()  # type: ignore[no-any-return]


@pytest.fixture
def recovery_codes(as_alice: APIClient, enrolled: dict[str, Any]) -> list[str]:
    code = app_code(enrolled["secret"], SYSTEM_CLOCK.now())
    answer = as_alice.post("/api/otp/confirm", {"otp": code}, format="json")
    assert answer.status_code == 200
    return answer.json()["recovery_codes"]  # type: ignore[no-any-return]


def test_logging_in_with_a_second_factor(
    anonymous: APIClient, as_alice: APIClient, enrolled: dict[str, Any], recovery_codes: list[str]
) -> None:
    assert as_alice.get("/api/me").json()["otp_verified"] is True
    asked = log_in(anonymous)
    assert (asked.status_code, asked.json()["error"]["code"]) == (401, "OTP_REQUIRED")
    assert log_in(anonymous, otp="000000").json()["error"]["code"] == "OTP_INVALID"
    following = app_code(enrolled["secret"], SYSTEM_CLOCK.now() + timedelta(seconds=30))
    assert log_in(anonymous, otp=following).status_code == 200
    assert log_in(anonymous, otp=recovery_codes[3]).status_code == 200


def test_disabling_takes_the_password(as_alice: APIClient, anonymous: APIClient, recovery_codes: list[str]) -> None:
    assert as_alice.post("/api/otp/disable", {"password": "wrong-wrong"}, format="json").status_code == 400
    assert as_alice.post("/api/otp/disable", {"password": PASSWORD}, format="json").status_code == 200
    assert log_in(anonymous).status_code == 200


def test_enrolling_twice_is_a_conflict(as_alice: APIClient, recovery_codes: list[str]) -> None:
    assert as_alice.post("/api/otp/enrol").json()["error"]["code"] == "OTP_ALREADY_ENABLED"
    assert as_alice.post("/api/otp/confirm", {"otp": "123456"}, format="json").status_code == 409
