"""What a client's message asks of a socket: it replaces whatever the one before asked."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import msgspec

from connections.simulator.krw.errors import ApiError
from connections.simulator.krw.frames import FORMATS


@dataclass(frozen=True, slots=True)
class Wanted:
    """Markets by type (none named: all), and how frames look."""

    markets: dict[str, tuple[str, ...]]
    only_new: frozenset[str]
    short: bool


def read(
    text: str, types: Collection[str], markets: Collection[str], *, codes_needed: bool, only_new: str
) -> Wanted:
    """Raises ApiError for what the server doesn't take."""
    try:
        parts = msgspec.json.decode(text, type=list[dict[str, Any]])
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise ApiError("WRONG_FORMAT", "Format is wrong.") from None
    if not any("ticket" in part for part in parts):
        raise ApiError("NO_TICKET", "The ticket is missing.")
    asked = [part for part in parts if "type" in part]
    if not asked:
        raise ApiError("NO_TYPE", "The type is missing.")
    found: dict[str, tuple[str, ...]] = {}
    for part in asked:
        if part["type"] not in types:
            raise ApiError("INVALID_PARAM", "The type is not served here.")
        codes = part.get("codes", [])
        if codes_needed and not codes:
            raise ApiError("NO_CODES", "The codes are missing.")
        found[part["type"]] = tuple(str(code) for code in codes if code in markets)
    chosen = next((part["format"] for part in parts if "format" in part), "DEFAULT")
    if chosen not in FORMATS:
        raise ApiError("INVALID_PARAM", "The format is not served here.")
    return Wanted(found, frozenset(part["type"] for part in asked if part.get(only_new) is True), chosen == "SIMPLE")
