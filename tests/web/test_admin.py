"""The admin site: every page for administrators, nothing for anybody else, no secret for anyone."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client as Browser

from accounts.admin_pages import ReadOnlyAdmin
from accounts.models import SystemConfig, User
from accounts.signing import signing_key
from accounts.tenancy import everyone
from audit.models import AuditLog
from connections.models import Lease, Process
from tests.conftest import PASSWORD
from tests.web.exchange import ALICE_KEY
from tests.web.rows import AT, Owned, make_everything
from trading.models import Bar

OWN_APPS = ("accounts", "audit", "connections", "risk", "trading")
OWN_MODELS = [model for app in OWN_APPS for model in apps.get_app_config(app).get_models()]
EDITABLE = {User}


@pytest.fixture
def operator(db: None) -> User:
    return User.objects.create_superuser("operator@example.org", PASSWORD)


@pytest.fixture
def desk(operator: User) -> Browser:
    browser = Browser()
    answer = browser.post("/admin/login/", {"username": operator.email, "password": PASSWORD, "next": "/admin/"})
    assert answer.status_code == 302, "the administrator can log in"
    return browser


@pytest.fixture
def rows(alice: User) -> Owned:
    owned = make_everything(alice, ALICE_KEY)
    signing_key()
    alice.devices.create(name="phone", refresh_jti="7" * 32, last_used_at=AT)
    alice.login_attempts.create(email=alice.email, success=True)
    Lease.objects.create(kind="shard", key="1", expires_at=AT)
    Process.objects.create(kind="shard", host="here", pid=1, started_at=AT, seen_at=AT)
    Bar.objects.create(
        feed="binance_spot:live", symbol="BTC/USDT", timeframe="1m", opened_at=AT,
        open=1, high=1, low=1, close=1, volume=1,
    )  # fmt: skip
    return owned


def pages(model: type[Model]) -> list[str]:
    base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    with everyone():
        key = model._default_manager.values_list("pk", flat=True).first()
    assert key is not None, f"the test has no row of {model.__name__}"
    quoted = str(key).replace("_", "_5F")
    return [base, f"{base}?q=x", f"{base}{quoted}/change/", f"{base}{quoted}/history/"]


def test_every_model_has_its_pages() -> None:
    assert [model.__name__ for model in OWN_MODELS if not admin.site.is_registered(model)] == []
    assert not admin.site.is_registered(Group)


@pytest.mark.parametrize("model", OWN_MODELS, ids=lambda model: model.__name__)
def test_every_page_shows_for_administrators(desk: Browser, rows: Owned, model: type[Model]) -> None:
    for page in pages(model):
        assert desk.get(page).status_code == 200, page


def test_the_index_shows(desk: Browser) -> None:
    assert desk.get("/admin/").status_code == 200


@pytest.mark.parametrize("model", OWN_MODELS, ids=lambda model: model.__name__)
def test_no_page_shows_for_alice(rows: Owned, alice: User, model: type[Model]) -> None:
    browser = Browser()
    browser.force_login(alice)
    for page in pages(model):
        answer = browser.get(page)
        assert answer.status_code == 302, page
        assert answer["Location"].startswith("/admin/login/")


def test_alice_cannot_log_in(alice: User) -> None:
    browser = Browser()
    answer = browser.post("/admin/login/", {"username": alice.email, "password": PASSWORD})
    assert answer.status_code == 200
    assert not browser.session.get("_auth_user_id")


def test_log_ins_are_recorded_and_limited(operator: User) -> None:
    browser = Browser()
    browser.post("/admin/login/", {"username": operator.email, "password": "wrong-wrong"})
    browser.post("/admin/login/", {"username": operator.email, "password": PASSWORD})
    assert list(operator.login_attempts.order_by("id").values_list("success", flat=True)) == [False, True]
    with everyone():
        events = AuditLog.objects.filter(user=operator).order_by("id").values_list("event_type", flat=True)
        assert list(events) == ["login.failed", "login.succeeded"]
    for _ in range(40):
        browser.post("/admin/login/", {"username": operator.email, "password": "wrong-wrong"})
    assert operator.login_attempts.count() < 42


@pytest.mark.parametrize("model", [m for m in OWN_MODELS if m not in EDITABLE], ids=lambda model: model.__name__)
def test_what_the_system_writes_is_read_only(desk: Browser, rows: Owned, model: type[Model]) -> None:
    assert isinstance(admin.site._registry[model], ReadOnlyAdmin)
    base, _, change, _ = pages(model)
    with everyone():
        before = list(model._default_manager.values())
    assert desk.get(f"{base}add/").status_code == 403
    assert desk.post(change, {"name": "x"}).status_code == 403
    assert desk.post(change.replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
    key = change.split("/")[-3]
    desk.post(base, {"action": "delete_selected", "_selected_action": key, "post": "yes"})
    with everyone():
        assert list(model._default_manager.values()) == before


def test_no_page_shows_a_secret(desk: Browser, rows: Owned) -> None:
    stored = SystemConfig.objects.get().value
    planted = [
        ALICE_KEY.api_key, ALICE_KEY.api_secret, rows.connection.api_key_sealed, rows.connection.api_secret_sealed,
        stored, signing_key(), User.objects.get(pk=rows.user.pk).password, "ENC[v", "argon2",
    ]  # fmt: skip
    for model in OWN_MODELS:
        for page in pages(model):
            text = desk.get(page).content.decode()
            assert [secret for secret in planted if secret in text] == [], page


def test_changing_a_user_is_recorded(desk: Browser, operator: User, alice: User) -> None:
    answer = desk.post(
        f"/admin/accounts/user/{alice.pk}/change/", {"role": "manager", "beta_code": "", "is_active": "on"}
    )
    assert answer.status_code == 302, answer.content
    alice.refresh_from_db()
    assert alice.role == "manager"
    with everyone():
        row = AuditLog.objects.get(event_type="admin.changed")
    assert (row.user, row.resource_type, row.resource_id) == (operator, "user", str(alice.pk))


def test_a_deleted_administrator_is_out(desk: Browser, operator: User, settings: Any) -> None:
    User.objects.filter(pk=operator.pk).update(is_active=False, is_deleted=True)
    assert desk.get("/admin/").status_code == 302


def test_pages_of_other_apps_show_too(desk: Browser) -> None:
    others = [model for model in admin.site._registry if model._meta.app_label not in OWN_APPS]
    for model in others:
        page = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        assert desk.get(page).status_code == 200, page
