"""A won exchange's private socket: each account's orders, fills and assets, to the sockets that its token opened."""

from collections import defaultdict
from decimal import Decimal

from connections.simulator.accounts import Account
from connections.simulator.event_faults import deliver
from connections.simulator.exchange import AccountChange, Exchange
from connections.simulator.faults import FaultBox, Occasion
from connections.simulator.krw import frames
from connections.simulator.krw.payloads import Json
from connections.simulator.krw.streams import Subscriber
from connections.simulator.krw.wire import Wire
from connections.simulator.tape import AggregateTrade, Trade

TYPES = ("myOrder", "myAsset")


class KrwUserEvents:
    """Tells accounts what happened to them: orders first, then what they own."""

    def __init__(self, wire: Wire, exchange: Exchange, faults: FaultBox) -> None:
        self._wire = wire
        self._exchange = exchange
        self._faults = faults
        self._subscribers: dict[str, set[Subscriber]] = defaultdict(set)
        exchange.listeners.append(self)

    def add(self, api_key: str, subscriber: Subscriber) -> None:
        self._subscribers[api_key].add(subscriber)

    def remove(self, api_key: str, subscriber: Subscriber) -> None:
        self._subscribers[api_key].discard(subscriber)

    def market_moved(self, symbol: str, trades: list[Trade], aggregates: list[AggregateTrade]) -> None:
        """Public matters are the public socket's."""

    def account_changed(self, account: Account, change: AccountChange) -> None:
        if not self._subscribers[account.api_key]:
            return
        events = [event for report in change.reports for event in frames.orders(self._wire, account, report)]
        events.append(frames.assets(account, list(change.assets), self._exchange.now_ms()))
        symbol = change.reports[0].order.symbol if change.reports else ""
        self._deliver(account, Occasion(api_key=account.api_key, symbol=symbol), events)

    def funds_moved(self, account: Account, asset: str, amount: Decimal) -> None:
        events = [frames.assets(account, [asset], self._exchange.now_ms())]
        self._deliver(account, Occasion(api_key=account.api_key), events)

    def _deliver(self, account: Account, occasion: Occasion, events: list[Json]) -> None:
        def send(told: list[Json]) -> None:
            for subscriber in self._subscribers[account.api_key]:
                for event in told:
                    if subscriber.wanted is not None and event["type"] in subscriber.wanted.markets:
                        subscriber.send(event)

        deliver(self._faults, occasion, events, send)
