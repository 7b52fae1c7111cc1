"""Pressing and lifting kill switches. Every answer is the whole panel: what is stopped, and what more can be."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse

from accounts.models import User
from risk import selectors, services
from risk.api import LiftSerializer, PressSerializer
from risk.models import KillLevel, KillSwitch
from risk.targets import target_of
from trading.console.answers import changed, part, tenant_page
from trading.console.forms import Choice, Field, Form, Section
from trading.console.targets import SYSTEM, chosen, level_and_id, target_choices, target_name

_PANEL = "#kill-switch"
_REASON = {"maxlength": "500", "autocomplete": "off"}


@dataclass(frozen=True, slots=True)
class Held:
    """A target that is stopped now, why, and the form that lets it go on where the user may."""

    target: str
    switches: list[KillSwitch]
    lift: Form | None


def _press_form(user: User) -> Form:
    choices = [*target_choices(), *([SYSTEM] if user.is_admin else [])]
    return Form("press-kill-switch", "/console/kill-switch", "Kill switch", "Stop trading", [Section([
        Field("target", "What to stop", "select", KillLevel.USER.value, choices=choices),
        Field("reason", "Reason", attributes=_REASON),
        Field(
            "flatten", "Also sell what is held", "checkbox", required=False,
            help="Open orders are cancelled in any case; what is held is sold by market orders.",
        ),
    ])], danger=True, target=_PANEL)  # fmt: skip


def _lift_form(target: str) -> Form:
    title = "Lift the kill switch"
    return Form(f"lift-{target.replace(':', '-')}", "/console/kill-switch/lift", title, "Let it trade again", [Section([
        Field("target", "", "hidden", target),
        Field("reason", "Why it may go on", attributes=_REASON),
    ])], target=_PANEL)  # fmt: skip


def _held(user: User, choices: list[Choice]) -> list[Held]:
    by_target: dict[str, list[KillSwitch]] = {}
    for switch in selectors.active_switches():
        by_target.setdefault(chosen(switch.level, switch.target_id), []).append(switch)
    return [
        Held(
            target_name(found[0].level, found[0].target_id, choices), found,
            _lift_form(target) if found[0].level != KillLevel.SYSTEM or user.is_admin else None,
        )
        for target, found in by_target.items()
    ]


def _panel(
    request: HttpRequest, user: User, shown: Form | None = None, status: int = 200, note: str = ""
) -> HttpResponse:
    """The panel; ``shown`` takes the place of the form of its id."""
    held = _held(user, target_choices())
    if shown is not None:
        held = [Held(each.target, each.switches, _either(each.lift, shown)) for each in held]
    context = {"held": held, "press": _either(_press_form(user), shown), "note": note}
    return part(request, "console/parts/kill_switch.html", context, status)


def _either(form: Form | None, shown: Form | None) -> Form | None:
    return shown if form is not None and shown is not None and form.id == shown.id else form


@tenant_page("GET", "POST")
def kill_switch(request: HttpRequest, user: User) -> HttpResponse:
    """What is stopped now, and the form that stops more."""

    def press(values: dict[str, Any]) -> HttpResponse:
        serializer = PressSerializer(data=level_and_id(values))
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        switch = services.press_kill_switch(
            user=user, level=data["level"], reason=data["reason"], flatten=data["flatten"],
            target_id=target_of(user=user, level=data["level"], target_id=data["id"]),
        )
        name = target_name(switch.level, switch.target_id, target_choices())
        return changed(_panel(request, user, note=f"Stopped: {name}."))

    return _press_form(user).answer(request, press, lambda form, status: _panel(request, user, form, status))


@tenant_page("POST")
def lift_kill_switch(request: HttpRequest, user: User) -> HttpResponse:
    """Lets a target trade again: lifts every switch that holds for it."""

    def lift(values: dict[str, Any]) -> HttpResponse:
        serializer = LiftSerializer(data=level_and_id(values))
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        target_id = target_of(user=user, level=data["level"], target_id=data["id"])
        services.lift_all(user=user, level=data["level"], target_id=target_id, reason=data["reason"])
        name = target_name(data["level"], target_id, target_choices())
        return changed(_panel(request, user, note=f"Lifted: {name}."))

    form = _lift_form(request.POST.get("target", ""))
    return form.answer(request, lift, lambda form, status: _panel(request, user, form, status))
