"""What positions and orders are worth now."""

from collections.abc import Iterable
from decimal import Decimal
from uuid import UUID

from connections.prices import Price, read_prices
from trading.models import Order, Position


def marks(rows: Iterable[Position | Order]) -> dict[tuple[UUID, str], Decimal]:
    """The price of each row by (connection id, symbol): what it could be sold at, else the last trade's.

    Those whose price isn't known are left out. Needs the rows' connections loaded.
    """
    feeds: dict[str, dict[str, Price]] = {}
    found: dict[tuple[UUID, str], Decimal] = {}
    for row in rows:
        feed = row.connection.feed
        if feed not in feeds:
            feeds[feed] = read_prices(feed)
        price = feeds[feed].get(row.symbol)
        worth = None if price is None else price.bid or price.last
        if worth is not None:
            found[row.connection_id, row.symbol] = worth
    return found
