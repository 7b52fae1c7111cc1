"""The equity line: points that the engines wrote, put together for a chart; and how long they are kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count

from accounts.tenancy import everyone
from connections.models import Mode
from desproject.lib.clock import SYSTEM_CLOCK, Clock, to_millis
from desproject.lib.money import ZERO, exact, plain
from trading.models import EquityPoint

MOST_POINTS = 500
# Each minute for so long, then the first point of each hour.
MINUTES_KEPT = timedelta(days=30)
_LOOK_BACK = timedelta(days=1)
_BATCH = 200
# Batches of one run: the next run goes on.
_MOST_BATCHES = 100


@dataclass(frozen=True, slots=True)
class Line:
    """What a user's accounts were worth, in ``asset``; oldest first."""

    asset: str
    points: list[tuple[int, Decimal]]


def line(connection_id: UUID | None, since: datetime | None, asset: str | None) -> Line:
    """At most MOST_POINTS points since a moment (by default the last day), inside the tenant's scope.

    Several connections are added up, paper accounts left out; one that has no point of a minute counts as it was last
    known. Without an asset: the one with the most points. The line is thinned by time: each stretch of it keeps its
    newest point.
    """
    rows = EquityPoint.objects.filter(at__gte=since or SYSTEM_CLOCK.now() - _LOOK_BACK)
    if connection_id is not None:
        rows = rows.filter(connection_id=connection_id)
    else:
        rows = rows.exclude(connection__mode=Mode.PAPER)
    if asset is None:
        most = rows.values("asset").annotate(points=Count("pk")).order_by("-points", "asset").first()
        asset = most["asset"] if most else ""
    found = rows.filter(asset=asset).order_by("at").values_list("at", "connection_id", "value")
    return Line(asset, _thinned(_added(found.iterator())))


def _added(rows: Iterable[tuple[datetime, UUID, Decimal]]) -> list[tuple[int, Decimal]]:
    known: dict[UUID, Decimal] = {}
    sums: dict[int, Decimal] = {}
    with exact():
        for at, connection_id, value in rows:
            known[connection_id] = value
            sums[to_millis(at)] = sum(known.values(), ZERO)
    return list(sums.items())


def _thinned(points: Sequence[tuple[int, Decimal]]) -> list[tuple[int, Decimal]]:
    if len(points) <= MOST_POINTS:
        return list(points)
    first, last = points[0][0], points[-1][0]
    stretches = {(at - first) * (MOST_POINTS - 1) // (last - first): (at, value) for at, value in points}
    return list(stretches.values())


def point_shape(point: tuple[int, Decimal]) -> list[Any]:
    """A point as the API and the live socket show it."""
    return [point[0], plain(point[1])]


def prune(clock: Clock = SYSTEM_CLOCK) -> int:
    """Removes old points that are not an hour's first, in small batches. Returns how many; a scheduled task."""
    removed = 0
    with everyone():
        old = EquityPoint.objects.filter(at__lt=clock.now() - MINUTES_KEPT).exclude(at__minute=0)
        for _ in range(_MOST_BATCHES):
            batch = list(old.values_list("pk", flat=True)[:_BATCH])
            if not batch:
                break
            removed += EquityPoint.objects.filter(pk__in=batch).delete()[0]
    return removed
