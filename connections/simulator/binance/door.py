"""The way into a venue of Binance: weight, key, time window and signature, then the method's handler."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from connections.simulator.accounts import Account
from connections.simulator.binance import signing
from connections.simulator.binance.call import Call
from connections.simulator.binance.endpoint import Endpoint
from connections.simulator.binance.limits import MINUTE_MS, Budgets, OrderLimiter, WeightLimiter
from connections.simulator.binance.params import Params
from connections.simulator.exchange import Exchange


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says about its sender."""

    api_key: str | None
    signature: str | None
    payload: Callable[[], bytes]
    # The key of a WebSocket API session that has logged on: its requests need no signature.
    logged_on: str | None = None


class Door:
    """Checks requests and runs their handlers, for REST and the WebSocket API alike."""

    def __init__(self, exchange: Exchange, budgets: Budgets) -> None:
        self.exchange = exchange
        self.budgets = budgets
        self.weights = WeightLimiter(budgets)
        self.orders = OrderLimiter(budgets)

    def run(self, endpoint: Endpoint, params: Params, credentials: Credentials, address: str) -> Any:
        """The handler's answer. Raises ApiError."""
        now_ms = self.exchange.now_ms()
        self.weights.spend(address, endpoint.weight(params), now_ms)
        sender = self._sender(endpoint, credentials, params)
        if endpoint.params is not None:
            params.require_known(endpoint.params)
        return endpoint.handler(Call(params, self.exchange, self.budgets, self.orders, now_ms, sender))

    def _sender(self, endpoint: Endpoint, credentials: Credentials, params: Params) -> Account | None:
        if endpoint.keyed:
            return signing.find_account(self.exchange.bank, credentials.api_key)
        return self.identify(credentials, params) if endpoint.signed else None

    def identify(self, credentials: Credentials, params: Params) -> Account:
        """The sender of a signed request. Raises ApiError."""
        account = signing.find_account(self.exchange.bank, credentials.api_key or credentials.logged_on)
        signing.check_time(params, self.exchange.now_ms())
        if credentials.logged_on is None or credentials.api_key not in (None, credentials.logged_on):
            signing.check_signature(account, credentials.payload(), credentials.signature)
        return account

    def received_order(self, api_key: str | None, client_id: str | None) -> None:
        """Counts an order request that arrived, whatever becomes of it."""
        account = self.exchange.bank.accounts.get(api_key or "")
        if account is not None and client_id:
            account.received[client_id] += 1

    def weight_used(self, address: str) -> int:
        return self.weights.used(address, self.exchange.now_ms())

    def order_counts(self, api_key: str) -> dict[str, int]:
        return self.orders.counts(api_key, self.exchange.now_ms())

    def usage(self, address: str, api_key: str | None) -> list[dict[str, Any]]:
        """The `rateLimits` of a WebSocket API answer."""
        counts = list(self.order_counts(api_key).values()) if api_key else []
        infos = Call(Params({}), self.exchange, self.budgets, self.orders, 0).limits_info()
        orders = [{**info, "count": count} for info, count in zip(infos[1:], counts, strict=False)]
        return [*orders, {**infos[0], "count": self.weight_used(address)}]


def seconds_until(moment_ms: int, now_ms: int) -> int:
    """Whole seconds to wait, at least one."""
    return max(1, -(-(moment_ms - now_ms) // 1000)) if moment_ms else MINUTE_MS // 1000
