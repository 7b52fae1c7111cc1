"""In which quote assets a connection is measured."""

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from trading.models import Balance

# Where nothing is traded yet: the first of these that the account holds.
_COMMON = ("USDT", "USDC", "FDUSD", "KRW")


def quote_of(symbol: str) -> str:
    """``BTC/USDT`` → ``USDT``, and ``BTC/USDT:USDT`` too."""
    return symbol.rpartition("/")[2].partition(":")[0]


def bitcoin_in(symbol: str) -> str:
    """What tells the price of one BTC in the symbol's quote asset: ``ETH/USDT`` → ``BTC/USDT``."""
    return f"BTC/{symbol.partition('/')[2]}"


def quote_assets(symbols: Iterable[tuple[UUID, str]], balances: Iterable[Balance]) -> dict[UUID, set[str]]:
    """By connection: the quote assets of its symbols; without any, the common one that it holds."""
    found: dict[UUID, set[str]] = defaultdict(set)
    for connection_id, symbol in symbols:
        found[connection_id].add(quote_of(symbol))
    held: dict[UUID, set[str]] = defaultdict(set)
    for row in balances:
        if row.total:
            held[row.connection_id].add(row.asset)
    for connection_id in held.keys() - found.keys():
        common = next((asset for asset in _COMMON if asset in held[connection_id]), None)
        if common is not None:
            found[connection_id].add(common)
    return dict(found)
