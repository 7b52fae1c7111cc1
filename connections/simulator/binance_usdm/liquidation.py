"""Liquidation: the exchange closes an account's positions when its margin no longer carries them.

First its open orders end, then each position is closed at the market by an order of the exchange's own, whose client id
begins with `autoclose-`, and the insurance fund takes its fee or pays what is missing. What the book can't take is
tried again at the next look. Margin calls before that, and reducing a large position bracket by bracket, are not there.
"""

from decimal import Decimal

from connections.simulator.accounts import Account
from connections.simulator.binance_usdm.algo_orders import AlgoOrders
from connections.simulator.binance_usdm.payloads import LIQUIDATION
from connections.simulator.binance_usdm.user_events import UserEvents
from connections.simulator.exchange import Exchange, Ticket
from connections.simulator.margin import MarginBank
from connections.simulator.matching import ZERO, OrderType, Side, TimeInForce

_ASSET = "USDT"


class Liquidations:
    """Looks after all accounts of a venue; `count` says how many were liquidated."""

    def __init__(self, exchange: Exchange, bank: MarginBank, events: UserEvents, algo: AlgoOrders) -> None:
        self.count = 0
        self._exchange = exchange
        self._bank = bank
        self._events = events
        self._algo = algo
        self._orders = 0

    def look(self) -> None:
        """Liquidates who is due now."""
        for account in self._bank.exhausted(_ASSET):
            self.count += 1
            self._algo.expire(account.api_key)
            for order in list(account.open_orders.values()):
                self._exchange.expire(account, order)
            worth = sum((self._close(account, *each) for each in self._bank.held(account, _ASSET).items()), ZERO)
            change = self._bank.clear(account, _ASSET, worth, self._exchange.now_ms())
            if change:
                self._events.insured(account, _ASSET, change)

    def _close(self, account: Account, symbol: str, quantity: Decimal) -> Decimal:
        """What was traded, in the quote asset."""
        self._orders += 1
        client_id = f"autoclose-{self._exchange.now_ms()}{self._orders:04}"
        side = Side.SELL if quantity > 0 else Side.BUY
        ticket = Ticket(
            symbol, side, OrderType.MARKET, abs(quantity), client_id, time_in_force=TimeInForce.IOC, reduce_only=True,
            labels={LIQUIDATION: 1},
        )  # fmt: skip
        return self._exchange.place(account, ticket).quote_executed
