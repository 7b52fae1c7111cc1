"""Switching the second factor on and off. Secrets and codes are on the page that answers the post, and nowhere else."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts import second_factor, services
from accounts.api import OtpSerializer, PasswordSerializer
from accounts.caller import caller_of
from accounts.models import User
from trading.console.account import on_page, said
from trading.console.answers import tenant_page
from trading.console.door import password
from trading.console.forms import Field, Form, Section

_CONFIRM, _DISABLE = "/account/otp/confirm", "/account/otp/disable"
_ENROL_PAGE = "console/account/enrol.html"


def _confirm_form() -> Form:
    attributes = {"autocomplete": "one-time-code", "inputmode": "numeric", "maxlength": "10"}
    code = Field("otp", "Code", secret=True, attributes=attributes, help="The six digits that the app shows now.")
    return Form("confirm-otp", _CONFIRM, "Second factor", "Switch on", [Section([code])])


@tenant_page("POST")
def enrol(request: HttpRequest, user: User) -> HttpResponse:
    """A new secret for the app, to scan or to type."""
    enrolment = second_factor.enrol(user, caller_of(request))
    return render(request, _ENROL_PAGE, {"form": _confirm_form(), "enrolment": enrolment})


@tenant_page("GET", "POST")
def confirm(request: HttpRequest, user: User) -> HttpResponse:
    """Switches it on by the app's first code; answers the recovery codes, once."""

    def switch_on(values: dict[str, Any]) -> HttpResponse:
        serializer = OtpSerializer(data=values)
        serializer.is_valid(raise_exception=True)
        codes = second_factor.confirm(user, serializer.validated_data["otp"], caller_of(request))
        return render(request, "console/account/recovery_codes.html", {"codes": codes})

    return _confirm_form().answer(request, switch_on, on_page(request, _ENROL_PAGE))


@tenant_page("GET", "POST")
def disable(request: HttpRequest, user: User) -> HttpResponse:
    """Logging in takes the password only from then on."""

    def switch_off(values: dict[str, Any]) -> HttpResponse:
        serializer = PasswordSerializer(data=values)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data["password"]
        services.disable_otp(user=user, password=given, caller=caller_of(request))
        return said(request, "The second factor is off.")

    fields = [password("password", "Password", "current-password")]
    form = Form("disable-otp", _DISABLE, "Second factor", "Switch off", [Section(fields)], danger=True)
    return form.answer(request, switch_off, on_page(request, "console/account/disable_otp.html"))
