"""Reading tokens: whatever comes, it is claims or a refusal."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as some

from accounts import tokens
from accounts.models import Device, User

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
USER = User(id=uuid.uuid4(), email="alice@example.org", token_version=3)
DEVICE = Device(id=uuid.uuid4())


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "signing_key", lambda: "a-key-of-at-least-thirty-two-bytes")


def test_what_was_issued_is_read() -> None:
    jti = uuid.uuid4()
    with time_machine.travel(NOW):
        claims = tokens.read(tokens.issue(USER, DEVICE, "refresh", now=NOW, jti=jti), "refresh")
    lifetime = timedelta(seconds=claims.exp - claims.iat)
    assert (claims.user_id, claims.device_id, claims.jti) == (USER.pk, DEVICE.pk, jti)
    assert (claims.token_version, claims.email, lifetime) == (3, "alice@example.org", timedelta(days=7))


def test_a_token_ends_to_the_second() -> None:
    token = tokens.issue(USER, DEVICE, "access", now=NOW)
    with time_machine.travel(NOW + timedelta(minutes=14, seconds=59), tick=False):
        tokens.read(token, "access")
    with time_machine.travel(NOW + timedelta(minutes=15), tick=False), pytest.raises(tokens.TokenExpired):
        tokens.read(token, "access")


@given(some.text(max_size=300))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(tokens.TokenInvalid):
        tokens.read(text, "access")


@given(some.integers(min_value=0), some.characters(min_codepoint=33, max_codepoint=126))
def test_any_changed_character_is_noticed(position: int, other: str) -> None:
    token = tokens.issue(USER, DEVICE, "access", now=datetime.now(UTC))
    # The last character of a part carries bits that base64 doesn't use.
    spots = [at for at, letter in enumerate(token[:-1]) if letter != "." and token[at + 1] != "."]
    at = spots[position % len(spots)]
    if token[at] == other:
        return
    with pytest.raises(tokens.TokenInvalid):
        tokens.read(token[:at] + other + token[at + 1 :], "access")
