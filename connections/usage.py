"""Who still needs a connection: apps above this one register a check when they start."""

from collections.abc import Callable
from uuid import UUID

from desproject.lib.errors import Conflict

Check = Callable[[UUID], str]

_CHECKS: list[Check] = []


class ConnectionInUse(Conflict):
    """Something still works with the connection; the text says what."""

    code = "CONNECTION_IN_USE"


def register(check: Check) -> None:
    """Adds a check: given a connection's id, inside a tenant scope, it says who needs it; empty when nobody does."""
    _CHECKS.append(check)


def needed_by(connection_id: UUID) -> str:
    """Who needs a connection, inside a tenant scope; empty when nobody does."""
    return next(filter(None, (check(connection_id) for check in _CHECKS)), "")


def require_unused(connection_id: UUID) -> None:
    """Raises ConnectionInUse."""
    if user := needed_by(connection_id):
        raise ConnectionInUse(f"{user}: stop that first")
