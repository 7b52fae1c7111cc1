"""The account's pages: password, second factor, devices, risk disclosure, audit log."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import unquote

import pytest
from django.test import Client as Browser

from accounts import disclosure, services
from accounts.models import DisclosureAcceptance, User
from accounts.tenancy import tenant_scope
from audit.models import AuditLog
from audit.record import record
from desproject.lib.clock import SYSTEM_CLOCK
from tests.accounts.second_factor import CALLER, app_code, enable_second_factor
from tests.conftest import PASSWORD
from tests.web.console.page import Page
from tests.web.console.test_door import STRONG, is_in, log_in
from trading.console.prose import as_html


@pytest.fixture
def browser(alice: User) -> Browser:
    entered = Browser(headers={"User-Agent": "Alice's browser"})
    assert log_in(entered).status_code == 302
    return entered


@pytest.fixture
def in_scope(alice: User) -> Iterator[None]:
    with tenant_scope(alice.pk):
        yield


def text_of(answer: Any) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())).split())


def test_the_desk_leads_to_the_account(browser: Browser) -> None:
    assert 'href="/account"' in browser.get("/").content.decode()
    assert "alice@example.org" in browser.get("/account").content.decode()


def test_who_isnt_logged_in_comes_back_after_the_log_in(alice: User) -> None:
    nobody = Browser()
    answer = nobody.get("/account/audit-log?limit=5")
    assert answer["Location"] == "/login?next=%2Faccount%2Faudit-log%3Flimit%3D5"
    page = Page(nobody.get(answer["Location"]))
    assert page.inputs["next"].value == "/account/audit-log?limit=5"
    assert nobody.post("/account/password").status_code == 401


def test_a_new_password_ends_every_session_and_logs_in(browser: Browser, alice: User) -> None:
    other = Browser()
    log_in(other)
    answer = browser.post("/account/password", {"current_password": PASSWORD, "new_password": STRONG})
    assert answer["Location"] == "/login"
    assert "Log in with the new one." in browser.get("/login").content.decode()
    assert not is_in(other)
    assert not is_in(browser)
    assert log_in(browser, STRONG).status_code == 302
    assert is_in(browser)


def test_a_wrong_present_password_changes_nothing(browser: Browser, alice: User) -> None:
    answer = browser.post("/account/password", {"current_password": "not-this-one", "new_password": STRONG})
    assert answer.status_code == 422
    page = Page(answer)
    assert "not your password" in page.error("current_password")
    assert STRONG not in page.source
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)


def test_the_second_factor_is_set_up_with_an_app(browser: Browser, alice: User) -> None:
    enrolled = browser.post("/account/otp/enrol")
    assert "no-store" in enrolled["Cache-Control"]
    page = Page(enrolled)
    secret = page.texts["otp-secret"]
    codes_page = browser.post("/account/otp/confirm", {"otp": app_code(secret, SYSTEM_CLOCK.now())})
    assert codes_page.status_code == 200
    assert "no-store" in codes_page["Cache-Control"]
    codes = Page(codes_page).texts["recovery-codes"].split()
    assert len(codes) == 10
    assert "On." in text_of(browser.get("/account"))
    assert log_in(Browser()).status_code == 401
    assert log_in(Browser(), otp=codes[0]).status_code == 302
    assert "codes left: 9" in text_of(browser.get("/account"))


def test_the_picture_shows_the_key_without_asking_anybody_for_it(browser: Browser) -> None:
    source = browser.post("/account/otp/enrol").content.decode()
    (address,) = re.findall(r'class="qr" src="([^"]+)"', source)
    assert address.startswith("data:image/svg+xml")
    picture = unquote(unescape(address))
    assert "#fff" in picture, "readable on a dark page"
    assert "<script" not in picture


def test_a_wrong_first_code_is_said_and_the_key_not_shown_again(browser: Browser, alice: User) -> None:
    secret = Page(browser.post("/account/otp/enrol")).texts["otp-secret"]
    answer = browser.post("/account/otp/confirm", {"otp": "abcdef"})
    assert answer.status_code == 422
    page = Page(answer)
    assert "present code" in page.error("otp")
    assert secret not in page.source
    alice.refresh_from_db()
    assert not alice.otp_verified


def test_a_second_factor_that_is_on_is_not_replaced(browser: Browser, alice: User) -> None:
    enable_second_factor(alice)
    answer = browser.post("/account/otp/enrol")
    assert answer.status_code == 409
    assert "disable it first" in answer.content.decode()


def test_switching_the_second_factor_off_takes_the_password(browser: Browser, alice: User) -> None:
    enable_second_factor(alice)
    refused = browser.post("/account/otp/disable", {"password": "not-this-one"})
    assert refused.status_code == 422
    assert "not your password" in Page(refused).error("password")
    assert browser.post("/account/otp/disable", {"password": PASSWORD})["Location"] == "/account"
    assert "The second factor is off." in browser.get("/account").content.decode()
    assert log_in(Browser()).status_code == 302


def test_guesses_of_the_password_lock_here_too(browser: Browser, alice: User) -> None:
    for _ in range(5):
        browser.post("/account/otp/disable", {"password": "not-this-one"})
    assert browser.post("/account/otp/disable", {"password": PASSWORD}).status_code == 429


def test_devices_are_listed_with_what_is_known_of_them(browser: Browser, alice: User) -> None:
    services.log_in(email=alice.email, password=PASSWORD, device_name="my bot", caller=CALLER)
    page = text_of(browser.get("/account"))
    assert re.search(r"my bot a test 192\.0\.2\.7 \d{4}-\d\d-\d\d", page)
    assert re.search(r"Browser this device Alice's browser 127\.0\.0\.1", page)
    assert page.count("this device") == 1


def test_a_device_is_logged_out_by_its_button(browser: Browser, alice: User) -> None:
    other = Browser()
    log_in(other)
    address = re.findall(r'action="(/account/devices/[^"]+)"', browser.get("/account").content.decode())
    assert len(address) == 1, "this device has no button"
    assert browser.post(address[0])["Location"] == "/account"
    assert not is_in(other)
    assert is_in(browser)


def test_the_risk_disclosure_is_read_and_accepted(browser: Browser, alice: User, in_scope: None) -> None:
    assert "Not accepted yet" in text_of(browser.get("/account"))
    page = Page(browser.get("/account/disclosure"))
    assert page.inputs["version"].value == disclosure.current_version()
    assert "**" not in page.source
    assert browser.post("/account/disclosure", page.filled())["Location"] == "/account"
    kept = DisclosureAcceptance.objects.get()
    assert (kept.version, kept.ip) == (disclosure.current_version(), "127.0.0.1")
    assert "Accepted" in text_of(browser.get("/account"))
    assert "version" not in Page(browser.get("/account/disclosure")).inputs


def test_an_older_text_than_the_present_one_is_not_accepted(
    browser: Browser, alice: User, in_scope: None
) -> None:
    answer = browser.post("/account/disclosure", {"version": "0"})
    assert answer["Location"] == "/account/disclosure"
    assert "has changed meanwhile" in browser.get("/account/disclosure").content.decode()
    assert not DisclosureAcceptance.objects.exists()


def test_the_audit_log_shows_ones_own_events_newest_first(browser: Browser, alice: User, bob: User) -> None:
    record("logout", user_id=bob.pk, ip="198.51.100.9")
    browser.post("/account/otp/enrol")
    page = text_of(browser.get("/account/audit-log"))
    assert 0 < page.index("otp.enrolled") < page.index("login.succeeded")
    assert "198.51.100.9" not in page


def test_the_audit_log_goes_on_page_by_page(browser: Browser, alice: User) -> None:
    for number in range(60):
        record("test.event", user_id=alice.pk, details={"number": number})
    seen: list[str] = []
    query = ""
    for _ in range(2):
        source = browser.get(f"/account/audit-log{query}").content.decode()
        seen += re.findall(r"number: (\d+)", source)
        query = unescape("".join(re.findall(r'href="([^"]+)" rel="next"', source)))
    assert seen == [str(number) for number in reversed(range(60))]
    assert query == ""


def test_what_events_tell_is_text_not_markup(browser: Browser, alice: User) -> None:
    record("test.event", user_id=alice.pk, details={"<i>name</i>": "<script>alert(1)</script>"})
    source = browser.get("/account/audit-log").content.decode()
    assert "<script>alert" not in source
    assert "<i>" not in source


def test_a_cursor_of_nobodys_making_is_refused(browser: Browser, alice: User, in_scope: None) -> None:
    assert browser.get("/account/audit-log?cursor=nonsense").status_code == 400
    assert AuditLog.objects.exists()


def test_our_texts_become_markup_and_nothing_else_does() -> None:
    text = "# Title\n\nOne & **two**\nthree <b>.\n\n1. **First**\n   goes on.\n2. Second."
    assert as_html(text) == (
        "<h1>Title</h1>\n<p>One &amp; <strong>two</strong> three &lt;b&gt;.</p>\n"
        "<ol><li><strong>First</strong> goes on.</li>\n<li>Second.</li></ol>"
    )


PAGES = ["account", "account/password", "account/otp/confirm", "account/otp/disable", "account/disclosure"]


@pytest.mark.parametrize("page", PAGES)
def test_pages_close_what_they_open_and_hold_no_style(browser: Browser, page: str) -> None:
    source = Page(browser.get(f"/{page}")).source
    assert " style=" not in source
    assert "<style" not in source
