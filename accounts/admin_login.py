"""The admin site's log-in page: through the same gate as the API, with the second factor."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from unfold.forms import BASE_INPUT_CLASSES, AuthenticationForm

from accounts import gate
from accounts.caller import caller_of
from desproject.lib.errors import DomainError

LOG_IN = "/admin/login/"


def log_in(request: HttpRequest) -> HttpResponse:
    """The log-in page. An open page whose refreshing ended up here, since its session is over, is led to it."""
    if request.headers.get("HX-Request") != "true":
        return admin.site.login(request)
    answer = HttpResponse()
    answer["HX-Redirect"] = f"{LOG_IN}?{urlencode({'next': request.GET.get('next', '/admin/'), 'ended': ''})}"
    return answer


class AdminLoginForm(AuthenticationForm):  # type: ignore[misc]  # unfold ships no types
    """E-mail, password and, for who has one, the second factor's code."""

    otp = forms.CharField(
        label="Code of your authenticator app, if you use one", max_length=40, required=False,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "class": " ".join(BASE_INPUT_CLASSES)}),
    )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = self.cleaned_data
        if data.get("username") and data.get("password"):
            self.user_cache = self._accepted(data)
            self.confirm_login_allowed(self.user_cache)
        return data

    def _accepted(self, data: dict[str, Any]) -> Any:
        try:
            return gate.check_credentials(
                email=data["username"], password=data["password"], otp=data.get("otp", ""),
                caller=caller_of(self.request),
            )
        except gate.BadCredentials:
            raise self.get_invalid_login_error() from None
        except DomainError as error:
            raise ValidationError(error.message, code=error.code) from None
