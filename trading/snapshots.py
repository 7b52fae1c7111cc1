"""Everything that a user's page shows, read at once."""

from typing import Any
from uuid import UUID

from accounts.tenancy import tenant_scope
from connections import demand
from connections.api import ConnectionSerializer
from connections.selectors import connections
from risk.api import KillSwitchSerializer
from risk.selectors import active_switches
from trading import selectors
from trading import serializers as shapes
from trading.dry_run import dry_runs
from trading.headroom import headroom
from trading.marks import marks
from trading.order_states import OPEN
from trading.performance import performance

_NEWEST = 50
# Open orders beyond these are on the API's pages.
_MOST_OPEN = 500
_MOST_WATCHED = 50


def snapshot(user_id: UUID) -> dict[str, Any]:
    """Open and newest orders, trades, positions, balances, instances, connections, kill switches and risk headroom, in
    the API's shapes."""
    with tenant_scope(user_id):
        positions = list(selectors.positions())
        instances = list(selectors.instances())
        figures = {"performance": performance([row.pk for row in instances]), "dry_runs": dry_runs(instances)}
        held = {"reserved": selectors.reserved()}
        return {
            "orders": shapes.OrderSerializer(_orders(), many=True).data,
            "trades": shapes.TradeSerializer(selectors.trades().order_by("-created_at")[:_NEWEST], many=True).data,
            "positions": shapes.PositionSerializer(positions, many=True, context={"marks": marks(positions)}).data,
            "balances": shapes.BalanceSerializer(selectors.balances(), many=True, context=held).data,
            "instances": shapes.InstanceSerializer(instances, many=True, context=figures).data,
            "connections": ConnectionSerializer(connections(), many=True).data,
            "kill_switches": KillSwitchSerializer(active_switches(), many=True).data,
            "headroom": headroom(),
        }


def current_headroom(user_id: UUID) -> list[dict[str, Any]]:
    """The snapshot's ``headroom`` alone."""
    with tenant_scope(user_id):
        return headroom()


def feed_of(user_id: UUID, connection_id: UUID) -> str | None:
    """The market data feed of one of the user's connections; None when it is gone, or somebody else's."""
    with tenant_scope(user_id):
        row = connections().filter(pk=connection_id).first()
        return None if row is None else row.feed


def watch_feeds(user_id: UUID, chart: tuple[str, str] | None = None) -> list[str]:
    """The market data feeds of the user's connections. Also asks the stream processes for the symbols on the page, and
    for that of its chart (feed, symbol), so that prices come before a strategy runs; to be called again while somebody
    looks."""
    with tenant_scope(user_id):
        symbols: dict[str, set[str]] = {row.feed: set() for row in connections()}
        for rows in (selectors.instances(), selectors.positions()):
            for row in rows.select_related("connection")[:_MOST_WATCHED]:
                symbols.setdefault(row.connection.feed, set()).add(row.symbol)
    if chart is not None and chart[0] in symbols:
        symbols[chart[0]].add(chart[1])
    for feed, wanted in symbols.items():
        demand.ask(feed, wanted)
    return sorted(symbols)


def _orders() -> list[Any]:
    newest_first = selectors.orders().order_by("-created_at")
    found = {row.pk: row for row in newest_first[:_NEWEST]}
    found |= {row.pk: row for row in newest_first.filter(status__in=OPEN)[:_MOST_OPEN]}
    return sorted(found.values(), key=lambda row: row.created_at, reverse=True)
