"""The admin site: every page for administrators, nothing for anybody else, no secret for anyone."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client as Browser
from django.utils import timezone

from accounts.admin_pages import ReadOnlyAdmin
from accounts.models import LoginTries, SystemConfig, User
from accounts.signing import signing_key
from accounts.tenancy import everyone
from audit.models import AuditLog
from connections.models import Connection, Lease, Process
from desproject.lib.bus import sync_client
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.features import GATEWAY_TRUST, Stage
from desproject.lib.metrics.publishing import Publisher
from desproject.lib.metrics.registry import Registry
from desproject.metrics_board import Board
from risk.models import RiskEvent
from tests.accounts.second_factor import enable_second_factor
from tests.conftest import PASSWORD
from tests.web.admin.routes import OWN_APPS, OWN_MODELS
from tests.web.console.page import Page
from tests.web.exchange import ALICE_KEY
from tests.web.rows import AT, Owned

EDITABLE = {User, RiskEvent}


def test_the_log_in_page_leads_to_the_site(operator: User) -> None:
    browser = Browser()
    page = Page(browser.get("/admin/login/"))
    answer = browser.post("/admin/login/", page.filled(username=operator.email, password=PASSWORD))
    assert answer["Location"] == "/admin/"


def test_an_open_page_whose_session_has_ended_is_led_to_the_log_in(db: None) -> None:
    browser = Browser()
    answer = browser.get("/admin/", headers={"HX-Request": "true"}, follow=True)
    led_to = answer["HX-Redirect"]
    assert led_to.startswith("/admin/login/?next=%2Fadmin%2F")
    assert "Your session has ended" in browser.get(led_to).content.decode()


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


def test_the_index_shows_the_state_of_the_installation(
    desk: Browser, rows: Owned, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process.objects.create(kind="shard", host="far-away", pid=77, started_at=AT, seen_at=AT)
    until = timezone.now() + timedelta(minutes=1)
    for kind, key in (("shard", "2"), ("stream", "market|binance_spot:live")):
        Lease.objects.create(kind=kind, key=key, owner=process.pk, expires_at=until)
    with everyone():
        Connection.objects.update(status="unhealthy", status_reason="the key was <b>revoked</b>")
    monkeypatch.setattr("desproject.admin_index.BOARD", Board())
    registry = Registry()
    registry.count("engine.orders", 1234)
    registry.count_error("planted_error")
    registry.recorder("order.send").record(0.5)
    Publisher(sync_client(), "engine", "far-away", registry).publish()
    page = desk.get("/admin/")
    assert page.status_code == 200
    shown = page.content.decode()
    for text in (
        "far-away 77", "market|binance_spot:live", "1,234", "planted_error", "500.00", "a test",
        "the key was &lt;b&gt;revoked&lt;/b&gt;", "no stream process runs",
    ):  # fmt: skip
        assert text in shown, text
    assert "sealed" not in shown
    assert ALICE_KEY.api_secret not in shown


def test_the_index_says_when_there_are_no_figures(
    desk: Browser, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desproject.admin_index.BOARD", Board())
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    page = desk.get("/admin/")
    assert page.status_code == 200
    assert "Redis doesn&#x27;t answer" in page.content.decode()


def test_the_index_shows_nothing_to_alice(alice: User) -> None:
    browser = Browser()
    browser.force_login(alice)
    assert browser.get("/admin/").status_code == 302


def test_alice_cannot_log_in(alice: User) -> None:
    browser = Browser()
    answer = browser.post("/admin/login/", {"username": alice.email, "password": PASSWORD})
    assert answer.status_code == 200
    assert not browser.session.get("_auth_user_id")


def test_who_has_a_second_factor_needs_it_here_too(operator: User) -> None:
    codes = enable_second_factor(operator)
    browser = Browser()
    fields = {"username": operator.email, "password": PASSWORD, "next": "/admin/"}
    asked = browser.post("/admin/login/", fields)
    assert "enter the code of your authenticator app" in asked.content.decode()
    assert 'name="otp"' in asked.content.decode()
    assert browser.post("/admin/login/", {**fields, "otp": "000000"}).status_code == 200
    assert not browser.session.get("_auth_user_id")
    assert browser.post("/admin/login/", {**fields, "otp": codes[0]}).status_code == 302
    assert browser.get("/admin/").status_code == 200


def test_a_locked_administrator_is_told_so(operator: User) -> None:
    browser = Browser()
    for _ in range(5):
        browser.post("/admin/login/", {"username": operator.email, "password": "wrong-wrong"})
    locked = browser.post("/admin/login/", {"username": operator.email, "password": PASSWORD})
    assert "too many wrong tries" in locked.content.decode()
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


def test_nothing_but_users_can_be_edited() -> None:
    """django-q's schedules neither: who may write one can name any function to be run."""
    written = {model for model, pages in admin.site._registry.items() if not isinstance(pages, ReadOnlyAdmin)}
    assert written == EDITABLE


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
    stored = SystemConfig.objects.values_list("value", flat=True)
    planted = [
        ALICE_KEY.api_key, ALICE_KEY.api_secret, rows.connection.api_key_sealed, rows.connection.api_secret_sealed,
        *stored, signing_key(), User.objects.get(pk=rows.user.pk).password, "ENC[v", "argon2", "5" * 64,
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


def test_marking_an_alpha_account_is_recorded_and_shown(
    desk: Browser, alice: User, settings: Any
) -> None:
    settings.FEATURE_STAGES = {GATEWAY_TRUST.name: Stage.of("alpha")}
    path = f"/admin/accounts/user/{alice.pk}/change/"
    desk.post(path, {"role": "trader", "beta_code": "", "is_active": "on", "is_alpha": "on"})
    assert "GATEWAY_TRUST" in desk.get(path).content.decode()
    with everyone():
        row = AuditLog.objects.get(event_type="admin.changed")
    assert (row.resource_id, row.details) == (str(alice.pk), {"what": ["Is alpha"]})


def test_lifting_a_lock_is_recorded(desk: Browser, operator: User, alice: User) -> None:
    locked = SYSTEM_CLOCK.now() + timedelta(minutes=10)
    LoginTries.objects.create(subject=f"email:{alice.email}", failed=5, locked_until=locked, last_failed_at=AT)
    User.objects.filter(pk=alice.pk).update(failed_attempts=5, locked_until=locked)
    desk.post("/admin/accounts/user/", {"action": "unlock", "_selected_action": str(alice.pk)})
    assert not LoginTries.objects.exists()
    alice.refresh_from_db()
    assert (alice.failed_attempts, alice.locked_until) == (0, None)
    with everyone():
        row = AuditLog.objects.get(event_type="admin.changed")
    assert (row.user, row.resource_id) == (operator, str(alice.pk))


def test_a_deleted_administrator_is_out(desk: Browser, operator: User, settings: Any) -> None:
    User.objects.filter(pk=operator.pk).update(is_active=False, is_deleted=True)
    assert desk.get("/admin/").status_code == 302


def test_pages_of_other_apps_show_too(desk: Browser) -> None:
    others = [model for model in admin.site._registry if model._meta.app_label not in OWN_APPS]
    for model in others:
        page = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        assert desk.get(page).status_code == 200, page
