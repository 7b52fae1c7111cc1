"""How many risk events there were in each week, month or quarter, by type and severity (RSK-7)."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from risk.models import RiskEvent


class Period(StrEnum):
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"


_MONTHS = {Period.MONTHLY: 1, Period.QUARTERLY: 3}


@dataclass(frozen=True, slots=True)
class Count:
    """The events that began from ``start`` on and before the next period's, UTC."""

    start: date
    events: int
    open: int
    by_type: dict[str, int]
    by_severity: dict[str, int]


def report(period: Period, count: int, now: datetime) -> list[Count]:
    """The newest ``count`` periods, the running one first, of the users in the scope that the caller has opened."""
    starts = list(_starts(period, now.date(), count))
    rows = RiskEvent.objects.filter(occurred_at__date__gte=starts[-1])
    found = list(rows.values_list("occurred_at", "type", "severity", "resolved_at"))
    counts = []
    end = date.max
    for start in starts:
        counts.append(_count(start, [row for row in found if start <= row[0].date() < end]))
        end = start
    return counts


def _count(start: date, rows: Iterable[tuple[datetime, str, str, datetime | None]]) -> Count:
    listed = list(rows)
    return Count(
        start, len(listed), sum(resolved is None for *_, resolved in listed),
        dict(sorted(Counter(kind for _, kind, _, _ in listed).items())),
        dict(sorted(Counter(severity for _, _, severity, _ in listed).items())),
    )  # fmt: skip


def _starts(period: Period, today: date, count: int) -> Iterator[date]:
    """The first days of periods, the running one first. Weeks begin on Monday."""
    if period == Period.WEEKLY:
        start = today - timedelta(days=today.weekday())
        for number in range(count):
            yield start - timedelta(weeks=number)
        return
    step = _MONTHS[period]
    months = (today.year * 12 + today.month - 1) // step * step
    for _ in range(count):
        yield date(months // 12, months % 12 + 1, 1)
        months -= step
