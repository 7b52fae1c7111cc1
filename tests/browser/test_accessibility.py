"""axe-core on every page, in both themes: nothing serious stands in the way of anybody."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.browser.desk import enter_admin, expect_live, log_in, panel
from tests.system.trading import Trading

pytestmark = pytest.mark.database("embedded", reason="pages look the same on every database")

_AXE = (Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js").read_text()
_THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
_BAD = ("serious", "critical")
_LOOK = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ['violations'] });
    return violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map(
        ({ target, any }) => `${target.join(' ')}: ${any.map(({ message }) => message).join('; ')}`) }));
}"""

DOORS = ("/login", "/login?ended&otp", "/register", "/password/reset", "/password/reset/confirm")
ACCOUNT = ("/account", "/account/password", "/account/disclosure", "/account/audit-log", "/account/delete")
ADMIN = ("/admin/", "/admin/accounts/user/", "/admin/accounts/user/add/", "/admin/trading/order/")


@pytest.fixture(scope="module")
def page(browser: Browser, trading: Trading) -> Iterator[Page]:
    """A page without anybody logged in."""
    with browser.new_context(base_url=trading.url) as context:
        yield context.new_page()


@pytest.fixture(scope="module")
def traders(browser: Browser, trading: Trading) -> Iterator[Page]:
    """The desk of somebody who trades all the time."""
    with browser.new_context(base_url=trading.url) as context:
        page = context.new_page()
        log_in(page, trading.busy)
        expect(page.locator("#chart-note")).to_be_hidden()
        yield page


@pytest.fixture(scope="module")
def operators(browser: Browser, trading: Trading) -> Iterator[Page]:
    """The admin site's first page."""
    with browser.new_context(base_url=trading.url) as context:
        page = context.new_page()
        enter_admin(page, trading.operator())
        yield page


def violations(page: Page) -> list[Any]:
    """What axe finds serious or worse, by theme."""
    page.evaluate(_AXE)
    found = []
    for theme in _THEMES:
        page.emulate_media(color_scheme=theme)
        found += [(theme, each) for each in page.evaluate(_LOOK) if each["impact"] in _BAD]
    return found


@pytest.mark.parametrize("path", DOORS)
def test_nothing_bars_the_door(page: Page, path: str) -> None:
    page.goto(path)
    assert violations(page) == []


def test_an_empty_desk_is_usable(browser: Browser, trading: Trading, email: str) -> None:
    with browser.new_context(base_url=trading.url) as context:
        page = context.new_page()
        log_in(page, trading.register(email))
        assert violations(page) == []


def test_a_busy_desk_is_usable(traders: Page) -> None:
    assert violations(traders) == []


@pytest.mark.parametrize("name", ["Open orders", "Closed orders", "Trades", "Balances"])
def test_each_tab_of_the_desk_is_usable(traders: Page, name: str) -> None:
    traders.get_by_role("tab", name=name).click()
    assert violations(traders) == []


@pytest.mark.parametrize(
    ("button", "title"),
    [("New strategy", "New strategy"), ("Bind account", "Bind an exchange account"), ("Kill switch", "Kill switch"),
     ("Limits", "Risk limits")],
)  # fmt: skip
def test_each_panel_of_the_desk_is_usable(traders: Page, button: str, title: str) -> None:
    traders.get_by_role("button", name=button, exact=True).click()
    shown = panel(traders, title)
    expect(shown.locator("form").first).to_be_visible()
    assert violations(traders) == []
    shown.get_by_role("button", name="Close").click()


def test_a_desk_that_is_out_of_date_is_usable(traders: Page) -> None:
    traders.context.set_offline(True)
    try:
        expect(traders.get_by_text("No connection to the server.")).to_be_visible()
        assert violations(traders) == []
    finally:
        traders.context.set_offline(False)
    expect_live(traders)


def test_the_desk_on_a_phone_is_usable(browser: Browser, trading: Trading) -> None:
    size = ViewportSize(width=390, height=844)
    with browser.new_context(base_url=trading.url, viewport=size, has_touch=True, is_mobile=True) as context:
        page = context.new_page()
        log_in(page, trading.busy)
        sections = page.get_by_role("navigation", name="Sections").get_by_role("button")
        for section in sections.all():
            section.click()
            assert violations(page) == []


@pytest.mark.parametrize("path", ACCOUNT)
def test_each_page_of_the_account_is_usable(traders: Page, path: str) -> None:
    _elsewhere(traders, lambda page: page.goto(path))


def test_setting_up_the_second_factor_is_usable(traders: Page) -> None:
    def set_up(page: Page) -> None:
        page.goto("/account")
        page.get_by_role("button", name="Set up").click()
        expect(page.get_by_label("Code")).to_be_visible()

    _elsewhere(traders, set_up)


def _elsewhere(page: Page, go: Callable[[Page], Any]) -> None:
    """Looks at a page of the same log-in in a tab of its own."""
    tab = page.context.new_page()
    go(tab)
    assert violations(tab) == []
    tab.close()


@pytest.mark.parametrize("path", ADMIN)
def test_each_kind_of_admin_page_is_usable(operators: Page, path: str) -> None:
    _elsewhere(operators, lambda page: page.goto(path))


def test_the_admins_log_in_is_usable(page: Page) -> None:
    page.goto("/admin/login/?ended=")
    assert violations(page) == []
