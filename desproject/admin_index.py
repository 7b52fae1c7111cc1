"""The admin's first page: the state of the installation, read when it is shown and again every few seconds."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import redis
from django.http import HttpRequest

from accounts.tenancy import everyone
from connections.models import Connection, ConnectionStatus, Lease, Process
from desproject import health
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.metrics import merging
from desproject.lib.metrics.recorder import Histogram
from desproject.lib.metrics.registry import Snapshot
from desproject.metrics_board import BOARD
from risk.models import KillSwitch

_LONGEST = 20
_FLOWS = (
    "engine.ticks", "engine.evaluations", "engine.signals", "engine.orders", "engine.acknowledged", "engine.fills",
    "engine.denials", "engine.sends_rejected", "engine.sends_unknown", "streams.market_frames", "streams.user_events",
    "streams.cuts", "streams.reconnects", "web.requests", "tasks.run", "tasks.failed",
)  # fmt: skip
_GAUGES = (
    "engine.instances", "engine.mailboxes", "engine.commits_waiting", "engine.sends_waiting", "engine.sends_in_use",
    "streams.symbols", "streams.books", "streams.books_valid", "streams.accounts", "web.sockets_open",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Panel:
    """One table of the page, or what is said when it has no rows."""

    title: str
    table: dict[str, Sequence[Any]]
    when_empty: str


def dashboard(_: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds ``panels`` and ``now`` to the page's context (unfold's DASHBOARD_CALLBACK)."""
    now = SYSTEM_CLOCK.now()
    with everyone():
        return {**context, "now": now, "panels": [_readiness(), *_figures(now), *_rows(now)]}


def _panel(title: str, headers: Sequence[str], rows: Sequence[Sequence[Any]], when_empty: str = "None.") -> Panel:
    return Panel(title, {"headers": headers, "rows": rows}, when_empty)


def _readiness() -> Panel:
    return _panel("Readiness", ["part", "state"], list(health.checks().items()))


def _figures(now: datetime) -> list[Panel]:
    try:
        snapshots = BOARD.documents().snapshots
    except redis.RedisError:
        return [_panel("Metrics", [], [], "The figures can't be read: Redis doesn't answer.")]
    totals = merging.added(snapshot.totals for snapshot in snapshots)
    rates = merging.added(snapshot.rates for snapshot in snapshots)
    gauges = merging.added(snapshot.gauges for snapshot in snapshots)
    errors = Counter(merging.added(snapshot.errors for snapshot in snapshots))
    flows = [(name, f"{rates.get(name, 0):,.1f}", f"{totals[name]:,}") for name in _FLOWS if name in totals]
    latencies = [_latency(name, found) for name, found in sorted(merging.histograms(snapshots).items()) if found.count]
    return [
        _panel("Throughput", ["what", "a second", "total"], flows, "Nothing yet."),
        _panel("Latency of the last minute, ms", ["what", "p50", "p95", "p99", "max", "count"], latencies, "None yet."),
        _panel("Now", ["what", "count"], [(name, f"{gauges[name]:,.0f}") for name in _GAUGES if name in gauges]),
        _panel("Errors since the processes began", ["kind", "count"], errors.most_common(_LONGEST)),
        _panel("Processes", ["kind", "host", "pid", "age", "memory"], [_process(row, now) for row in snapshots]),
    ]


def _latency(name: str, found: Histogram) -> tuple[str, ...]:
    shown = (*found.percentiles(50, 95, 99), found.most)
    return (name, *(f"{seconds * 1000:,.2f}" for seconds in shown), f"{found.count:,}")


def _process(row: Snapshot, now: datetime) -> tuple[str, ...]:
    age = max(int(now.timestamp() - row.started_at), 0)
    hours, minutes, seconds = age // 3600, age % 3600 // 60, age % 60
    return row.kind, row.host, str(row.pid), f"{hours}:{minutes:02}:{seconds:02}", f"{row.memory_bytes / 2**20:.0f} MB"


def _rows(now: datetime) -> list[Panel]:
    owners: dict[UUID | None, str] = {
        row.pk: f"{row.host} {row.pid}{' (drains)' if row.draining else ''}" for row in Process.objects.all()
    }
    held = list(Lease.objects.filter(owner__isnull=False, expires_at__gt=now).order_by("key"))
    shards = Counter(owners.get(row.owner, "unknown") for row in held if row.kind == "shard")
    streams = [(row.key, owners.get(row.owner, "unknown")) for row in held if row.kind == "stream"]
    switches = KillSwitch.objects.filter(lifted_at__isnull=True).select_related("user", "pressed_by")
    unhealthy = Connection.objects.filter(is_deleted=False).exclude(status=ConnectionStatus.OK).select_related("user")
    return [
        _panel("Shards", ["engine", "shards"], sorted(shards.items()), "No engine holds a shard."),
        _panel("Streams", ["stream", "process"], streams[:_LONGEST], "No stream runs."),
        _panel(
            "Active kill switches",
            ["level", "user", "reason", "pressed by", "since"],
            [
                (row.level, row.user.email, row.reason, row.pressed_by.email, f"{row.created_at:%Y-%m-%d %H:%M:%S}")
                for row in switches.order_by("-created_at")[:_LONGEST]
            ],
        ),
        _panel(
            "Connections in trouble",
            ["user", "name", "exchange", "status", "reason"],
            [
                (row.user.email, row.name, row.exchange, row.status, row.status_reason)
                for row in unhealthy.order_by("-updated_at")[:_LONGEST]
            ],
        ),
    ]
