"""User data events: what an account hears, on which subscriptions, and the faults that disturb it."""

from collections import defaultdict
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from connections.simulator.accounts import Account
from connections.simulator.binance.limits import OrderLimiter
from connections.simulator.binance.market_payloads import Json
from connections.simulator.binance_spot import payloads
from connections.simulator.event_faults import deliver
from connections.simulator.exchange import AccountChange, Exchange
from connections.simulator.faults import FaultBox, Occasion
from connections.simulator.sockets import Socket
from connections.simulator.tape import AggregateTrade, Trade

_encode = msgspec.json.Encoder().encode


class Subscription:
    """One account's events on one socket."""

    def __init__(self, socket: Socket, subscription_id: int, api_key: str) -> None:
        self.socket = socket
        self.subscription_id = subscription_id
        self.api_key = api_key

    def send(self, event: Json) -> None:
        self.socket.send(_encode({"subscriptionId": self.subscription_id, "event": event}).decode())


class UserEvents:
    """Tells accounts what happened to them: order reports first, then one account position."""

    def __init__(self, exchange: Exchange, faults: FaultBox, orders: OrderLimiter) -> None:
        self._exchange = exchange
        self._faults = faults
        self._orders = orders
        self._subscriptions: dict[str, set[Subscription]] = defaultdict(set)
        exchange.listeners.append(self)

    def add(self, subscription: Subscription) -> None:
        self._subscriptions[subscription.api_key].add(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Ends a subscription; the socket hears of it, if it is still there."""
        self._subscriptions[subscription.api_key].discard(subscription)
        subscription.send({"e": "eventStreamTerminated", "E": self._exchange.now_ms()})

    def market_moved(self, symbol: str, trades: list[Trade], aggregates: list[AggregateTrade]) -> None:
        """Public matters are the market streams'."""

    def account_changed(self, account: Account, change: AccountChange) -> None:
        for report in change.reports:
            fill = report.fill
            if fill is not None and fill.is_maker and report.progress.executed == fill.quantity:
                self._orders.first_filled(account.api_key, report.time_ms)
        if not self._subscriptions[account.api_key]:
            return
        now_ms = self._exchange.now_ms()
        events = [payloads.execution_report(report, now_ms) for report in change.reports]
        events.append(payloads.account_position(account, list(change.assets), now_ms))
        symbol = change.reports[0].order.symbol if change.reports else ""
        self._deliver(Occasion(api_key=account.api_key, symbol=symbol), events)

    def funds_moved(self, account: Account, asset: str, amount: Decimal) -> None:
        now_ms = self._exchange.now_ms()
        events = [payloads.account_position(account, [asset], now_ms), payloads.balance_update(asset, amount, now_ms)]
        self._deliver(Occasion(api_key=account.api_key), events)

    def _deliver(self, occasion: Occasion, events: list[Json]) -> None:
        deliver(self._faults, occasion, events, partial(self._send, occasion.api_key))

    def _send(self, api_key: str, events: list[dict[str, Any]]) -> None:
        for subscription in self._subscriptions[api_key]:
            for event in events:
                subscription.send(event)
