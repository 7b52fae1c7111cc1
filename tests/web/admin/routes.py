"""Every route of the admin site, from its own table of URLs, and what an administrator gets there.

Everybody else gets the log-in page, whatever the route: that needs no table.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.urls import URLPattern, URLResolver

from accounts.tenancy import everyone
from connections.models import Connection

OWN_APPS = ("accounts", "audit", "connections", "risk", "trading")
OWN_MODELS = [model for app in OWN_APPS for model in apps.get_app_config(app).get_models()]
_MODELS = {model._meta.label_lower.replace(".", "_"): model for model in admin.site._registry}

# What an administrator's GET is answered with, by a route's kind: a page of one model is of the same kind for all.
# Rows that only the system writes can't be added, and none can be deleted.
ADMINISTRATOR = {
    "index": 200, "app_list": 200, "search": 200, "jsi18n": 200, "password_change": 200, "password_change_done": 200,
    # Nothing of ours has a page of its own on the site, and which rows are searched must be said.
    "view_on_site": 404, "autocomplete": 403,
    # Logged in already; logging out is a post.
    "login": 302, "logout": 405,
    "changelist": 200, "add": 403, "history": 200, "change": 200, "delete": 403,
    # What Django makes of paths that there aren't: an old form of "change", and any other.
    "old change": 302, "anything else": 404,
}  # fmt: skip


@dataclass(frozen=True)
class Route:
    """``path`` with its parameters; ``model`` whose page it is, if it is one's."""

    path: str
    kind: str
    model: type[Model] | None

    def filled(self) -> str:
        """A path to a row that there is."""
        connections = str(ContentType.objects.get_for_model(Connection).pk)
        values = {"<path:content_type_id>": connections, "<path:object_id>": _first_row(self.model or Connection)}
        path = self.path
        for parameter, value in values.items():
            path = path.replace(parameter, value)
        assert not set("<(^") & set(path), f"{self.path}: tell this test how to fill its parameters"
        return path


def routes() -> Iterator[Route]:
    for path, name in _walk(admin.site.urls[0], "/admin/"):
        model = next((model for label, model in _MODELS.items() if name.startswith(f"{label}_")), None)
        if model is not None:
            yield Route(path, name.rpartition("_")[2], model)
        elif name == "app_list":
            yield Route("/admin/trading/", name, None)
        elif path == "/admin/(?P<url>.*)$":
            yield Route("/admin/nothing-of-ours/", "anything else", None)
        elif not name and path.endswith("/<path:object_id>/"):
            app, model_name = path.split("/")[2:4]
            yield Route(path, "old change", apps.get_model(app, model_name))
        else:
            yield Route(path, name or path, None)


def _walk(patterns: Iterable[Any], prefix: str) -> Iterator[tuple[str, str]]:
    for found in patterns:
        path = f"{prefix}{found.pattern}"
        if isinstance(found, URLResolver):
            yield from _walk(found.url_patterns, path)
        else:
            assert isinstance(found, URLPattern)
            yield path, found.name or ""


def _first_row(model: type[Model]) -> str:
    with everyone():
        key = model._default_manager.values_list("pk", flat=True).first()
    assert key is not None, f"the test has no row of {model.__name__}"
    return str(key).replace("_", "_5F")


ROUTES = list(routes())
