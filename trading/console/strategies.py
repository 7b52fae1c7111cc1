"""Making, changing, starting and stopping strategy instances. The fields come from the strategies' own schemas."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse

from accounts.models import User
from connections.selectors import connections
from trading import selectors, services
from trading.bars import TIMEFRAMES
from trading.console.answers import done, tenant_page
from trading.console.forms import Choice, Field, Form, Section, ask, picked
from trading.console.schema_fields import fields_of, variants
from trading.exits import exits_schema
from trading.models import InstanceMode, StrategyInstance
from trading.serializers import InstanceChangesSerializer, NewInstanceSerializer
from trading.sizing import sizing_schema
from trading.strategies import bar_strategies, params_schema, strategies, strategy, takes_pair

_NEW = "/console/strategies/new"
_SYMBOL = {
    "maxlength": "32", "autocapitalize": "characters", "autocomplete": "off", "spellcheck": "false",
}  # fmt: skip


def _redraws(url: str, section: str) -> dict[str, str]:
    """A choice that draws a section of its form anew."""
    return {
        "hx-get": url, "hx-trigger": "change", "hx-select": f"#{section}", "hx-target": f"#{section}",
        "hx-swap": "outerHTML",
    }


def _binding(row: StrategyInstance | None, query: Mapping[str, str]) -> list[Field]:
    """What an instance trades on; a link may say what a new one starts with."""
    accounts = _accounts()
    frames = [Choice(name, name) for name in TIMEFRAMES]
    return [
        Field("name", "Name", value=row.name if row else "", attributes={"maxlength": "80", "autocomplete": "off"}),
        Field(
            "connection", "Connection", "select", str(row.connection_id) if row else query.get("connection", ""),
            choices=accounts, help="" if accounts else "Bind an exchange account first.",
        ),
        Field(
            "symbol", "Symbol", value=row.symbol if row else query.get("symbol") or "BTC/USDT", attributes=_SYMBOL,
        ),
        Field("timeframe", "Timeframe", "select", row.timeframe if row else "1m", choices=frames),
        Field(
            "mode", "Mode", "select", row.mode if row else InstanceMode.LIVE,
            choices=[Choice(mode.value, mode.label) for mode in InstanceMode],
            help="On paper it trades at the exchange's prices with money that isn't there.",
        ),
    ]  # fmt: skip


def _accounts() -> list[Choice]:
    return [Choice(str(each.pk), each.name) for each in connections()]


def _params(slug: str, form_id: str, row: StrategyInstance | None = None) -> Section:
    """An arbitrage's second side stands here: this is what is drawn anew when another strategy is chosen."""
    kind = strategy(slug)
    fields = fields_of(params_schema(slug), "params", row.params if row else None)
    if takes_pair(slug):
        chosen = str(row.connection_b_id or "") if row else ""
        fields.insert(0, Field(
            "connection_b", "Second connection", "select", chosen, choices=_accounts(),
            help="Bought on the one, sold on the other.", read=lambda text: text or None,
        ))  # fmt: skip
    return Section(fields, f"{kind.title}: parameters", f"{form_id}-params", kind.summary)


def _sizing(form_id: str, url: str, chosen: str, values: Mapping[str, Any] | None = None) -> Section:
    known = variants(sizing_schema())
    section = f"{form_id}-sizing"
    choices = [Choice(value, str(member.get("description") or value)) for value, member in known.items()]
    kind = Field(
        "sizing.type", "Size of an entry", "select", chosen, choices=choices, attributes=_redraws(url, section)
    )
    return Section([kind, *fields_of(known[chosen], "sizing", values)], "Size", section)


def _exits(form_id: str, values: Mapping[str, Any] | None = None) -> Section:
    summary = "What is left empty doesn't hold."
    return Section(fields_of(exits_schema(), "exits", values), "Stops and times", f"{form_id}-exits", summary)


def _sizing_type(query: Mapping[str, str], default: str) -> str:
    known = variants(sizing_schema())
    return picked(query, "sizing.type", known, default if default in known else next(iter(known)))


