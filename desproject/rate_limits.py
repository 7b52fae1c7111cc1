"""Counts requests before they cost anything, and answers those over a limit."""

import math
import re
from collections.abc import Callable
from uuid import UUID

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest, HttpResponse, JsonResponse

from accounts import tokens
from accounts.caller import caller_of
from accounts.rate_limits import RateLimited, check_request
from accounts.unreadable import SecretUnreadable
from desproject.lib.api import error_body
from trading.console.answers import refused

# What must work whatever happens, and what watches over it: method and path. All else is counted.
EXEMPT = re.compile(
    r"(GET|HEAD) /api/(health|health/ready|metrics|metrics/latency)"
    r"|POST /(api/)?logout"
    r"|DELETE /api/orders/[^/]+|POST /console/orders/[^/]+/cancel"
    r"|(GET|POST|DELETE) /api/kill-switch|(GET|POST) /console/kill-switch(/lift)?"
)


class RateLimitMiddleware:
    """Refuses requests over the limits of everybody and of the caller with 429. Wants sessions."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        what = f"{request.method} {request.path_info}"
        if not EXEMPT.fullmatch(what):
            try:
                check_request(_user_id(request), caller_of(request), what[:200])
            except RateLimited as error:
                return _answer(request, error)
        return self._get_response(request)


def _user_id(request: HttpRequest) -> UUID | None:
    """Who says so with a signature of ours; whether we still let them in is asked later, where it costs a query."""
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer":
        try:
            return tokens.read(token.strip(), "access").user_id
        except (tokens.TokenInvalid, SecretUnreadable):  # the view says what is wrong
            return None
    if settings.SESSION_COOKIE_NAME in request.COOKIES and (found := request.session.get(SESSION_KEY)):
        return UUID(found)
    return None


def _answer(request: HttpRequest, error: RateLimited) -> HttpResponse:
    wants_json = request.path.startswith("/api/") or request.path == "/console/token"
    answer = JsonResponse(error_body(error), status=error.status) if wants_json else refused(request, error)
    answer["Retry-After"] = str(math.ceil(error.retry_after or 0))
    return answer
