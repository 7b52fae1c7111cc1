"""What a policy or a kill switch is for: a user, a connection, a strategy instance.

Strategy instances belong to an app above this one: it registers how to find one when it starts.
"""

from collections.abc import Callable
from uuid import UUID

from accounts.models import User
from connections.models import Connection
from desproject.lib.errors import InvalidInput, NotFound
from risk.models import KillLevel

Exists = Callable[[UUID], bool]

_EXISTS: dict[str, Exists] = {
    KillLevel.CONNECTION: lambda target: Connection.objects.filter(pk=target, is_deleted=False).exists(),
}


def register(level: str, exists: Exists) -> None:
    """Tells how to find out, inside a tenant scope, whether the tenant has such a target."""
    _EXISTS[level] = exists


def target_of(*, user: User, level: str, target_id: UUID | None) -> UUID:
    """The id that rows of this level carry. Raises NotFound unless it is the user's own, InvalidInput without one."""
    if level in {KillLevel.USER, KillLevel.SYSTEM}:
        if target_id not in {None, user.pk}:
            raise NotFound("not found")
        return user.pk
    if target_id is None:
        raise InvalidInput("which one?", fields={"id": [f"The id of the {level} is needed."]})
    if not _EXISTS[level](target_id):
        raise NotFound("not found")
    return target_id
