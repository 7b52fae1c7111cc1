"""What positions are worth now."""

from collections.abc import Iterable
from decimal import Decimal
from uuid import UUID

from connections.prices import Price, read_prices
from trading.models import Position


def marks(positions: Iterable[Position]) -> dict[tuple[UUID, str], Decimal]:
    """The price of each position by (connection id, symbol): what it could be sold at, else the last trade's.

    Positions whose price isn't known are left out. Needs the positions' connections loaded.
    """
    feeds: dict[str, dict[str, Price]] = {}
    found: dict[tuple[UUID, str], Decimal] = {}
    for position in positions:
        feed = position.connection.feed
        if feed not in feeds:
            feeds[feed] = read_prices(feed)
        price = feeds[feed].get(position.symbol)
        worth = None if price is None else price.bid or price.last
        if worth is not None:
            found[position.connection_id, position.symbol] = worth
    return found
