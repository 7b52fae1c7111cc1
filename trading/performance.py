"""How well strategy instances trade (STG-5): figures of their own trades, and an alert where the last week went badly.

A *result* is what was won or lost, in the quote asset, from one closing order back to the one before it: the entries'
fees are in it. An order closes when it brings what the instance holds nearer to nothing.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from uuid import UUID

from django.db.models import Q

from accounts.tenancy import everyone, tenant_scope
from audit.models import AuditLog
from audit.record import record
from connections.gateways import Side
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.money import ZERO, exact, floor_to, settle
from trading.models import InstanceMode, InstanceStatus, StrategyInstance, Trade

WINDOW = timedelta(days=7)
# Fewer results say nothing about a strategy.
ENOUGH_RESULTS = 10
LOWEST_WIN_RATE = Decimal("0.5")
ALERT = "strategy.underperforms"
_ALERT_PAUSE = timedelta(days=1)
_YEAR_DAYS = 365
_RATIO_STEP = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Fill:
    """What of a trade matters here."""

    order_id: UUID
    side: str
    quantity: Decimal
    realized_pnl: Decimal
    executed_at: datetime


@dataclass(frozen=True, slots=True)
class Result:
    """Won or lost, when its last fill came."""

    amount: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Stretch:
    """Results of a time: how many, the share of those above zero, and their average; None without any."""

    results: int
    win_rate: Decimal | None
    average_profit: Decimal | None

    @property
    def is_bad(self) -> bool:
        """Whether somebody should look at the strategy."""
        if self.win_rate is None or self.average_profit is None or self.results < ENOUGH_RESULTS:
            return False
        return self.win_rate < LOWEST_WIN_RATE or self.average_profit < 0


@dataclass(frozen=True, slots=True)
class Performance:
    """An instance's figures. Amounts are in the quote asset.

    profit_factor: what was won over what was lost; None while nothing was lost. sharpe: of the daily results, over a
    year of days; None with fewer than two days, or where all are the same. max_drawdown: the deepest fall of the sum
    of results from its highest.
    """

    trades: int = 0
    realized_pnl: Decimal = ZERO
    whole: Stretch = field(default_factory=lambda: _stretch(()))
    last_7_days: Stretch = field(default_factory=lambda: _stretch(()))
    profit_factor: Decimal | None = None
    sharpe: Decimal | None = None
    max_drawdown: Decimal = ZERO


def measure(fills: Sequence[Fill], now: datetime) -> Performance:
    """The figures of one instance's fills, oldest first."""
    with exact():
        found = results(fills)
        lost = -sum((result.amount for result in found if result.amount < 0), ZERO)
        won = sum((result.amount for result in found if result.amount > 0), ZERO)
        return Performance(
            trades=len(fills),
            realized_pnl=sum((fill.realized_pnl for fill in fills), ZERO),
            whole=_stretch(found),
            last_7_days=_stretch([result for result in found if result.at > now - WINDOW]),
            profit_factor=_ratio(won / lost) if lost else None,
            sharpe=_sharpe(found),
            max_drawdown=_max_drawdown(found),
        )


def results(fills: Iterable[Fill]) -> list[Result]:
    """What each closing order brought, oldest first."""
    found: list[Result] = []
    held = open_amount = ZERO
    for _, of_order in groupby(fills, attrgetter("order_id")):
        order = list(of_order)
        before = held
        held += sum((fill.quantity if fill.side == Side.BUY else -fill.quantity for fill in order), ZERO)
        open_amount += sum((fill.realized_pnl for fill in order), ZERO)
        if abs(held) < abs(before):
            found.append(Result(open_amount, order[-1].executed_at))
            open_amount = ZERO
    return found


def _ratio(value: Decimal) -> Decimal:
    return floor_to(value, _RATIO_STEP)


def _stretch(found: Sequence[Result]) -> Stretch:
    if not found:
        return Stretch(0, None, None)
    wins = sum(result.amount > 0 for result in found)
    total = sum((result.amount for result in found), ZERO)
    return Stretch(len(found), _ratio(Decimal(wins) / len(found)), settle(total / len(found)))


def _sharpe(found: Sequence[Result]) -> Decimal | None:
    if not found:
        return None
    days: dict[date, Decimal] = {}
    for result in found:
        day = result.at.date()
        days[day] = days.get(day, ZERO) + result.amount
    count = (max(days) - min(days)).days + 1  # days without a result count as zero
    if count < 2:  # one day has no spread
        return None
    mean = sum(days.values(), ZERO) / count
    squares = sum(((amount - mean) ** 2 for amount in days.values()), ZERO) + mean**2 * (count - len(days))
    spread = (squares / (count - 1)).sqrt()
    return _ratio(mean / spread * Decimal(_YEAR_DAYS).sqrt()) if spread else None


def _max_drawdown(found: Sequence[Result]) -> Decimal:
    total = highest = deepest = ZERO
    for result in found:
        total += result.amount
        highest = max(highest, total)
        deepest = max(deepest, highest - total)
    return deepest


def performance(instance_ids: Collection[UUID], clock: Clock = SYSTEM_CLOCK) -> dict[UUID, Performance]:
    """The figures of each of these instances, inside the scope that the caller has opened."""
    fills: dict[UUID, list[Fill]] = {key: [] for key in instance_ids}
    # On paper only what was traded on paper counts, live only what was traded live.
    on_paper = Q(order__instance__mode=InstanceMode.PAPER)
    of_mode = (on_paper & Q(order__paper=True)) | (~on_paper & Q(order__paper=False))
    rows = Trade.objects.filter(of_mode, order__instance__in=instance_ids).order_by("executed_at", "created_at", "pk")
    for instance_id, *values in rows.values_list(
        "order__instance_id", "order_id", "side", "quantity", "realized_pnl", "executed_at"
    ).iterator():
        fills[instance_id].append(Fill(*values))
    now = clock.now()
    return {key: measure(found, now) for key, found in fills.items()}


def review(clock: Clock = SYSTEM_CLOCK) -> int:
    """Tells the owners of running instances whose last week went badly, once a day at most; a scheduled task.

    Returns how many were told.
    """
    with everyone():
        running = StrategyInstance.objects.filter(status=InstanceStatus.RUNNING, is_deleted=False)
        owners = list(running.order_by().values_list("user_id", flat=True).distinct())
    return sum(_review_of(user_id, clock) for user_id in owners)


def _review_of(user_id: UUID, clock: Clock) -> int:
    now = clock.now()
    with tenant_scope(user_id):
        rows = {
            row.pk: row for row in StrategyInstance.objects.filter(status=InstanceStatus.RUNNING, is_deleted=False)
        }
        recent = AuditLog.objects.filter(event_type=ALERT, user=user_id, created_at__gt=now - _ALERT_PAUSE)
        told = set(recent.values_list("resource_id", flat=True))
        bad = {
            key: figures.last_7_days
            for key, figures in performance(rows, clock).items()
            if figures.last_7_days.is_bad and str(key) not in told
        }
        for key, week in bad.items():
            record(
                ALERT, user_id=user_id, resource_type="strategy_instance", resource_id=key, at=now,
                details={
                    "name": rows[key].name, "results": week.results, "win_rate": str(week.win_rate),
                    "average_profit": str(week.average_profit),
                },
            )  # fmt: skip
    return len(bad)
