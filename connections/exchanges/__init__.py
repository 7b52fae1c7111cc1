"""The exchanges that DES can trade on: one folder a venue, found by its slug."""

import sys
from functools import cache

from connections.exchanges.contract import Venue
from desproject.lib.errors import InvalidInput
from desproject.lib.plugins import discover

__all__ = ["Venue", "venue", "venues"]


@cache
def venues() -> dict[str, Venue]:
    """Every venue by slug."""
    return discover(sys.modules[__name__], "VENUE")


def venue(slug: str) -> Venue:
    """The venue of a slug. Raises InvalidInput."""
    found = venues().get(slug)
    if found is None:
        raise InvalidInput(
            "unknown exchange", fields={"exchange": [f"must be one of {', '.join(venues())}"]}
        )
    return found
