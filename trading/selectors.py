"""Reads of the tenant's trading rows, inside the scope that the caller has opened."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from accounts.models import LoginAttempt, User
from connections.selectors import connection
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.errors import NotFound
from desproject.lib.money import ZERO
from trading.models import (
    ArbitrageFire,
    Balance,
    InstanceStatus,
    Order,
    Position,
    Reconciliation,
    Reservation,
    Signal,
    StrategyInstance,
    Trade,
)

_Key = tuple[UUID, str]


def orders() -> "QuerySet[Order]":
    return Order.objects.all()  # type: ignore[no-any-return]


def order(order_id: UUID) -> Order:
    """Raises NotFound."""
    return _one(Order.objects.filter(pk=order_id))  # type: ignore[no-any-return]


def instances() -> "QuerySet[StrategyInstance]":
    found = StrategyInstance.objects.filter(is_deleted=False)
    return found.select_related("connection", "connection_b")  # type: ignore[no-any-return]


def fires(instance: StrategyInstance) -> "QuerySet[ArbitrageFire]":
    """What an arbitrage did, with its orders."""
    found = ArbitrageFire.objects.filter(instance=instance)
    return found.prefetch_related("legs__order")  # type: ignore[no-any-return]


def instance(instance_id: UUID) -> StrategyInstance:
    """Raises NotFound."""
    return _one(instances().filter(pk=instance_id))  # type: ignore[no-any-return]


def sides(data: dict[str, Any]) -> dict[str, Any]:
    """The connections that an instance's values name. Raises NotFound."""
    named = {name: data[name] for name in ("connection", "connection_b") if data.get(name)}
    return {name: connection(connection_id) for name, connection_id in named.items()}


def signals() -> "QuerySet[Signal]":
    return Signal.objects.all()  # type: ignore[no-any-return]


def trades() -> "QuerySet[Trade]":
    return Trade.objects.all()  # type: ignore[no-any-return]


def positions() -> "QuerySet[Position]":
    return Position.objects.select_related("connection")  # type: ignore[no-any-return]


def balances() -> "QuerySet[Balance]":
    return Balance.objects.all()  # type: ignore[no-any-return]


def reconciliations() -> "QuerySet[Reconciliation]":
    return Reconciliation.objects.all()  # type: ignore[no-any-return]


def reserved() -> dict[_Key, Decimal]:
    """What open orders hold back, by connection and asset."""
    sums: dict[_Key, Decimal] = defaultdict(lambda: ZERO)
    rows = Reservation.objects.filter(released_at__isnull=True).values_list("connection_id", "asset", "remaining")
    for connection_id, asset, remaining in rows:
        sums[connection_id, asset] += remaining
    return dict(sums)


def user_with_counts(user: User) -> Any:
    """The user with ``instances``, ``running`` and ``logins`` (of the last 30 days), in one query."""
    own = StrategyInstance.objects.filter(user=OuterRef("pk"), is_deleted=False).order_by().values("user")
    since = SYSTEM_CLOCK.now() - timedelta(days=30)
    logins = LoginAttempt.objects.filter(user=OuterRef("pk"), success=True, created_at__gte=since)
    return User.objects.annotate(
        instances=_count(own.annotate(n=Count("pk"))),
        running=_count(own.annotate(n=Count("pk", filter=Q(status=InstanceStatus.RUNNING)))),
        logins=_count(logins.order_by().values("user").annotate(n=Count("pk"))),
    ).get(pk=user.pk)


def _count(rows: "QuerySet[Any, Any]") -> Coalesce:
    return Coalesce(Subquery(rows.values("n")), Value(0))


def _one(rows: Iterable[Any]) -> Any:
    for row in rows:
        return row
    raise NotFound("not found")
