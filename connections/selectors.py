"""Reads of the tenant's connections, inside the scope that the caller has opened."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from connections.models import Connection
from desproject.lib.errors import NotFound


def connections() -> "QuerySet[Connection]":
    """Those that weren't deleted."""
    return Connection.objects.filter(is_deleted=False)  # type: ignore[no-any-return]


def connection(connection_id: UUID) -> Connection:
    """Raises NotFound, also for somebody else's."""
    row: Any = connections().filter(pk=connection_id).first()
    if row is None:
        raise NotFound("no such connection")
    return row  # type: ignore[no-any-return]
