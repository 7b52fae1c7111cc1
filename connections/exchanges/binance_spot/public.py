"""Where Binance spot says what everybody may know."""

from connections.exchanges.binance.public import BinancePublic, PublicWire
from connections.exchanges.binance_spot.api import API
from connections.exchanges.binance_spot.codec import read_depth, read_quotes, read_symbols, read_trades
from connections.exchanges.network import Network

_WIRE = PublicWire(
    weight_limit=API.budgets["weight"].limit,
    order_limits={
        name.removeprefix("orders_").upper(): (row.limit, row.seconds)
        for name, row in API.budgets.items()
        if row.of == "account"
    },
    time=API.paths.time,
    exchange_info=API.paths.exchange_info,
    exchange_info_query="showPermissionSets=false",
    depth=API.paths.depth,
    klines=API.paths.klines,
    book_ticker=API.paths.book_ticker,
    trades=API.paths.trades,
    depth_levels=API.limits.depth_levels,
    klines_page=API.limits.klines_page,
    polled_trades=API.limits.polled_trades,
    read_symbols=read_symbols,
    read_depth=read_depth,
    read_quotes=read_quotes,
    read_trades=read_trades,
)


def public_spot(mode: str, network: Network) -> BinancePublic:
    return BinancePublic(_WIRE, API, f"binance_spot:{mode}", API.base(mode).rest, network)