def _new_form(query: Mapping[str, str]) -> Form:
    """``strategy`` and ``sizing.type`` say which parameters to ask for."""
    form_id = "new-strategy"
    slug = picked(query, "strategy", strategies(), next(iter(bar_strategies())))
    kinds = [Choice(each, kind.title) for each, kind in strategies().items()]
    redraws = _redraws(_NEW, f"{form_id}-params")
    choice = Field("strategy", "Strategy", "select", slug, choices=kinds, attributes=redraws)
    name, *rest = _binding(None, query)
    return Form(form_id, _NEW, "New strategy", "Create", [
        Section([name, choice, *rest]), _params(slug, form_id),
        _sizing(form_id, _NEW, _sizing_type(query, "quote_amount")), _exits(form_id),
    ])  # fmt: skip


@tenant_page("GET", "POST")
def new_strategy(request: HttpRequest, user: User) -> HttpResponse:
    """The form of a new instance; ``?strategy=<slug>`` asks for that strategy's parameters."""

    def create(values: dict[str, Any]) -> HttpResponse:
        serializer = NewInstanceSerializer(data=values)
        serializer.is_valid(raise_exception=True)
        data = dict(serializer.validated_data)
        data |= selectors.sides(data)
        row = services.create_instance(user=user, **data)
        return done(request, f"{row.name} is there. It trades once it is started.")

    query = request.POST if request.method == "POST" else request.GET
    return _new_form(query.dict()).answer(request, create)


@tenant_page("GET", "POST")
def edit_strategy(request: HttpRequest, user: User, instance_id: UUID) -> HttpResponse:
    """The form of an instance's values; its strategy stays what it is."""
    row = selectors.instance(instance_id)
    url, form_id = f"/console/strategies/{row.pk}/edit", "edit-strategy"
    query = (request.POST if request.method == "POST" else request.GET).dict()
    sizing_type = _sizing_type(query, row.sizing.get("type", ""))
    form = Form(form_id, url, f"Change {row.name}", "Save", [
        Section(_binding(row, {})), _params(row.strategy, form_id, row),
        _sizing(form_id, url, sizing_type, row.sizing), _exits(form_id, row.exits),
    ])  # fmt: skip

    def change(values: dict[str, Any]) -> HttpResponse:
        serializer = InstanceChangesSerializer(data=values, partial=True)
        serializer.is_valid(raise_exception=True)
        data = dict(serializer.validated_data)
        data |= selectors.sides(data)
        changed = services.update_instance(user=user, instance=row, **data)
        return done(request, f"{changed.name} was changed.")

    return form.answer(request, change)


@tenant_page("POST")
def start_strategy(request: HttpRequest, user: User, instance_id: UUID) -> HttpResponse:
    row = services.start_instance(user=user, instance=selectors.instance(instance_id))
    return done(request, f"{row.name} was started.")


@tenant_page("POST")
def pause_strategy(request: HttpRequest, user: User, instance_id: UUID) -> HttpResponse:
    row = services.pause_instance(user=user, instance=selectors.instance(instance_id))
    return done(request, f"{row.name} is paused.")


@tenant_page("POST")
def stop_strategy(request: HttpRequest, user: User, instance_id: UUID) -> HttpResponse:
    row = services.stop_instance(user=user, instance=selectors.instance(instance_id))
    return done(request, f"{row.name} was stopped.")


@tenant_page("GET", "POST")
def delete_strategy(request: HttpRequest, user: User, instance_id: UUID) -> HttpResponse:
    """Asks, then takes an instance away."""
    row = selectors.instance(instance_id)

    def delete() -> HttpResponse:
        services.delete_instance(user=user, instance=row)
        return done(request, f"{row.name} was deleted.")

    url = f"/console/strategies/{row.pk}/delete"
    return ask(request, url, f"Delete {row.name}? Its orders and trades stay.", "Delete", delete)
