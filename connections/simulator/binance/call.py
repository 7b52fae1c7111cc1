"""One request, whatever way it came: what a method's handler sees."""

from dataclasses import dataclass
from typing import Any

from connections.simulator.accounts import Account
from connections.simulator.binance import errors
from connections.simulator.binance.limits import ORDER_WINDOWS, Budgets, OrderLimiter
from connections.simulator.binance.params import Params
from connections.simulator.exchange import Exchange, Market


@dataclass(slots=True)
class Call:
    """A request that passed the door: its parameters, who asks, and the exchange's time."""

    params: Params
    exchange: Exchange
    budgets: Budgets
    order_limiter: OrderLimiter
    now_ms: int
    sender: Account | None = None

    @property
    def account(self) -> Account:
        """The sender of a signed request."""
        if self.sender is None:
            raise errors.bad_key()
        return self.sender

    def market(self) -> Market:
        """The market in `symbol`. Raises -1102 or -1121."""
        return self.market_named(self.params.symbol())

    def market_named(self, symbol: str) -> Market:
        try:
            return self.exchange.markets[symbol]
        except KeyError:
            raise errors.bad_symbol() from None

    def limits_info(self) -> list[dict[str, Any]]:
        return [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, self.budgets.weight),
            *(_limit("ORDERS", *ORDER_WINDOWS[name][1:], limit) for name, limit in self.order_limiter.windows.items()),
        ]


def _limit(kind: str, interval: str, count: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}
