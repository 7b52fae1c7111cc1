"""Who sees what: two users at once, names that are markup, a session that has ended."""

import json
import secrets
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.desk import (
    Watched,
    create_strategy,
    enter,
    enter_admin,
    log_in,
    panel,
    place_order,
    tab,
    table,
)
from tests.browser.line import Line
from tests.system.trading import Person, Trading

# Each would be seen: a script that ran, a picture that isn't there, an expression that was computed.
MARKUP = '"><img src=/x onerror=alert(1)>{{7*7}}<b>'


def names_of(trading: Trading, person: Person) -> list[str]:
    """What tells a user's rows from others': their ids, and the user's address."""
    token = trading.token(person)
    rows = [
        row for path in ("connections", "strategy-instances", "orders", "trades")
        for row in trading.api(path, None, token)["results"]
    ]  # fmt: skip
    return [person.email, *(row["id"] for row in rows)]


@pytest.fixture
def carols(context: BrowserContext, watched: Watched, trading: Trading, carol: Person) -> Page:
    """The desk of carol, who has an account on the exchange where the other users trade."""
    trading.bind(carol, "Carol's account")
    return context.new_page()


def test_nothing_of_another_user_reaches_a_page(
    carols: Page, trading: Trading, carol: Person, browser: Browser
) -> None:
    line = Line(carols)
    log_in(carols, carol)
    with browser.new_context(base_url=trading.url) as another:
        log_in(another.new_page(), trading.busy)
        trading.installation.wait_for_trades(3)
    seen = json.dumps(line.heard) + carols.content()
    found = [name for name in names_of(trading, trading.busy) if name in seen]
    assert found == []
    assert carol.email in seen


def test_a_tab_of_who_logged_out_is_of_no_use_to_the_next_user(
    context: BrowserContext, trading: Trading, carol: Person
) -> None:
    old, new = context.new_page(), context.new_page()
    log_in(old, trading.busy)
    expect(table(old, "Strategies").get_by_role("button", name="Stop").first).to_be_visible()
    new.goto("/account")
    new.get_by_role("banner").get_by_role("button", name="Log out").click()
    expect(old.get_by_text("Your session has ended. Log in again.")).to_be_visible()
    log_in(new, carol)
    expect(old.get_by_role("button", name="Log in")).to_be_visible()
    expect(old.locator("body")).not_to_contain_text(trading.busy.email)


@pytest.fixture
def mallory(trading: Trading) -> Person:
    """Whose names are all markup."""
    person = trading.register(f'"<img/src=/x{secrets.token_hex(4)}>"@example.org')
    trading.bind(person, MARKUP)
    trading.api("login", {"email": person.email, "password": person.password, "device_id": MARKUP})
    return person


@pytest.fixture
def mallorys(browser: Browser, trading: Trading) -> Iterator[BrowserContext]:
    with browser.new_context(base_url=trading.url, user_agent=f"Mallory/1 {MARKUP}") as context:
        context.set_default_timeout(20_000)
        yield context


def test_names_that_are_markup_are_shown_as_text_and_run_nothing(
    mallorys: BrowserContext, mallory: Person, trading: Trading
) -> None:
    watched = Watched(mallorys)
    page = mallorys.new_page()
    _work_under_such_names(page, mallory)
    page.goto("/account")
    expect(page.get_by_text(MARKUP).first).to_be_visible()
    page.goto("/account/audit-log")
    expect(page.get_by_text(MARKUP).first).to_be_visible()
    assert watched.errors == []


def _work_under_such_names(page: Page, mallory: Person) -> None:
    page.goto("/login")
    # Browsers know fewer addresses than the standard does.
    page.locator("form").evaluate("form => { form.noValidate = true; }")
    enter(page, mallory.email, mallory.password, "Log in")
    expect(page.locator(".who")).to_have_text(mallory.email)
    expect(table(page, "Connections").get_by_text(MARKUP, exact=True)).to_be_visible()
    create_strategy(page, MARKUP)
    page.get_by_role("button", name=f"Change: {MARKUP}").click()
    expect(panel(page, f"Change {MARKUP}").get_by_label("Name", exact=True)).to_have_value(MARKUP)
    panel(page, f"Change {MARKUP}").get_by_role("button", name="Close").click()
    place_order(page, side="buy", kind="limit", quantity="0.001", price="20000")
    tab(page, "Open orders")
    expect(table(page, "Open orders").get_by_text(MARKUP)).to_be_visible()
    page.get_by_role("button", name="Kill switch", exact=True).click()
    form = panel(page, "Kill switch")
    form.get_by_label("Reason").fill(MARKUP)
    form.get_by_role("button", name="Stop trading").click()
    expect(form.get_by_text("Stopped: All my trading.")).to_be_visible()
    form.get_by_role("button", name="Close").click()
    expect(page.get_by_text(f"Trading stopped: all your trading: {MARKUP}")).to_be_visible()


def test_the_admin_shows_such_names_as_text_too(
    context: BrowserContext, watched: Watched, mallory: Person, trading: Trading
) -> None:
    page = context.new_page()
    enter_admin(page, trading.operator())
    for path, shown in {
        "accounts/user": mallory.email, "accounts/device": MARKUP, "connections/connection": MARKUP,
    }.items():  # fmt: skip
        page.goto(f"/admin/{path}/")
        expect(page.get_by_text(shown).first).to_be_visible()


def test_a_desk_whose_session_has_ended_says_so_and_leads_to_the_log_in(
    carols: Page, carol: Person, watched: Watched
) -> None:
    watched.expected.append("401")
    log_in(carols, carol)
    carols.context.clear_cookies(name="sessionid")
    carols.get_by_role("button", name="Test: Carol's account").click()
    expect(carols.get_by_text("Your session has ended. Log in again.")).to_be_visible()
    expect(carols.get_by_role("button", name="Log in")).to_be_visible()


def test_an_admin_page_whose_session_has_ended_says_so_and_leads_to_the_log_in(
    context: BrowserContext, watched: Watched, trading: Trading
) -> None:
    page = context.new_page()
    operator = trading.operator()
    enter_admin(page, operator)
    context.clear_cookies()
    expect(page.get_by_text("Your session has ended. Log in again.")).to_be_visible()
    page.get_by_label("Email").fill(operator.email)
    page.get_by_label("Password").fill(operator.password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("region", name="State of the installation")).to_be_visible()
