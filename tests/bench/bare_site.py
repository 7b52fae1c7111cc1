"""The floor under HTTP: plain Django views under the same server, on the same rows; no middleware, no DRF, no tokens,
no serializers, one tenant. On PostgreSQL its rows are behind the wall: it asks as a system job does."""

import os
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.core.asgi import get_asgi_application
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.urls import path

settings.ROOT_URLCONF = __name__
# Before the application is made: it takes what is there then.
settings.MIDDLEWARE = []
application = get_asgi_application() if os.environ.get("BENCH_BARE_SITE") else None

from accounts.tenancy import everyone  # noqa: E402  # has a model: it can be imported only now

_PAGE = 50
_HASH = make_password("a password for the floor") if application else ""


def _rows(sql: str, params: list[Any]) -> list[dict[str, Any]]:
    with everyone(), connection.cursor() as cursor:
        cursor.execute(sql, params)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def orders(_request: HttpRequest) -> JsonResponse:
    """One page of the user's orders, newest first; there is one user."""
    sql = "SELECT * FROM orders WHERE user_id = (SELECT id FROM users LIMIT 1) ORDER BY created_at DESC LIMIT %s"
    return JsonResponse({"results": _rows(sql, [_PAGE])})


def login(_request: HttpRequest) -> JsonResponse:
    """One password checked, with DES's parameters."""
    return JsonResponse({"success": check_password("a password for the floor", _HASH)})


def nothing(_request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


urlpatterns = [path("orders", orders), path("login", login), path("nothing", nothing)]
