"""The venue-neutral exchange: books, tapes and accounts moved together, one action at a time.

Dialects (Binance spot, …) sit on top: they turn requests into `Ticket`s and listen to what happened. Nothing here
knows a wire format, and nothing waits: an action is complete when its method returns.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from connections.simulator.accounts import Account, Bank, Fees, Fill, InsufficientBalance, TradeStamp
from connections.simulator.instruments import Instrument
from connections.simulator.matching import (
    ExpiryReason,
    Match,
    Order,
    OrderBook,
    OrderStatus,
    OrderType,
    Progress,
    Side,
    TimeInForce,
    WouldTake,
)
from connections.simulator.tape import AggregateTrade, Tape, Trade


class DuplicateOrder(Exception):
    """An open order of this account and symbol has the same client id."""


class WouldTrigger(Exception):
    """The stop price is already reached."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What somebody wants: an order before it has an id."""

    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    client_order_id: str
    price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    quote_quantity: Decimal | None = None
    stop_price: Decimal | None = None
    reduce_only: bool = False
    labels: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """One change of an order, with its state right after."""

    order: Order
    kind: str  # NEW, TRADE, CANCELED, EXPIRED
    progress: Progress
    time_ms: int
    execution_id: int
    fill: Fill | None = None
    cancel_id: str = ""


@dataclass(slots=True)
class AccountChange:
    """What one action did to one account."""

    reports: list[Report] = field(default_factory=list)
    assets: dict[str, None] = field(default_factory=dict)


class Listener(Protocol):
    """Told after each action; must not act on the exchange from within."""

    def market_moved(self, symbol: str, trades: list[Trade], aggregates: list[AggregateTrade]) -> None: ...

    def account_changed(self, account: Account, change: AccountChange) -> None: ...

    def funds_moved(self, account: Account, asset: str, amount: Decimal) -> None: ...


class Clearing(Protocol):
    """Who owns what: whether an order is covered, and what a trade moves."""

    usual_fees: Fees
    accounts: dict[str, Account]
    fees: dict[str, Decimal]
    house: dict[str, Decimal]

    def add(self, account: Account) -> None: ...

    def get(self, api_key: str) -> Account:
        """Raises UnknownAccount."""

    def transfer(self, account: Account, asset: str, amount: Decimal) -> None:
        """Raises InsufficientBalance."""

    def admit(self, account: Account, order: Order, instrument: Instrument, book: OrderBook) -> None:
        """Covers a new order. Raises InsufficientBalance, or what else stands against it."""

    def admit_triggered(self, account: Account, order: Order, instrument: Instrument, book: OrderBook) -> None:
        """Covers an order whose stop price was reached, at today's prices. Raises InsufficientBalance."""

    def relock(self, account: Account, order: Order, instrument: Instrument) -> None:
        """The order has traded or ended."""

    def settle(self, match: Match, order: Order, instrument: Instrument, trade: TradeStamp, is_maker: bool) -> Fill:
        """Moves one party's amounts of a match."""

    def settle_house(self, match: Match, side: Side, instrument: Instrument) -> None:
        """Moves the house's amounts of a match."""

    def unbacked(self, account: Account, symbol: str) -> list[Order]:
        """Open orders that may no longer be there after a fill."""

    def assets_moved(self, order: Order, instrument: Instrument, fill: Fill | None) -> list[str]:
        """The assets of which a change of an order moves an amount."""


class Market:
    """One symbol's instrument, book and tape, and the orders that wait for a stop price."""

    def __init__(self, instrument: Instrument, tape: Tape) -> None:
        self.instrument = instrument
        self.book = OrderBook(instrument.symbol, instrument.lot)
        self.tape = tape
        self.waiting: list[Order] = []
        self.trades: list[Trade] = []
        self.aggregates: list[AggregateTrade] = []


