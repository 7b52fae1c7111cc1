"""A new password for who forgot theirs: a code by mail, typed in here together with the password.

The mail holds a code and no link: no address with a secret in it reaches a history, a log or another site, and what
the mail says doesn't depend on the name by which this request reached the server.
"""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect

from accounts import password_reset
from accounts.api import PasswordResetConfirmSerializer, PasswordResetSerializer
from accounts.caller import caller_of
from trading.console.door import Door, answer, email, password
from trading.console.forms import Field, Form, Section

_ASK, _CONFIRM = "/password/reset", "/password/reset/confirm"


def _code() -> Field:
    attributes = {"autocomplete": "one-time-code", "spellcheck": "false", "autocapitalize": "none", "maxlength": "100"}
    return Field("token", "Code from the mail", secret=True, attributes=attributes)


@never_cache
@csrf_protect
def ask(request: HttpRequest) -> HttpResponse:
    """Has a code mailed. What is answered doesn't tell whether anybody has this e-mail."""
    form = Form("ask-reset", _ASK, "Forgot your password?", "Send a code", [Section([email()])])
    return answer(request, _ASKING, form)


@never_cache
@csrf_protect
def confirm(request: HttpRequest) -> HttpResponse:
    """Sets the new password; every session of the user ends."""
    fields = [_code(), password("new_password", "New password", "new-password", "At least ten characters.")]
    return answer(request, _CONFIRMING, Form("reset", _CONFIRM, "New password", "Set password", [Section(fields)]))


def _asked(request: HttpRequest, data: dict[str, Any]) -> HttpResponse:
    password_reset.request_reset(email=data["email"], caller=caller_of(request))
    minutes = settings.CONFIG.password_reset_minutes
    messages.success(
        request, f"If this e-mail is registered here, a code is on its way to it. It is valid for {minutes} minutes."
    )
    return redirect(_CONFIRM)


def _confirmed(request: HttpRequest, data: dict[str, Any]) -> HttpResponse:
    password_reset.confirm(token=data["token"], new=data["new_password"], caller=caller_of(request))
    messages.success(request, "Your password was changed. Log in with the new one.")
    return redirect("/login")


_ASKING = Door("console/reset.html", PasswordResetSerializer, _asked)
_CONFIRMING = Door("console/reset_confirm.html", PasswordResetConfirmSerializer, _confirmed)
