"""Registering, logging in and out in the browser, and the access token that an open page works with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from rest_framework.exceptions import APIException
from rest_framework.serializers import Serializer

from accounts import browser_sessions, gate, services
from accounts.api import LoginSerializer, RegisterSerializer
from accounts.caller import caller_of
from accounts.models import User
from desproject.lib.api import as_domain_error, error_body, refuse_large, require_storable
from desproject.lib.errors import DomainError
from trading.console.answers import NotLoggedIn
from trading.console.forms import Field, Form, Section


@dataclass(frozen=True, slots=True)
class Door:
    """A page for who isn't logged in: what it takes, and what it does with that."""

    template: str
    serializer: type[Serializer[Any]]
    act: Callable[[HttpRequest, dict[str, Any]], HttpResponse]


def _log_in_form(*, with_code: bool) -> Form:
    code = Field(
        "otp", "Code", secret=True, help="From your authenticator, or one of your recovery codes.",
        attributes={"autocomplete": "one-time-code", "maxlength": "64"},
    )
    fields = [email(), password("password", "Password", "current-password"), *([code] if with_code else [])]
    return Form("log-in", "/login", "Log in", "Log in", [Section(fields)])


def _register_form() -> Form:
    code = Field(
        "beta_code", "Invitation code", help="Only people with a code can register here.",
        attributes={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false", "maxlength": "40"},
    )
    invited = [code] if settings.CONFIG.beta_codes_required else []
    fields = [*invited, email(), password("password", "Password", "new-password")]
    return Form("register", "/register", "Register", "Register", [Section(fields)])


def email() -> Field:
    return Field("email", "E-mail", "email", attributes={"autocomplete": "username", "maxlength": "254"})


def password(name: str, label: str, kind: str, help: str = "") -> Field:
    """``kind``: ``current-password`` or ``new-password``, for the browser's store of passwords."""
    attributes = {"autocomplete": kind, "maxlength": "128"}
    return Field(name, label, "password", secret=True, attributes=attributes, help=help)


@never_cache
@csrf_protect
def log_in(request: HttpRequest) -> HttpResponse:
    """The page that everybody enters by."""
    asked = "otp" in request.GET or "otp" in request.POST
    return _already_in(request) or answer(request, _LOG_IN, _log_in_form(with_code=asked))


@never_cache
@csrf_protect
def register(request: HttpRequest) -> HttpResponse:
    """Creates a user, who is logged in then."""
    return _already_in(request) or answer(request, _REGISTER, _register_form())


def _logged_in(request: HttpRequest, data: dict[str, Any]) -> HttpResponse:
    session = services.log_in(
        email=data["email"], password=data["password"], otp=data.get("otp", ""),
        device_name=browser_sessions.new_device_name(), caller=caller_of(request),
    )
    return _enter(request, session)


def _registered(request: HttpRequest, data: dict[str, Any]) -> HttpResponse:
    session = services.register(
        email=data["email"], password=data["password"], beta_code=data.get("beta_code", ""),
        device_name=browser_sessions.new_device_name(), caller=caller_of(request),
    )
    return _enter(request, session)


_LOG_IN = Door("console/login.html", LoginSerializer, _logged_in)
_REGISTER = Door("console/register.html", RegisterSerializer, _registered)


def _already_in(request: HttpRequest) -> HttpResponse | None:
    return redirect("/") if request.method in {"GET", "HEAD"} and request.user.is_authenticated else None


def _enter(request: HttpRequest, session: services.Session) -> HttpResponse:
    browser_sessions.begin(request, session)
    return redirect(_next(request.POST.get("next")))


def answer(request: HttpRequest, door: Door, form: Form) -> HttpResponse:
    """Shows the door's form, or acts on what was posted; refused, it comes back and says why."""
    if request.method not in {"GET", "HEAD", "POST"}:
        return HttpResponseNotAllowed(["GET", "POST"])
    if request.method != "POST":
        return render(request, door.template, {"form": form, "next": _next(request.GET.get("next"))})
    try:
        refuse_large(request)
        posted = request.POST.dict()
        require_storable(posted)
        serializer = door.serializer(data=form.values(posted))
        serializer.is_valid(raise_exception=True)
        return door.act(request, serializer.validated_data)
    except gate.OtpRequired as error:
        return _sent_back(request, door, _log_in_form(with_code=True), error)
    except (DomainError, APIException) as error:
        return _sent_back(request, door, form, as_domain_error(error))


def _sent_back(request: HttpRequest, door: Door, form: Form, error: DomainError) -> HttpResponse:
    shown = form.refused(request.POST.dict(), error)
    context = {"form": shown, "next": _next(request.POST.get("next"))}
    page = render(request, door.template, context, status=error.status)
    if error.retry_after is not None:
        page["Retry-After"] = str(int(error.retry_after) + 1)
    return page


def _next(wanted: str | None) -> str:
    """Where to go after the log-in: a path of this site, or the desk."""
    if wanted and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None):
        return wanted
    return "/"


@never_cache
def log_out(request: HttpRequest) -> HttpResponse:
    """Ends the browser's session and its device."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    browser_sessions.end(request)
    return redirect("/login")


@never_cache
def token(request: HttpRequest) -> HttpResponse:
    """A short-lived access token for the open page, which keeps it in memory only."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        if not isinstance(request.user, User):
            raise NotLoggedIn("you are not logged in")
        value, ends = browser_sessions.access_token(request, request.user)
    except DomainError as error:
        return JsonResponse(error_body(error), status=error.status)
    return JsonResponse({"token": value, "expires_at": ends.isoformat()})
