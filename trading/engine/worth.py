"""What an account is worth in a quote asset."""

from collections.abc import Callable, Iterator
from decimal import Decimal

from connections.gateways import Side
from desproject.lib.money import ZERO, exact, settle
from trading.engine.desk import Desk
from trading.engine.state import Account
from trading.positions import is_on_margin
from trading.quotes import quote_of

# The price of a symbol.
Mark = Callable[[str], Decimal]


def worth(account: Account, quote: str, mark: Mark) -> Decimal:
    """Its balances, each at the price of its pair with the quote asset, and what positions on margin have won."""
    with exact():
        worths = (
            row.total if asset == quote else row.total * mark(f"{asset}/{quote}")
            for asset, row in account.balances.items()
            if row.total
        )
        return settle(sum(worths, ZERO) + sum(_won(account, quote, mark), ZERO))


def worth_now(desk: Desk, account: Account, quote: str) -> Decimal:
    """At the bid; without a quote at the position's average price, and without one of these nothing."""

    def mark(symbol: str) -> Decimal:
        return desk.price(account.connection.feed, symbol, Side.SELL) or average_price(account, symbol)

    return worth(account, quote, mark)


def average_price(account: Account, symbol: str) -> Decimal:
    """Of a position; 0 where there is none."""
    position = account.positions.get(symbol)
    return position.average_price if position is not None and position.quantity else ZERO


def _won(account: Account, quote: str, mark: Mark) -> Iterator[Decimal]:
    for symbol, position in account.positions.items():
        if is_on_margin(symbol) and quote_of(symbol) == quote and position.quantity:
            yield position.quantity * (mark(symbol) - position.average_price)
