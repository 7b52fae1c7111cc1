"""Everything that a user's page shows, read at once."""

from typing import Any
from uuid import UUID

from accounts.tenancy import tenant_scope
from connections import demand
from connections.api import ConnectionSerializer
from connections.selectors import connections
from trading import selectors
from trading import serializers as shapes
from trading.marks import marks
from trading.order_states import OPEN

_NEWEST = 50
# Open orders beyond these are on the API's pages.
_MOST_OPEN = 500
_MOST_WATCHED = 50


def snapshot(user_id: UUID) -> dict[str, Any]:
    """Open and newest orders, trades, positions, balances, instances and connections, in the API's shapes."""
    with tenant_scope(user_id):
        positions = list(selectors.positions())
        instances = list(selectors.instances())
        figures = {"performance": selectors.performance([row.pk for row in instances])}
        held = {"reserved": selectors.reserved()}
        return {
            "orders": shapes.OrderSerializer(_orders(), many=True).data,
            "trades": shapes.TradeSerializer(selectors.trades().order_by("-created_at")[:_NEWEST], many=True).data,
            "positions": shapes.PositionSerializer(positions, many=True, context={"marks": marks(positions)}).data,
            "balances": shapes.BalanceSerializer(selectors.balances(), many=True, context=held).data,
            "instances": shapes.InstanceSerializer(instances, many=True, context=figures).data,
            "connections": ConnectionSerializer(connections(), many=True).data,
        }


def watch_feeds(user_id: UUID) -> list[str]:
    """The market data feeds of the user's connections. Also asks the stream processes for the symbols on the page, so
    that prices come before a strategy runs; to be called again while somebody looks."""
    with tenant_scope(user_id):
        symbols: dict[str, set[str]] = {row.feed: set() for row in connections()}
        for rows in (selectors.instances(), selectors.positions()):
            for row in rows.select_related("connection")[:_MOST_WATCHED]:
                symbols.setdefault(row.connection.feed, set()).add(row.symbol)
    for feed, wanted in symbols.items():
        demand.ask(feed, wanted)
    return sorted(symbols)


def _orders() -> list[Any]:
    newest_first = selectors.orders().order_by("-created_at")
    found = {row.pk: row for row in newest_first[:_NEWEST]}
    found |= {row.pk: row for row in newest_first.filter(status__in=OPEN)[:_MOST_OPEN]}
    return sorted(found.values(), key=lambda row: row.created_at, reverse=True)
