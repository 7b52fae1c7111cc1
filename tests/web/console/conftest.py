"""Browsers at the console, logged in or not."""

import pytest
from django.test import Client as Browser

from accounts.models import User
from tests.web.exchange import ALICE_KEY, BOB_KEY
from tests.web.rows import Owned, make_everything


def htmx(user: User | None = None) -> Browser:
    """A browser that sends requests as htmx does. Spares the password's hash."""
    browser = Browser(headers={"HX-Request": "true"})
    if user is not None:
        browser.force_login(user)
        browser.get("/login")  # the session gets its device
    return browser


@pytest.fixture
def alices(alice: User) -> Owned:
    return make_everything(alice, ALICE_KEY)


@pytest.fixture
def bobs(bob: User) -> Owned:
    return make_everything(bob, BOB_KEY)


@pytest.fixture
def at_desk(alice: User) -> Browser:
    """Alice's browser."""
    return htmx(alice)
