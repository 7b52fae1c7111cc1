"""A new password by the pages, for who forgot theirs."""

import re
from typing import Any

import pytest
from django.core import mail
from django.test import Client as Browser
from django.test import override_settings

from accounts import beta_codes, tasks
from accounts.models import PasswordReset, User
from tests.conftest import PASSWORD
from tests.web.console.page import Page
from tests.web.console.test_door import STRONG, is_in, log_in

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mails are sent by the tests, in the place of the task processes."""
    monkeypatch.setattr("accounts.password_reset.async_task", lambda *_: None)


def ask(browser: Browser, email: str) -> Any:
    return browser.post("/password/reset", {"email": email}, follow=True)


def mailed_code() -> str:
    tasks.mail_password_reset(str(PasswordReset.objects.get().pk))
    return str(re.findall(r"^ +(\S{40,})$", str(mail.outbox[-1].body), re.MULTILINE)[0])


def test_the_code_from_the_mail_sets_a_new_password(alice: User) -> None:
    elsewhere, browser = Browser(), Browser()
    log_in(elsewhere)
    assert 'href="/password/reset"' in browser.get("/login").content.decode()
    page = Page(ask(browser, alice.email))
    answer = browser.post("/password/reset/confirm", page.filled(token=mailed_code(), new_password=STRONG), follow=True)
    assert answer.redirect_chain == [("/login", 302)]
    assert "Log in with the new one." in answer.content.decode()
    assert not is_in(elsewhere)
    assert log_in(browser, PASSWORD).status_code == 401
    assert log_in(browser, STRONG).status_code == 302


def test_the_answer_doesnt_tell_whether_anybody_has_the_e_mail(alice: User) -> None:
    def answered(email: str) -> tuple[int, str]:
        answer = ask(Browser(), email)
        return answer.status_code, re.sub(r'(name="csrf[^>]*(value|content)=)"[^"]*"', r"\1", answer.content.decode())

    assert answered(alice.email) == answered("nobody@example.org")


@pytest.mark.parametrize(
    ("changes", "text"), [({"token": "a-false-code"}, "is too old."), ({"new_password": "plum-otte"}, "too short")]
)
def test_what_is_wrong_is_said_and_nothing_typed_is_shown(alice: User, changes: dict[str, str], text: str) -> None:
    browser = Browser()
    ask(browser, alice.email)
    sent = {"token": mailed_code(), "new_password": STRONG} | changes
    answer = browser.post("/password/reset/confirm", sent)
    assert answer.status_code == 400
    page = Page(answer)
    assert text in page.source
    assert sent["token"] not in page.source
    assert sent["new_password"] not in page.source


def test_too_many_wishes_are_refused_with_a_time_to_wait(alice: User) -> None:
    answers = [Browser().post("/password/reset", {"email": alice.email}) for _ in range(20)]
    assert answers[-1].status_code == 429
    assert int(answers[-1]["Retry-After"]) > 0


def test_a_page_from_elsewhere_asks_for_nobody(alice: User) -> None:
    browser = Browser(enforce_csrf_checks=True)
    assert browser.post("/password/reset", {"email": alice.email}).status_code == 403
    assert browser.post("/password/reset/confirm", {"token": "x", "new_password": STRONG}).status_code == 403
    assert not PasswordReset.objects.exists()


def test_registering_asks_for_a_code_only_where_one_is_needed(settings: Any) -> None:
    assert "beta_code" not in Page(Browser().get("/register")).inputs
    code = beta_codes.create(note="spring")
    with override_settings(CONFIG=settings.CONFIG.model_copy(update={"beta_codes_required": True})):
        page = Page(Browser().get("/register"))
        typed = page.filled(email="dora@example.org", password=STRONG)
        refused = Browser().post("/register", typed | {"beta_code": "WRONG"})
        assert refused.status_code == 400
        assert "isn't valid" in Page(refused).error("beta_code").replace("&#x27;", "'")
        assert Browser().post("/register", typed | {"beta_code": code}).status_code == 302
    assert User.objects.get().beta_code
