"""ACC-3: who has an account can't be told from a log-in: same status, same text, and the same expensive work.

The work is counted, not timed; ``python -m tests.bench login_times`` shows the distributions over HTTP.
"""

from collections.abc import Callable
from typing import Any

import pytest
from argon2 import PasswordHasher
from rest_framework.test import APIClient

from accounts.models import LoginAttempt, User
from accounts.passwords import _hash_of_nobody
from tests.accounts.second_factor import enable_second_factor
from tests.conftest import PASSWORD

Log_in = Callable[..., Any]
WRONG = "not-the-password-of-anybody"
_TRIES = 3


@pytest.fixture
def argon2_work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hash of every Argon2 verification, and ``new`` for every password hashed."""
    # What a process does once, at its first log-in, whosever that is.
    _hash_of_nobody()
    done: list[str] = []
    verify, new = PasswordHasher.verify, PasswordHasher.hash

    def counted(hasher: PasswordHasher, encoded: Any, password: Any) -> Any:
        done.append(str(encoded))
        return verify(hasher, encoded, password)

    def hashed(hasher: PasswordHasher, *arguments: Any, **more: Any) -> str:
        done.append("new")
        return new(hasher, *arguments, **more)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    monkeypatch.setattr(PasswordHasher, "hash", hashed)
    return done


@pytest.fixture
def log_in(anonymous: APIClient) -> Log_in:
    def call(email: str, password: str) -> Any:
        return anonymous.post("/api/login", {"email": email, "password": password}, format="json")

    return call


def _deleted(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False, is_deleted=True)


def _shut_out(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def _without_password(user: User) -> None:
    user.set_unusable_password()
    user.save()


def _nothing(user: User) -> None: ...


# What was done to alice, and with which password she is tried.
CASES = {
    "wrong password": (_nothing, WRONG),
    "wrong password, second factor on": (enable_second_factor, WRONG),
    "deleted, right password": (_deleted, PASSWORD),
    "deleted, wrong password": (_deleted, WRONG),
    "shut out, right password": (_shut_out, PASSWORD),
    "no password set": (_without_password, WRONG),
}


@pytest.mark.parametrize("case", CASES)
def test_every_refused_log_in_looks_like_that_of_an_unknown_e_mail_and_costs_the_same(
    alice: User, log_in: Log_in, argon2_work: list[str], case: str
) -> None:
    prepare, password = CASES[case]
    prepare(alice)
    argon2_work.clear()
    known = log_in(alice.email, password)
    known_work = len(argon2_work)
    argon2_work.clear()
    unknown = log_in("nobody@example.org", password)

    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)
    assert known.json()["error"]["code"] == "BAD_CREDENTIALS"
    assert known_work == len(argon2_work) == 1
    assert "new" not in argon2_work


def test_who_knows_the_password_costs_the_same_too(
    alice: User, bob: User, log_in: Log_in, argon2_work: list[str]
) -> None:
    enable_second_factor(bob)
    argon2_work.clear()
    assert log_in(alice.email, PASSWORD).status_code == 200
    assert len(argon2_work) == 1
    assert log_in(bob.email, PASSWORD).json()["error"]["code"] == "OTP_REQUIRED"
    assert len(argon2_work) == 2


def test_hashes_of_users_and_of_nobody_cost_the_same(alice: User, log_in: Log_in, argon2_work: list[str]) -> None:
    log_in(alice.email, WRONG)
    log_in("nobody@example.org", WRONG)
    of_alice, of_nobody = argon2_work
    assert of_alice != of_nobody
    # Kind, version and costs stand before salt and hash.
    assert of_alice.rsplit("$", 2)[0] == of_nobody.rsplit("$", 2)[0]


def test_a_locked_e_mail_says_the_same_whether_anybody_has_it_and_costs_no_hash(
    alice: User, log_in: Log_in, argon2_work: list[str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings.CONFIG, "lockout_account_tries", _TRIES)
    answers = []
    for email in (alice.email, "nobody@example.org"):
        for _ in range(_TRIES):
            assert log_in(email, WRONG).status_code == 401
        argon2_work.clear()
        answers.append(log_in(email, PASSWORD))
        assert argon2_work == []
    known, unknown = (answer.json()["error"] for answer in answers)
    assert [answer.status_code for answer in answers] == [429, 429]
    assert abs(known.pop("retry_after") - unknown.pop("retry_after")) <= 60
    assert known == unknown
    assert LoginAttempt.objects.filter(reason="LOGIN_LOCKED").count() == 2
