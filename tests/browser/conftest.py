"""One installation and one Chromium for the whole group; every test has a browser profile of its own."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.browser import chromium
from tests.browser.desk import Watched
from tests.browser.installation import running
from tests.system.trading import Person, Trading


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="session")
def program() -> str:
    found = chromium.find()
    if found is None:
        text = "there is no Chromium on this machine: the browser tests were left out"
        if os.environ.get("DES_REQUIRE_CHROMIUM") == "1":
            pytest.fail(text)
        pytest.skip(text)
    return found


@pytest.fixture(scope="session")
def trading(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trading]:
    with running(tmp_path_factory.mktemp("installation")) as trading:
        yield trading


@pytest.fixture(scope="session")
def browser(program: str) -> Iterator[Browser]:
    with chromium.headless(program) as browser:
        yield browser


@pytest.fixture
def context(browser: Browser, trading: Trading) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=trading.url)
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def watched(context: BrowserContext) -> Iterator[Watched]:
    """Fails the test when a page of the context broke its content policy, raised, or wrote an error to its console."""
    watched = Watched(context)
    yield watched
    assert watched.errors == []


@pytest.fixture
def email() -> str:
    return f"carol-{secrets.token_hex(4)}@example.org"


@pytest.fixture
def carol(trading: Trading, email: str) -> Person:
    """Registered, with nothing yet."""
    return trading.register(email)
