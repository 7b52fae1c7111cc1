"""Reading and accepting the risk disclosure."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts import disclosure
from accounts.api import DisclosureAcceptSerializer
from accounts.caller import caller_of
from accounts.models import User
from trading.console.account import on_page, said
from trading.console.answers import tenant_page
from trading.console.forms import Field, Form, Section
from trading.console.prose import as_html

_URL = "/account/disclosure"


@tenant_page("GET", "POST")
def risk_disclosure(request: HttpRequest, user: User) -> HttpResponse:
    """The current text; accepting names the version that was read."""

    def accept(values: dict[str, Any]) -> HttpResponse:
        serializer = DisclosureAcceptSerializer(data=values)
        serializer.is_valid(raise_exception=True)
        version = serializer.validated_data.get("version")
        try:
            disclosure.accept(user=user, version=version, caller=caller_of(request))
        except disclosure.DisclosureOutdated:
            messages.warning(request, "The text has changed meanwhile: please read it again.")
            return redirect(_URL)
        return said(request, "You have accepted the risk disclosure.")

    version = Field("version", "Version", "hidden", disclosure.current_version())
    form = Form("disclosure", _URL, "Risk disclosure", "I have read it and accept", [Section([version])])
    text = as_html(disclosure.current_text())
    show = on_page(
        request, "console/account/disclosure.html", text=text, version=version.value,
        acceptance=disclosure.acceptance(user),
    )  # fmt: skip
    return form.answer(request, accept, show)
