"""Every page says what it may run; the two guests among them get only what they need."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client as Browser

from accounts.models import User
from tests.conftest import PASSWORD

STRICT_PAGES = ["/", "/login", "/register", "/api/me", "/no-such-page"]
# What they get besides.
INLINE_STYLES = {"style-src": "'self' 'unsafe-inline'"}
ALPINE = INLINE_STYLES | {"script-src": "'self' 'unsafe-eval'"}
GUESTS = {"/api/docs": INLINE_STYLES, "/admin/": ALPINE, "/admin/login/": ALPINE, "/admin/accounts/user/": ALPINE}
STRICT = {
    "default-src": "'self'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'",
    "img-src": "'self' data:", "form-action": "'self'", "frame-ancestors": "'none'", "base-uri": "'none'",
    "object-src": "'none'",
}  # fmt: skip
INLINE = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*type=\"application/json\")[^>]*>|\son(?:click|load|change|submit)=")


@pytest.fixture
def operator(db: None) -> Browser:
    user = User.objects.create_superuser("operator@example.org", PASSWORD)
    browser = Browser()
    browser.force_login(user)
    return browser


def policy_of(answer: Any) -> dict[str, str]:
    parts = answer["Content-Security-Policy"].split(";")
    return dict(part.strip().split(" ", 1) for part in parts)


@pytest.mark.parametrize("page", STRICT_PAGES)
def test_our_own_pages_run_and_wear_our_own_files_only(operator: Browser, page: str) -> None:
    assert policy_of(operator.get(page)) == STRICT


@pytest.mark.parametrize(("page", "more"), GUESTS.items(), ids=GUESTS)
def test_guests_may_do_what_they_need_and_nothing_else(operator: Browser, page: str, more: dict[str, str]) -> None:
    browser = Browser() if page == "/admin/login/" else operator
    assert policy_of(browser.get(page)) == STRICT | more


def test_the_admins_theme_compiles_expressions() -> None:
    """Once it doesn't, 'unsafe-eval' has no reason to stay."""
    script = Path(str(finders.find("unfold/js/alpine/alpine.js"))).read_text()
    assert "getPrototypeOf(async function(){}).constructor" in script


@pytest.mark.parametrize("page", [*GUESTS, "/admin/accounts/user/{id}/change/", "/admin/audit/auditlog/"])
def test_no_page_carries_a_script_that_its_policy_forbids(operator: Browser, page: str) -> None:
    answer = operator.get(page.format(id=User.objects.get().pk), follow=True)
    assert answer.status_code == 200
    assert INLINE.findall(answer.content.decode()) == []


def test_the_api_browsers_start_is_a_script_of_its_own(operator: Browser) -> None:
    answer = operator.get("/api/docs?script=")
    assert answer["Content-Type"].startswith("application/javascript")
    assert "SwaggerUIBundle" in answer.content.decode()
