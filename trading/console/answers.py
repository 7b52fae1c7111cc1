"""How the console answers: parts of the page for htmx, whole pages for browsers without script, errors for people."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlencode

import structlog
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import never_cache
from rest_framework.exceptions import APIException

from accounts.models import User
from accounts.tenancy import tenant_scope
from desproject.lib.api import as_domain_error, error_body, refuse_large, require_storable
from desproject.lib.errors import DomainError

log = structlog.get_logger(__name__)

P = ParamSpec("P")
TenantPage = Callable[Concatenate[HttpRequest, User, P], HttpResponse]
Page = Callable[Concatenate[HttpRequest, P], HttpResponse]

# The page's live regions look again after this event.
CHANGED = "des-changed"


class NotLoggedIn(DomainError):
    """The session is over, or never was."""

    code = "UNAUTHENTICATED"
    status = 401


def is_htmx(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def part(request: HttpRequest, template: str, context: dict[str, Any] | None = None, status: int = 200) -> HttpResponse:
    """A part of the page as it is for htmx, inside a page of its own for everybody else."""
    shown = dict(context or {})
    if not is_htmx(request):
        shown["part"], template = template, "console/page.html"
    answer = render(request, template, shown, status=status)
    patch_vary_headers(answer, ["HX-Request"])
    return answer


def done(request: HttpRequest, text: str, *, good: bool = True) -> HttpResponse:
    """Says what was done, and makes the page look again."""
    if not is_htmx(request):
        return redirect("/")
    return changed(part(request, "console/parts/note.html", {"text": text, "good": good}))


def changed(answer: HttpResponse) -> HttpResponse:
    """Tells the page that something of the user's changed."""
    answer["HX-Trigger"] = CHANGED
    return answer


def refused(request: HttpRequest, error: DomainError) -> HttpResponse:
    """An error as a note; who would have to log in first is sent there from a page, and told so in a part of one."""
    if error.status == 401 and request.method == "GET" and not is_htmx(request):
        return redirect(f"/login?{urlencode({'next': request.get_full_path()})}")
    answer = part(request, "console/parts/note.html", {"text": sentence(error.message)}, status=error.status)
    if error.status == 401:
        answer["HX-Redirect"] = "/login?ended"
    return answer


def sentence(message: str) -> str:
    """A message of ours, which begins small, as a sentence of its own."""
    return message[:1].upper() + message[1:] + ("" if message.endswith((".", "?", "!")) else ".")


def tenant_page(*methods: str) -> Callable[[TenantPage[P]], Page[P]]:
    """A view for the logged-in user, inside their tenant scope and nobody else's; its errors become notes."""

    def wrap(view: TenantPage[P]) -> Page[P]:
        @never_cache
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if request.method not in methods:
                return HttpResponseNotAllowed(methods)
            try:
                refuse_large(request)
                require_storable(request.POST.dict())
                if not isinstance(request.user, User):
                    raise NotLoggedIn("you are not logged in")
                with tenant_scope(request.user.pk):
                    return view(request, request.user, *args, **kwargs)
            except (DomainError, APIException) as error:
                return refused(request, as_domain_error(error))

        return guarded

    return wrap


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's view for posts without this browser's token: mostly a page from before another log-in."""
    log.info("csrf_failed", path=request.path, reason=reason)
    text = "This page is from an earlier session: load it again, then try once more."
    error = DomainError(text, code="CSRF_FAILED")
    error.status = 403
    if request.path == "/console/token":
        return JsonResponse(error_body(error), status=403)
    return refused(request, error)
