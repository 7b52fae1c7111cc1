"""The console's door: who comes in, and what ends a browser's session."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client as Browser
from django_otp.oath import TOTP
from rest_framework.test import APIClient

from accounts import second_factor, services
from accounts.caller import Caller
from accounts.models import Device, User
from desproject.lib.clock import SYSTEM_CLOCK
from tests.conftest import PASSWORD
from tests.web.console.conftest import htmx
from tests.web.console.page import Page

STRONG = "plum-sunrise-otter"


def log_in(browser: Browser, password: str = PASSWORD, **more: str) -> Any:
    return browser.post("/login", {"email": "alice@example.org", "password": password, **more})


def is_in(browser: Browser) -> bool:
    return bool(browser.get("/").status_code == 200)


@pytest.fixture
def browser(alice: User) -> Browser:
    """Alice, logged in by the page."""
    entered = Browser()
    assert log_in(entered).status_code == 302
    return entered


def test_who_isnt_logged_in_is_sent_to_the_door(db: None) -> None:
    answer = Browser().get("/")
    assert (answer.status_code, answer["Location"]) == (302, "/login")


def test_logging_in_leads_to_the_desk(alice: User) -> None:
    browser = Browser()
    answer = log_in(browser)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert "alice@example.org" in browser.get("/").content.decode()


def test_registering_leads_to_the_desk(db: None) -> None:
    browser = Browser()
    answer = browser.post("/register", {"email": "dora@example.org", "password": STRONG})
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert "dora@example.org" in browser.get("/").content.decode()


def test_a_weak_password_is_named_under_its_field(db: None) -> None:
    answer = Browser().post("/register", {"email": "dora@example.org", "password": "short"})
    assert answer.status_code == 400
    page = Page(answer)
    assert "too short" in page.error("password")
    assert page.inputs["email"].value == "dora@example.org"
    assert page.inputs["password"].value is None


def test_a_wrong_password_is_said_once_and_not_shown_again(alice: User) -> None:
    browser = Browser()
    answer = log_in(browser, "wrong-wrong-wrong")
    assert answer.status_code == 401
    page = Page(answer)
    assert "E-mail or password is wrong." in page.source
    assert "wrong-wrong-wrong" not in page.source
    assert page.inputs["email"].value == "alice@example.org"
    assert not is_in(browser)


def test_tries_pass_the_gate_of_the_api(alice: User) -> None:
    browser = Browser()
    for _ in range(5):
        log_in(browser, "wrong-wrong-wrong")
    answer = log_in(browser)
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 0
    assert list(alice.login_attempts.values_list("success", flat=True)) == [False] * 6


def recovery_codes(user: User) -> list[str]:
    """Of a user who has just switched the second factor on."""
    caller = Caller(None, "")
    key = base64.b32decode(second_factor.enrol(user, caller).secret)
    user.refresh_from_db()
    return second_factor.confirm(user, f"{TOTP(key).token():06d}", caller)


def test_the_code_is_asked_for_when_it_is_due(alice: User) -> None:
    first, second, *_ = recovery_codes(alice)
    browser = Browser()
    asking = Page(log_in(browser))
    assert asking.inputs["otp"].attributes["autocomplete"] == "one-time-code"
    wrong = log_in(browser, otp="111111")
    assert wrong.status_code == 401
    assert Page(wrong).inputs["otp"].value is None
    assert not is_in(browser)
    assert log_in(browser, otp=first).status_code == 302
    assert is_in(browser)
    assert log_in(Browser(), otp=first).status_code == 401, "each code is good once"
    assert log_in(Browser(), otp=second).status_code == 302


def test_who_knows_of_their_code_enters_it_at_once(db: None) -> None:
    assert "otp" in Page(Browser().get("/login?otp")).inputs
    assert "otp" not in Page(Browser().get("/login")).inputs


def test_the_session_key_and_the_csrf_token_change_with_the_log_in(alice: User) -> None:
    browser = Browser()
    browser.get("/login")
    token = browser.cookies["csrftoken"].value
    log_in(browser)
    first, second = browser.cookies["sessionid"].value, browser.cookies["csrftoken"].value
    assert second != token
    log_in(browser)
    assert browser.cookies["sessionid"].value != first


@pytest.mark.parametrize("name", ["sessionid", "csrftoken"])
def test_no_script_reads_the_cookies(browser: Browser, name: str) -> None:
    cookie = browser.cookies[name]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


@pytest.mark.parametrize(
    ("wanted", "reached"),
    [
        ("/admin/", "/admin/"), ("", "/"), ("https://evil.example/", "/"), ("//evil.example", "/"),
        ("javascript:alert(1)", "/"), ("/\\evil.example", "/"),
    ],
)  # fmt: skip
def test_after_the_log_in_only_own_pages_follow(alice: User, wanted: str, reached: str) -> None:
    assert log_in(Browser(), next=wanted)["Location"] == reached


def test_who_is_logged_in_needs_no_door(browser: Browser) -> None:
    assert browser.get("/login")["Location"] == "/"
    assert browser.get("/register")["Location"] == "/"


def _change_password(user: User) -> None:
    services.change_password(user=user, current=PASSWORD, new=STRONG, caller=Caller(None, ""))


ENDS: dict[str, Callable[[User], object]] = {
    "a new password": _change_password,
    "a raised token version": lambda user: User.objects.filter(pk=user.pk).update(token_version=7),
    "shut out": lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
    "deleted": lambda user: User.objects.filter(pk=user.pk).update(is_deleted=True),
    "its device revoked": lambda user: user.devices.update(revoked_at=SYSTEM_CLOCK.now()),
    "its device gone": lambda user: user.devices.all().delete(),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_what_ends_a_session_at_once(browser: Browser, alice: User, end: Callable[[User], object]) -> None:
    assert is_in(browser)
    end(alice)
    assert browser.get("/")["Location"] == "/login"
    assert browser.get("/console/orders/new", headers={"HX-Request": "true"}).status_code == 401
    assert browser.post("/console/token").status_code == 401


def test_each_browser_is_a_device_of_its_own(browser: Browser, alice: User) -> None:
    other = Browser(headers={"User-Agent": "another"})
    log_in(other)
    assert alice.devices.count() == 2
    alice.devices.get(user_agent="another").delete()
    assert is_in(browser)
    assert not is_in(other)


def test_logging_out_ends_the_session_and_its_tokens(browser: Browser, alice: User, anonymous: APIClient) -> None:
    stolen = browser.cookies["sessionid"].value
    token = browser.post("/console/token").json()["token"]
    assert browser.post("/logout")["Location"] == "/login"
    thief = Browser()
    thief.cookies["sessionid"] = stolen
    assert not is_in(browser)
    assert not is_in(thief)
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert anonymous.get("/api/me").status_code == 401
    assert alice.devices.get().revoked_at is not None


def test_a_link_logs_nobody_out(browser: Browser) -> None:
    assert browser.get("/logout").status_code == 405
    assert is_in(browser)


def test_the_page_gets_an_access_token_of_its_device(browser: Browser, alice: User, anonymous: APIClient) -> None:
    answer = browser.post("/console/token")
    assert set(answer.json()) == {"token", "expires_at"}
    assert "no-store" in answer["Cache-Control"]
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {answer.json()['token']}")
    assert anonymous.get("/api/me").json()["id"] == str(alice.pk)
    Device.objects.filter(user=alice).update(revoked_at=SYSTEM_CLOCK.now())
    assert anonymous.get("/api/me").status_code == 401


def test_the_session_is_no_way_into_the_api(browser: Browser) -> None:
    assert browser.get("/api/me").status_code == 401


def test_nobody_gets_a_token_unasked(db: None) -> None:
    answer = Browser().post("/console/token")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "UNAUTHENTICATED"


def test_the_admin_sites_sessions_have_devices_too(db: None) -> None:
    operator = User.objects.create_superuser("operator@example.org", PASSWORD)
    browser = Browser()
    browser.post("/admin/login/", {"username": operator.email, "password": PASSWORD})
    assert browser.get("/admin/").status_code == 200
    operator.devices.update(revoked_at=SYSTEM_CLOCK.now())
    assert browser.get("/admin/").status_code == 302


def _strict() -> Browser:
    return Browser(enforce_csrf_checks=True)


@pytest.mark.parametrize("path", ["/login", "/register", "/logout", "/console/kill-switch"])
def test_a_post_from_elsewhere_is_refused_with_a_clear_text(alice: User, path: str) -> None:
    browser = _strict()
    browser.force_login(alice)
    answer = browser.post(path, {"email": alice.email, "password": PASSWORD, "target": "user", "reason": "x"})
    assert answer.status_code == 403
    assert "load it again" in answer.content.decode()
    assert is_in(browser)


def test_a_token_is_refused_elsewhere_too(alice: User) -> None:
    browser = _strict()
    browser.force_login(alice)
    answer = browser.post("/console/token")
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "CSRF_FAILED"


def test_the_pages_own_token_is_taken(alice: User) -> None:
    browser = _strict()
    token = str(Page(browser.get("/login")).inputs["csrfmiddlewaretoken"].value)
    assert log_in(browser, csrfmiddlewaretoken=token).status_code == 302
    token = str(Page(browser.get("/console/orders/new")).inputs["csrfmiddlewaretoken"].value)
    answer = browser.post("/console/token", headers={"X-CSRFToken": token})
    assert answer.status_code == 200


@pytest.mark.parametrize("body", [{"email": "\x00", "password": "x"}, {"email": "a" * 500}, {}, {"password": "\x00"}])
def test_nonsense_at_the_door_is_answered(db: None, body: dict[str, str]) -> None:
    assert Browser().post("/login", body).status_code == 400


def test_a_huge_body_is_refused(at_desk: Browser) -> None:
    assert at_desk.post("/console/orders/new", {"symbol": "x" * 2_000_000}).status_code in {400, 413}


def test_pages_run_nothing_but_our_own_files(browser: Browser) -> None:
    for page in ("/", "/login", "/console/kill-switch"):
        answer = (htmx() if page == "/login" else browser).get(page)
        policy = dict(each.strip().split(" ", 1) for each in answer["Content-Security-Policy"].split(";"))
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
        text = answer.content.decode()
        assert "<script>" not in text
        assert " style=" not in text
        assert "onclick" not in text


def test_who_is_led_back_to_the_door_reads_why(db: None) -> None:
    assert "Your session has ended" in Browser().get("/login?ended").content.decode()
    assert "Your session has ended" not in Browser().get("/login").content.decode()
