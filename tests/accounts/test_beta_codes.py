"""Registration that is limited to people with a code."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts import beta_codes, services
from accounts.caller import Caller
from accounts.models import BetaCode, User
from tests.accounts.conftest import AtOnce

pytestmark = pytest.mark.django_db
CALLER = Caller("192.0.2.7", "a test")


@pytest.fixture(autouse=True)
def _codes_required(settings: Any) -> None:
    settings.CONFIG = settings.CONFIG.model_copy(update={"beta_codes_required": True})


def register(code: str, email: str = "dora@example.org") -> User:
    return services.register(
        email=email, password="plum-sunrise-otter", device_name="phone", beta_code=code, caller=CALLER
    ).user


def test_a_valid_code_lets_register_and_its_hint_is_kept() -> None:
    code = beta_codes.create(note="spring")
    user = register(code.lower())
    assert user.beta_code == f"spring …{code[-4:]}"
    assert code not in str(BetaCode.objects.values())
    assert BetaCode.objects.get().uses == 1


@pytest.mark.parametrize("code", ["", "WRONG", "x" * 40])
def test_without_a_valid_code_nobody_registers(code: str) -> None:
    beta_codes.create(note="spring")
    with pytest.raises(beta_codes.BetaCodeInvalid):
        register(code)
    assert not User.objects.exists()


def test_who_has_no_code_is_not_told_which_e_mails_are_taken(alice: User) -> None:
    with pytest.raises(beta_codes.BetaCodeInvalid):
        register("WRONG", alice.email)


def test_a_used_up_or_old_code_is_refused() -> None:
    used = beta_codes.create(note="one")
    register(used)
    old = beta_codes.create(note="old", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    for code in (used, old):
        with pytest.raises(beta_codes.BetaCodeInvalid):
            register(code, "erik@example.org")


def test_a_registration_that_fails_uses_nothing(alice: User) -> None:
    code = beta_codes.create(note="one")
    with pytest.raises(services.EmailTaken):
        register(code, alice.email)
    register(code)


@pytest.mark.django_db(transaction=True)
def test_the_last_use_is_one_even_at_once(at_once: AtOnce) -> None:
    code = beta_codes.create(note="two", max_uses=2)
    emails = iter([f"user{number}@example.org" for number in range(4)])
    results = at_once(lambda: register(code, next(emails)))
    assert sum(isinstance(result, User) for result in results) == 2
    assert sum(isinstance(result, beta_codes.BetaCodeInvalid) for result in results) == 2
    assert BetaCode.objects.get().uses == 2


def test_where_none_is_required_none_is_needed(settings: Any) -> None:
    settings.CONFIG = settings.CONFIG.model_copy(update={"beta_codes_required": False})
    assert register("").beta_code == ""


def test_the_command_shows_a_code_that_works() -> None:
    shown = StringIO()
    call_command("create_beta_code", note="spring", uses=2, days=7, stdout=shown)
    register(shown.getvalue().strip())
    row = BetaCode.objects.get()
    assert (row.uses, row.max_uses) == (1, 2)
    assert row.expires_at is not None


def test_the_command_refuses_nonsense() -> None:
    with pytest.raises(CommandError):
        call_command("create_beta_code", uses=0)
