"""What must hold when several callers come at the same moment."""

from functools import partial

import pytest

from accounts import services, tokens
from accounts.caller import Caller
from accounts.models import Device, SystemConfig, User
from accounts.stored_keys import stored_key
from tests.accounts.conftest import AtOnce

pytestmark = pytest.mark.django_db(transaction=True)
CALLER = Caller("127.0.0.1", "a test")
PASSWORD = "plum-sunrise-otter"


def register(email: str = "dora@example.org") -> services.Session:
    return services.register(email=email, password=PASSWORD, device_name="phone", caller=CALLER)


def test_all_agree_on_one_signing_key(at_once: AtOnce) -> None:
    keys = at_once(partial(stored_key.__wrapped__, "jwt_signing_key"), 6)
    assert len(set(keys)) == 1
    assert SystemConfig.objects.count() == 1


def test_a_refresh_token_works_once_even_at_once(at_once: AtOnce) -> None:
    session = register()
    results = at_once(lambda: services.refresh(token=session.refresh, caller=CALLER))
    accepted = [result for result in results if isinstance(result, services.Session)]
    assert len(accepted) == 1
    assert all(isinstance(result, tokens.TokenInvalid) for result in results if result not in accepted)
    assert Device.objects.get().revoked_at is not None, "whoever used it twice may have stolen it"


def test_an_email_is_registered_once_even_at_once(at_once: AtOnce) -> None:
    emails = iter(["dora@example.org", "DORA@example.org", "Dora@Example.org", "dora@EXAMPLE.org"])
    results = at_once(lambda: register(next(emails)))
    assert sum(isinstance(result, services.Session) for result in results) == 1
    assert sum(isinstance(result, services.EmailTaken) for result in results) == 3
    assert User.objects.count() == 1


def test_logging_in_at_once_on_one_device_keeps_one_row(at_once: AtOnce) -> None:
    register()
    results = at_once(
        lambda: services.log_in(email="dora@example.org", password=PASSWORD, device_name="phone", caller=CALLER)
    )
    assert all(isinstance(result, services.Session) for result in results), results
    assert Device.objects.count() == 1
