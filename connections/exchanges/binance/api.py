"""What the api.toml of every Binance venue says, typed. A venue's own says more."""

from collections.abc import Mapping

import msgspec

from connections.exchanges.api_file import ApiFile, BadApiFile

WEIGHT = "weight"
_ORDERS = "orders_"


class BinancePaths(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    time: str
    exchange_info: str
    depth: str
    klines: str
    book_ticker: str
    trades: str
    order: str
    open_orders: str
    own_trades: str
    account: str
    restrictions: str


class BinanceLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    max_recv_window_ms: int
    klines_page: int
    trades_page: int
    trades_window_ms: int
    depth_levels: int
    # As many as a request may tell: what was traded since the request before should be among them.
    polled_trades: int
    # Of so many symbols the trades are polled each second, for half of the budget.
    polled_symbols: int
    stream_messages_a_second: int
    streams_a_socket: int
    socket_seconds: int


class BinanceApi(ApiFile, frozen=True, forbid_unknown_fields=True):
    """The part that the venues have in common."""

    paths: BinancePaths
    limits: BinanceLimits
    # What a request for the symbol table says beside its path.
    exchange_info_query: str

    @property
    def order_limits(self) -> dict[str, tuple[int, int]]:
        """(orders, seconds) that an account may place, by the name of the window in the headers (``10S``)."""
        return {
            name.removeprefix(_ORDERS).upper(): (row.limit, row.seconds)
            for name, row in self.budgets.items()
            if row.of == "account"
        }


def order_budget(window: str) -> str:
    """The name of the budget of orders in a window that the headers name."""
    return _ORDERS + window.lower()


def check_binance(api: BinanceApi, templates: Mapping[str, str]) -> None:
    """What the shape of the file doesn't show; ``templates`` are its names of streams. Raises BadApiFile."""
    if WEIGHT not in api.budgets:
        raise BadApiFile(f"budgets must have {WEIGHT}")
    for told, template in templates.items():
        try:
            template.format(symbol="", timeframe="")
        except (KeyError, IndexError, ValueError):
            raise BadApiFile(f"streams: {told} may hold {{symbol}} and {{timeframe}} only") from None
