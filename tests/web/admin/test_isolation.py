"""TEN-4 at the admin site: administrators get what is said, nobody else anything, by any of its URLs."""

import pytest
from django.db.models import Model
from django.test import Client as Browser

from accounts.models import Role, User
from tests.web.admin.routes import ADMINISTRATOR, OWN_APPS, OWN_MODELS, ROUTES
from tests.web.callers import everything_stored
from tests.web.rows import Owned

pytestmark = pytest.mark.usefixtures("many_requests")
OUR_ROUTES = [route for route in ROUTES if route.model is None or route.model._meta.app_label in OWN_APPS]
# Open to all, or nobody could log in, or out.
DOOR = {"login", "logout"}


@pytest.fixture
def outsiders(rows: Owned, bob: User, charlie: User, desk: Browser, operator: User) -> dict[str, Browser]:
    """By the callers of a verdict; the deleted one was an administrator, and has the session still."""
    User.objects.filter(pk=charlie.pk).update(role=Role.MANAGER)
    User.objects.filter(pk=rows.user.pk).update(manager=charlie)
    User.objects.filter(pk=operator.pk).update(is_active=False, is_deleted=True)
    browsers = {"nobody": Browser(), "deleted": desk}
    for caller, user in (("owner", rows.user), ("stranger", bob), ("manager", charlie)):
        browsers[caller] = Browser()
        browsers[caller].force_login(User.objects.get(pk=user.pk))
        browsers[caller].get("/login")  # the session gets its device
    return browsers


def test_every_kind_of_route_has_a_verdict() -> None:
    assert {route.kind for route in ROUTES} == set(ADMINISTRATOR)


def test_the_site_has_the_routes_that_matter() -> None:
    assert "/admin/connections/connection/<path:object_id>/change/" in {route.path for route in OUR_ROUTES}
    assert len(OUR_ROUTES) > 150


@pytest.mark.parametrize("model", [*OWN_MODELS, None], ids=lambda model: model.__name__ if model else "the site")
def test_administrators_get_what_is_said(desk: Browser, rows: Owned, model: type[Model] | None) -> None:
    routes = [route for route in OUR_ROUTES if route.model is model]
    statuses = {route.path: desk.get(route.filled()).status_code for route in routes}
    assert statuses == {route.path: ADMINISTRATOR[route.kind] for route in routes}
    if model is not None:
        assert desk.get(f"{routes[0].filled()}?q=x").status_code == 200


@pytest.mark.parametrize("caller", ["owner", "stranger", "manager", "nobody", "deleted"])
def test_outsiders_get_the_log_in_page_and_change_nothing(
    outsiders: dict[str, Browser], rows: Owned, caller: str
) -> None:
    browser = outsiders[caller]
    before = everything_stored()
    wrong = {}
    for route in (route for route in OUR_ROUTES if route.kind not in DOOR):
        for send in (browser.get, browser.post):
            answer = send(route.filled(), {"post": "yes", "name": "x", "_selected_action": str(rows.connection.pk)})
            if answer.status_code != 302 or not answer["Location"].startswith("/admin/login/"):
                wrong[send.__name__, route.path] = answer.status_code
    assert wrong == {}
    assert everything_stored() == before
