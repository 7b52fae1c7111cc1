"""What a limit or a kill switch is for, as one choice of a form: ``user``, ``connection:<id>``, ``strategy:<id>``."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from connections.selectors import connections
from risk.models import KillLevel
from trading.console.forms import Choice
from trading.selectors import instances

SYSTEM = Choice(KillLevel.SYSTEM.value, "The whole system: every user")
_OF_ONE_USER = {KillLevel.USER.value, KillLevel.SYSTEM.value}


def target_choices() -> list[Choice]:
    """Everything of the user's that limits and switches can be for."""
    return [
        Choice(KillLevel.USER.value, "All my trading"),
        *(Choice(chosen(KillLevel.CONNECTION, row.pk), row.name, "One connection") for row in connections()),
        *(Choice(chosen(KillLevel.STRATEGY, row.pk), row.name, "One strategy") for row in instances()),
    ]


def chosen(level: str, target_id: UUID) -> str:
    """The choice that stands for a row's target."""
    return str(level) if level in _OF_ONE_USER else f"{level}:{target_id}"


def level_and_id(values: dict[str, Any]) -> dict[str, Any]:
    """The values with the API's ``level`` and ``id`` in the place of the choice."""
    level, _, target_id = str(values.pop("target", "")).partition(":")
    return {**values, "level": level, "id": target_id or None}


def target_name(level: str, target_id: UUID, choices: Sequence[Choice]) -> str:
    """What people call the target of a row."""
    known = {choice.value: choice.label for choice in [*choices, SYSTEM]}
    return known.get(chosen(level, target_id), f"A {level} that is gone")
