"""Setting limits, at one level at a time."""

from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse

from accounts.models import User
from desproject.lib.money import plain
from risk import services
from risk.api import PolicySerializer
from risk.models import PolicyLevel, RiskPolicy
from risk.targets import target_of
from trading.console.answers import tenant_page
from trading.console.forms import Field, Form, Section, amount, optional, picked, whole
from trading.console.targets import chosen, level_and_id, target_choices, target_name

_URL = "/console/risk-policy"
_FORM, _LIMITS = "risk-policy", "risk-policy-limits"


def _form(target: str) -> Form:
    """The limits that the target has now."""
    rows = {chosen(row.level, row.target_id): row for row in RiskPolicy.objects.all()}
    row = rows.get(target)
    choice = Field(
        "target", "Limits of", "select", target, choices=target_choices(), attributes={
            "hx-get": _URL, "hx-trigger": "change", "hx-target": f"#{_FORM}", "hx-swap": "outerHTML",
        },
    )  # fmt: skip

    def money(name: str, label: str, help: str) -> Field:
        return amount(name, label, value=_shown(row, name), help=help, required=False, read=optional)

    def count(name: str, label: str, help: str, most: int, least: int = 0) -> Field:
        bounds = {"min": str(least), "max": str(most), "step": "1", "inputmode": "numeric"}
        return Field(
            name, label, "number", _shown(row, name), required=False, attributes=bounds, help=help,
            read=lambda text: optional(text) if text == "" else whole(text),
        )  # fmt: skip

    return Form(_FORM, _URL, "Risk limits", "Save limits", [
        Section([choice]),
        Section([
            money("max_order_size", "Largest order", "What one order may be worth."),
            money("max_position_size", "Largest position", "What may be held of one symbol."),
            money("max_exposure", "Largest exposure", "What all positions and open buy orders may be worth."),
            money("max_daily_loss", "Largest loss a day", "Past it nothing is entered until the next UTC day."),
            money(
                "max_drawdown", "Largest fall in a day",
                "When the day's result has fallen so far from its highest nothing is entered until the next UTC day.",
            ),
            count("max_daily_trades", "Trades a day", "Each open order counts as one, too.", 1_000_000),
            count("max_open_orders", "Open orders", "How many at once.", 100_000),
            count("max_orders_per_second", "Orders a second", "Those beyond it wait.", 10_000, least=1),
            count("max_leverage", "Leverage", "Of contracts, as it is set at the exchange.", 1000, least=1),
            money(
                "max_slippage", "Slippage of market orders",
                "By which part they may fill worse than the best price: 0.001 is 0.1 %.",
            ),
            money(
                "max_depth_share", "Share of the book",
                "Which part of the ten best levels a market order may take: 0.1 is 10 %.",
            ),
            money("max_market_btc", "Largest market order in BTC", "What one may be worth."),
            Field(
                "symbols", "Symbols", value=_shown(row, "symbols"), required=False, read=_listed,
                attributes={"autocapitalize": "characters", "autocomplete": "off", "spellcheck": "false"},
                help="The only ones that may be entered, with commas between them. Empty: any.",
            ),
        ], "Limits", _LIMITS, "In the quote asset. Empty: the next level decides, strategy before account before all."),
    ])  # fmt: skip


def _shown(row: RiskPolicy | None, name: str) -> str:
    value = getattr(row, name, None)
    if isinstance(value, list):
        return ", ".join(value)
    return plain(value) if isinstance(value, Decimal) else "" if value is None else str(value)


def _listed(text: str) -> Any:
    names = [name.strip() for name in text.split(",") if name.strip()]
    return names or optional("")


@tenant_page("GET", "POST")
def risk_policy(request: HttpRequest, user: User) -> HttpResponse:
    """The limits of one target, ``?target=``; saving sets all of them."""

    def save(values: dict[str, Any]) -> HttpResponse:
        serializer = PolicySerializer(data=level_and_id(values))
        serializer.is_valid(raise_exception=True)
        data = dict(serializer.validated_data)
        level = data.pop("level")
        target_id = target_of(user=user, level=level, target_id=data.pop("target_id"))
        services.set_policy(user=user, level=level, target_id=target_id, limits=data)
        name = target_name(level, target_id, target_choices())
        return _form(chosen(level, target_id)).again(request, f"Limits saved: {name}.")

    query = (request.POST if request.method == "POST" else request.GET).dict()
    known = [choice.value for choice in target_choices()]
    return _form(picked(query, "target", known, PolicyLevel.USER.value)).answer(request, save)
