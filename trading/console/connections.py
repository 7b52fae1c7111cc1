"""Binding, testing and removing exchange accounts."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts.models import User
from connections import selectors, services
from connections.api import NewConnectionSerializer
from connections.exchanges import venues
from connections.gateways import Credentials
from connections.models import ConnectionStatus, Mode
from trading.console.answers import changed, done, part, tenant_page
from trading.console.forms import Choice, Field, Form, Section, ask
from trading.leak_api import NewKeySerializer
from trading.leak_drill import answer_leak

_KEY = {"maxlength": "200", "autocomplete": "off", "spellcheck": "false"}


def _modes() -> list[Choice]:
    """What some exchange offers on this installation; which one it is, is told when it is bound."""
    offered = {mode for venue in venues().values() for mode in venue.modes}
    if not settings.CONFIG.simulator_url:
        offered.discard(Mode.SIMULATOR)
    return [Choice(mode.value, mode.label) for mode in Mode if mode in offered]


def _form() -> Form:
    exchanges = [Choice(slug, slug.replace("_", " ").capitalize()) for slug in venues()]
    modes = _modes()
    first = next((mode.value for mode in modes if mode.value != Mode.LIVE), Mode.LIVE.value)
    return Form("new-connection", "/console/connections/new", "Bind an exchange account", "Test and save", [Section([
        Field("name", "Name", attributes={"maxlength": "80", "autocomplete": "off"}),
        Field("exchange", "Exchange", "select", next(iter(venues())), choices=exchanges),
        Field("mode", "Mode", "select", first, choices=modes),
        Field(
            "api_key", "API key", secret=True, attributes=_KEY,
            help="May read and trade, and not withdraw: DES refuses a key that can.",
        ),
        Field(
            "api_secret", "API secret", "password", secret=True, attributes={"maxlength": "500", "autocomplete": "off"},
            help="Stored sealed, and never shown again.",
        ),
    ])])  # fmt: skip


@tenant_page("GET", "POST")
def new_connection(request: HttpRequest, user: User) -> HttpResponse:
    """Binds an account; its key is tried at the exchange first."""

    def bind(values: dict[str, Any]) -> HttpResponse:
        serializer = NewConnectionSerializer(data=values)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        row = services.create_connection(
            user=user, name=data["name"], exchange=data["exchange"], mode=data["mode"],
            credentials=Credentials(data["api_key"], data["api_secret"]),
        )
        return done(request, f"{row.name} is bound: its key works. {row.key_hint}".rstrip())

    return _form().answer(request, bind)


@tenant_page("POST")
def test_connection(request: HttpRequest, user: User, connection_id: UUID) -> HttpResponse:
    """Asks the exchange again what the key may do."""
    row = services.test_connection(user=user, connection=selectors.connection(connection_id))
    if row.status == ConnectionStatus.OK:
        return done(request, f"{row.name}: its key works. {row.key_hint}".rstrip())
    return done(request, f"{row.name}: {row.status_reason}", good=False)


@tenant_page("GET", "POST")
def leaked_key(request: HttpRequest, user: User, connection_id: UUID) -> HttpResponse:
    """Stops everything that a leaked key can do, and shows what was traded with it."""
    row = selectors.connection(connection_id)

    def stop(values: dict[str, Any]) -> HttpResponse:
        serializer = NewKeySerializer(data={name: value for name, value in values.items() if value})
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        new_key = Credentials(data["api_key"], data["api_secret"]) if "api_key" in data else None
        leak = answer_leak(user=user, connection=row, new_key=new_key)
        return changed(part(request, "console/parts/leaked.html", {"leak": leak}))

    url = f"/console/connections/{row.pk}/leaked"
    return Form("leaked-key", url, f"The key of {row.name} leaked", "Disable it and cancel its orders", [Section([
        Field("api_key", "New API key", secret=True, required=False, attributes=_KEY, help="May also come later."),
        Field(
            "api_secret", "New API secret", "password", secret=True, required=False,
            attributes={"maxlength": "500", "autocomplete": "off"},
        ),
    ])], danger=True).answer(request, stop)  # fmt: skip


@tenant_page("GET", "POST")
def delete_connection(request: HttpRequest, user: User, connection_id: UUID) -> HttpResponse:
    """Asks, then takes an account away."""
    row = selectors.connection(connection_id)

    def delete() -> HttpResponse:
        services.delete_connection(user=user, connection=row)
        return done(request, f"{row.name} was removed, and its key destroyed.")

    url = f"/console/connections/{row.pk}/delete"
    return ask(request, url, f"Remove {row.name}? Its key is destroyed; orders and trades stay.", "Remove", delete)
