"""What each role may see and do (TEN-5). This table is the one place that says it, and tests are made from it.

Nothing in it gives anybody a secret: API secrets, passwords and codes are shown to nobody.
"""

from enum import StrEnum

from django.db.models import Q

from accounts.models import Role, User
from desproject.lib.errors import DomainError


class Thing(StrEnum):
    """What can be seen or done."""

    # Connections, strategies, orders, trades, positions, balances, risk: through the API and the console.
    TRADING_ROWS = "trading rows"
    AUDIT_LOG = "audit log"
    # Listing users, and creating them.
    USERS = "users"
    # The admin site (which shows trading rows to read), the system's kill switch.
    OPERATION = "operation"


class Reach(StrEnum):
    """Whose."""

    NOBODY = "nobody's"
    OWN = "one's own"
    TEAM = "one's own and those of one's team"
    ALL = "everybody's"


MAY: dict[Role, dict[Thing, Reach]] = {
    Role.TRADER: {
        Thing.TRADING_ROWS: Reach.OWN,
        Thing.AUDIT_LOG: Reach.OWN,
        Thing.USERS: Reach.NOBODY,
        Thing.OPERATION: Reach.NOBODY,
    },
    Role.MANAGER: {
        Thing.TRADING_ROWS: Reach.OWN,
        Thing.AUDIT_LOG: Reach.TEAM,
        Thing.USERS: Reach.TEAM,
        Thing.OPERATION: Reach.NOBODY,
    },
    Role.ADMINISTRATOR: {
        Thing.TRADING_ROWS: Reach.OWN,
        Thing.AUDIT_LOG: Reach.ALL,
        Thing.USERS: Reach.ALL,
        Thing.OPERATION: Reach.ALL,
    },
}


class NotAllowed(DomainError):
    """The caller's role doesn't allow this."""

    code = "FORBIDDEN"
    status = 403


def role_of(user: User) -> Role:
    """``is_admin`` makes the administrator, whatever else the row says; the role column alone doesn't."""
    if user.is_admin:
        return Role.ADMINISTRATOR
    return Role.MANAGER if user.role == Role.MANAGER else Role.TRADER


def reach(user: User, thing: Thing) -> Reach:
    """Whose things of this kind the user may see."""
    return MAY[role_of(user)][thing]


def reached(user: User, thing: Thing) -> Q:
    """The users whose things of this kind the user may see, as a filter of User."""
    whose = reach(user, thing)
    if whose == Reach.ALL:
        return Q()
    if whose == Reach.NOBODY:
        return Q(pk__in=[])
    own = Q(pk=user.pk)
    return own | Q(manager=user) if whose == Reach.TEAM else own


def require(user: User, thing: Thing) -> None:
    """Raises NotAllowed for who may see nobody's."""
    if reach(user, thing) == Reach.NOBODY:
        raise NotAllowed("your role doesn't allow this")