class Exchange:
    """All markets and all accounts."""

    def __init__(self, now_ms: Callable[[], int], bank: Clearing | None = None) -> None:
        self.now_ms = now_ms
        self.bank: Clearing = bank or Bank()
        self.markets: dict[str, Market] = {}
        self.listeners: list[Listener] = []
        self.orders_placed = 0
        self.fills = 0
        self._next_order_id = 1
        self._next_execution_id = 1
        self._changes: dict[str, AccountChange] = defaultdict(AccountChange)

    def list_market(self, instrument: Instrument, tape: Tape) -> None:
        self.markets[instrument.symbol] = Market(instrument, tape)

    # users

    def place(self, account: Account, ticket: Ticket) -> Order:
        """Accepts and matches an order.

        Raises DuplicateOrder, InsufficientBalance, WouldTake or WouldTrigger; then nothing has happened.
        """
        market = self.markets[ticket.symbol]
        self._check(account, ticket, market)
        order = self._new_order(account, ticket)
        self.bank.admit(account, order, market.instrument, market.book)
        self._register(account, order)
        self._report(order, "NEW")
        if order.type.is_triggered:
            market.waiting.append(order)
        else:
            self._work(market, order)
        self._trigger(market)
        self._flush(ticket.symbol)
        return order

    def take_and_cancel(self, account: Account, ticket: Ticket) -> Order:
        """An order that the venue accepts and cancels at once, without the book having seen it."""
        order = self._new_order(account, ticket)
        self._register(account, order)
        self._report(order, "NEW")
        order.status = OrderStatus.CANCELED
        self._report(order, "CANCELED")
        self._close(order)
        self._flush(ticket.symbol)
        return order

    def cancel(self, account: Account, order: Order, cancel_id: str) -> None:
        """Ends an open order; `cancel_id` names the cancellation in its report."""
        market = self.markets[order.symbol]
        market.book.cancel(order)
        if order in market.waiting:
            market.waiting.remove(order)
        order.updated_ms = self.now_ms()
        self.bank.relock(account, order, market.instrument)
        self._report(order, "CANCELED", cancel_id=cancel_id)
        self._close(order)
        self._flush(order.symbol)

    def expire(self, account: Account, order: Order) -> None:
        """Ends an open order that its account can no longer bear."""
        market = self.markets[order.symbol]
        market.book.withdraw(order)
        if order in market.waiting:
            market.waiting.remove(order)
        order.expire(ExpiryReason.REJECTED)
        order.updated_ms = self.now_ms()
        self.bank.relock(account, order, market.instrument)
        self._report(order, "EXPIRED")
        self._close(order)
        self._flush(order.symbol)

    def transfer(self, account: Account, asset: str, amount: Decimal) -> None:
        """Deposit (positive) or withdrawal. Raises InsufficientBalance."""
        self.bank.transfer(account, asset, amount)
        account.updated_ms = self.now_ms()
        for listener in self.listeners:
            listener.funds_moved(account, asset, amount)

    # the market source

    def quote(self, symbol: str, levels: Iterable[tuple[Side, Decimal, Decimal]]) -> None:
        """Shows house quotes: (side, price, quantity), 0 removes."""
        market = self.markets[symbol]
        for side, price, quantity in levels:
            self._apply(market, market.book.quote(side, price, quantity))
        self._finish(market)

    def set_top(self, symbol: str, bid: tuple[Decimal, Decimal], ask: tuple[Decimal, Decimal]) -> None:
        """The house's best (price, quantity) of both sides; better house quotes go."""
        market = self.markets[symbol]
        for side, (price, quantity) in ((Side.BUY, bid), (Side.SELL, ask)):
            self._apply(market, market.book.set_top(side, price, quantity))
        self._finish(market)

    def house_trade(self, symbol: str, side: Side, quantity: Decimal) -> None:
        """An anonymous market order."""
        market = self.markets[symbol]
        self._apply(market, market.book.trade(side, quantity))
        self._finish(market)

    def print_trade(self, symbol: str, side: Side, price: Decimal, quantity: Decimal) -> None:
        """A recorded trade; `side` is the taker's."""
        market = self.markets[symbol]
        self._apply(market, market.book.print_trade(side, price, quantity))
        self._finish(market)

    def clear(self, symbol: str) -> None:
        """Withdraws all house quotes."""
        self.markets[symbol].book.clear_house()
        self._finish(self.markets[symbol])

    # inside: before matching

    def _check(self, account: Account, ticket: Ticket, market: Market) -> None:
        if (ticket.symbol, ticket.client_order_id) in account.open_by_client_id:
            raise DuplicateOrder
        if ticket.type.is_triggered and _is_reached(ticket, market.tape.last_price):
            raise WouldTrigger
        is_post_only = ticket.type is OrderType.LIMIT_MAKER and ticket.price is not None
        if is_post_only and ticket.price is not None and market.book.would_take(ticket.side, ticket.price):
            raise WouldTake

    def _new_order(self, account: Account, ticket: Ticket) -> Order:
        now = self.now_ms()
        order = Order(
            self._next_order_id, ticket.symbol, ticket.side, ticket.type, ticket.quantity, account.api_key,
            ticket.client_order_id, ticket.price, ticket.time_in_force, ticket.quote_quantity, ticket.stop_price,
            now, now, reduce_only=ticket.reduce_only, labels=ticket.labels,
        )  # fmt: skip
        if not ticket.type.is_triggered:
            order.working_ms = now
        return order

    def _register(self, account: Account, order: Order) -> None:
        self._next_order_id += 1
        self.orders_placed += 1
        key = (order.symbol, order.client_order_id)
        account.orders[order.order_id] = account.open_orders[order.order_id] = order
        account.open_by_client_id[key] = account.latest_by_client_id[key] = order

    # inside: matching

    def _work(self, market: Market, order: Order) -> None:
        """Sends an order into the book and settles what it traded."""
        self._apply(market, market.book.submit(order))
        self.bank.relock(self.bank.get(order.owner), order, market.instrument)
        if order.status is OrderStatus.EXPIRED:
            self._report(order, "EXPIRED")
        if not order.is_open:
            self._close(order)

    def _apply(self, market: Market, matches: list[Match]) -> None:
        if not matches:
            return
        now = self.now_ms()
        trades, aggregates = market.tape.record(matches, now)
        market.trades += trades
        market.aggregates += aggregates
        for match, trade in zip(matches, trades, strict=True):
            self._settle(market, match, trade, match.taker_side, match.taker, match.taker_progress, False)
            self._settle(market, match, trade, match.taker_side.opposite, match.maker, match.maker_progress, True)

    def _settle(
        self,
        market: Market,
        match: Match,
        trade: Trade,
        side: Side,
        order: Order | None,
        progress: Progress | None,
        is_maker: bool,
    ) -> None:
        if order is None or progress is None:
            self.bank.settle_house(match, side, market.instrument)
            return
        account = self.bank.get(order.owner)
        fill = self.bank.settle(match, order, market.instrument, trade, is_maker)
        self.fills += 1
        order.updated_ms = account.updated_ms = trade.time_ms
        self._report(order, "TRADE", progress, fill)
        if is_maker:
            self.bank.relock(account, order, market.instrument)
            if not order.is_open:
                self._close(order)

    # inside: stop orders

    def _trigger(self, market: Market) -> None:
        """Sends in every waiting order whose stop price the last trade has reached; their trades may reach more."""
        while reached := [order for order in market.waiting if _is_reached(order, market.tape.last_price)]:
            order = reached[0]
            market.waiting.remove(order)
            order.working_ms = order.updated_ms = self.now_ms()
            self._report(order, "NEW")
            if self._fund_triggered(market, order):
                self._work(market, order)

    def _fund_triggered(self, market: Market, order: Order) -> bool:
        """Without cover the order expires."""
        try:
            self.bank.admit_triggered(self.bank.get(order.owner), order, market.instrument, market.book)
        except InsufficientBalance:
            order.expire(ExpiryReason.REJECTED)
            self._report(order, "EXPIRED")
            self._close(order)
            return False
        return True

    # inside: telling

    def _finish(self, market: Market) -> None:
        if market.waiting:
            self._trigger(market)
        self._flush(market.instrument.symbol)

    def _report(
        self, order: Order, kind: str, progress: Progress | None = None, fill: Fill | None = None, cancel_id: str = ""
    ) -> None:
        """Notes a change, at the moment of the order's last one: REST, streams and ledger tell the same time of it."""
        moment = order.updated_ms
        self.bank.get(order.owner).updated_ms = moment
        state = progress or Progress(order.status, order.executed, order.quote_executed)
        change = self._changes[order.owner]
        change.reports.append(Report(order, kind, state, moment, self._next_execution_id, fill, cancel_id))
        self._next_execution_id += 1
        instrument = self.markets[order.symbol].instrument
        change.assets |= dict.fromkeys(self.bank.assets_moved(order, instrument, fill))

    def _close(self, order: Order) -> None:
        account = self.bank.get(order.owner)
        account.updated_ms = order.updated_ms
        account.open_orders.pop(order.order_id, None)
        account.open_by_client_id.pop((order.symbol, order.client_order_id), None)

    def _expire_unbacked(self, market: Market) -> None:
        """Orders that a fill has made impossible go."""
        traded = {key for key, change in self._changes.items() if any(report.fill for report in change.reports)}
        for key in traded:
            for order in self.bank.unbacked(self.bank.get(key), market.instrument.symbol):
                market.book.withdraw(order)
                order.expire(ExpiryReason.REJECTED)
                order.updated_ms = self.now_ms()
                self._report(order, "EXPIRED")
                self._close(order)

    def _flush(self, symbol: str) -> None:
        market = self.markets[symbol]
        self._expire_unbacked(market)
        trades, market.trades = market.trades, []
        aggregates, market.aggregates = market.aggregates, []
        changes, self._changes = self._changes, defaultdict(AccountChange)
        for listener in self.listeners:
            listener.market_moved(symbol, trades, aggregates)
            for api_key, change in changes.items():
                listener.account_changed(self.bank.get(api_key), change)


def _is_reached(order: Ticket | Order, last_price: Decimal) -> bool:
    """A stop above the market fires upwards, one below it downwards."""
    if order.stop_price is None:
        return False
    upwards = (order.side is Side.BUY) is (order.type in (OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT))
    return last_price >= order.stop_price if upwards else last_price <= order.stop_price
