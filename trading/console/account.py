"""The user's own account: an overview, the password, and the devices that are logged in."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts import browser_sessions, deletion, disclosure, services
from accounts.api import PasswordChangeSerializer, PasswordSerializer
from accounts.caller import caller_of
from accounts.models import Device, User
from trading.console.answers import tenant_page
from trading.console.door import password
from trading.console.forms import Form, Section, Show

OVERVIEW = "/account"
_PASSWORD = "/account/password"  # noqa: S105  # a path
_DELETE = "/account/delete"
# The API lists the rest.
_MOST_DEVICES = 50


def on_page(request: HttpRequest, template: str, **context: Any) -> Show:
    """Shows a form inside a page of its own."""
    return lambda form, status: render(request, template, {"form": form, **context}, status=status)


def said(request: HttpRequest, text: str) -> HttpResponse:
    """Back to the overview, which says what was done."""
    messages.success(request, text)
    return redirect(OVERVIEW)


@tenant_page("GET")
def overview(request: HttpRequest, user: User) -> HttpResponse:
    """What the account's settings are now, each with the way to change it."""
    found = services.devices(user).order_by("-last_used_at", "-pk")[: _MOST_DEVICES + 1]
    shown = [_shown(device, browser_sessions.device_id(request)) for device in found]
    context = {
        "devices": shown[:_MOST_DEVICES], "more_devices": len(shown) > _MOST_DEVICES,
        "disclosure_version": disclosure.current_version(), "acceptance": disclosure.acceptance(user),
        "recovery_codes_left": user.recovery_codes.filter(used_at__isnull=True).count() if user.otp_verified else 0,
    }
    return render(request, "console/account/overview.html", context)


def _shown(device: Device, current: UUID | None) -> dict[str, Any]:
    name = "Browser" if browser_sessions.is_browser(device) else device.name
    return {"row": device, "name": name, "current": device.pk == current}


@tenant_page("GET", "POST")
def change_password(request: HttpRequest, user: User) -> HttpResponse:
    """Every session ends with the old password, this one too: the new one is tried out at once by logging in."""

    def change(values: dict[str, Any]) -> HttpResponse:
        serializer = PasswordChangeSerializer(data=values)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        services.change_password(
            user=user, current=data["current_password"], new=data["new_password"], caller=caller_of(request)
        )
        browser_sessions.end(request)
        messages.success(request, "Your password was changed. Log in with the new one.")
        return redirect("/login")

    fields = [
        password("current_password", "Present password", "current-password"),
        password("new_password", "New password", "new-password", "At least ten characters."),
    ]
    form = Form("change-password", _PASSWORD, "Change password", "Change password", [Section(fields)])
    return form.answer(request, change, on_page(request, "console/account/password.html"))


@tenant_page("GET", "POST")
def delete_account(request: HttpRequest, user: User) -> HttpResponse:
    """Ends everything of the user, by their password."""

    def delete(values: dict[str, Any]) -> HttpResponse:
        serializer = PasswordSerializer(data=values)
        serializer.is_valid(raise_exception=True)
        deletion.delete_own(user=user, password=serializer.validated_data["password"], caller=caller_of(request))
        browser_sessions.end(request)
        messages.success(request, "Your account was deleted.")
        return redirect("/login")

    fields = [password("password", "Password", "current-password")]
    form = Form("delete-account", _DELETE, "Delete account", "Delete for good", [Section(fields)], danger=True)
    return form.answer(request, delete, on_page(request, "console/account/delete.html"))


@tenant_page("POST")
def revoke_device(request: HttpRequest, user: User, device_id: UUID) -> HttpResponse:
    """Logs one device out."""
    services.revoke_device(user=user, device_id=device_id, caller=caller_of(request))
    return said(request, "The device was logged out.")
