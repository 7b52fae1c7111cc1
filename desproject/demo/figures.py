"""What a run did, in figures read from the database."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from accounts.tenancy import tenant_scope
from connections.models import Process
from trading.engine_count import SHARD
from trading.models import Order, Signal, Trade
from trading.order_states import OPEN


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts since the start of the run. ``traders`` are the users who have at least one trade."""

    ticks: int
    signals: int
    orders: dict[str, int]
    trades: int
    traders: int
    open_orders: int


def read_figures(users: Collection[UUID], since: datetime) -> Figures:
    """Reads the database; ``since`` is when the run began."""
    engines = Process.objects.filter(kind=SHARD, started_at__gte=since).values_list("figures", flat=True)
    ticks = sum(figures.get("ticks", 0) for figures in engines)
    with tenant_scope(*users):
        orders = Counter(Order.objects.values_list("status", flat=True))
        return Figures(
            ticks=ticks,
            signals=Signal.objects.count(),
            orders=dict(sorted(orders.items())),
            trades=Trade.objects.count(),
            traders=Trade.objects.values("user").distinct().count(),
            open_orders=sum(orders[status] for status in OPEN),
        )


def read_latency(users: Collection[UUID]) -> dict[str, dict[str, Any]]:
    """Milliseconds from a market event's arrival to the signal, and from the signal to the exchange's answer."""
    with tenant_scope(*users):
        signals = Signal.objects.values_list("observed_at", "decided_at")
        orders = Order.objects.filter(signal__isnull=False, acknowledged_at__isnull=False)
        answered = orders.values_list("signal__decided_at", "acknowledged_at")
        return {
            "tick_to_signal": percentiles([_milliseconds(*times) for times in signals]),
            "signal_to_acknowledged": percentiles([_milliseconds(*times) for times in answered]),
        }


def percentiles(values: Sequence[float]) -> dict[str, Any]:
    """p50 and p99 by nearest rank, and of how many; null where there is none."""
    ordered = sorted(values)
    if not ordered:
        return {"p50": None, "p99": None, "n": 0}
    return {**{f"p{share}": round(_rank(ordered, share), 2) for share in (50, 99)}, "n": len(ordered)}


def _rank(ordered: Sequence[float], share: int) -> float:
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def _milliseconds(begin: Any, end: Any) -> float:
    return float((end - begin).total_seconds() * 1000)
