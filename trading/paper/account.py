"""What an exchange would keep of one paper account: its money, its orders and what they traded. No clock, no I/O.

Orders meet the depth that the market shows in the order book of the simulated exchange, one a symbol: what fills at
once walks that depth and pays the set slippage on top; what rests waits behind what is shown at its price, until trades
print there or quotes cross it. Orders of two accounts never meet.

Nothing here is stored. An order exists once its acceptance is booked, a fill once its trade is: an account that is
built again from orders and trades is as if what was not booked had never been (trading/paper/exchange.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import count

from connections.gateways import (
    AccountPosition,
    AssetBalance,
    Fill,
    MarginType,
    OrderRejected,
    OrderReport,
    OrderRequest,
    OrderType,
    ReportStatus,
    Side,
    SymbolRules,
    TimeInForce,
    UnknownOrder,
    Unreachable,
)
from connections.simulator import matching
from desproject.lib.money import ZERO, exact, floor_to, settle
from trading.positions import PositionState, apply_fill, is_on_margin

Level = tuple[Decimal, Decimal]
Levels = Sequence[Level]

# The exchange's ids of paper orders and their trades begin with it.
PREFIX = "paper-"
# Ended orders that can still be asked for.
_REMEMBERED = 500
_LOT = Decimal("1e-8")
# Nothing is borrowed on paper, whatever the real account's setting is.
LEVERAGE = 1
_TYPES = {
    OrderType.MARKET: matching.OrderType.MARKET,
    OrderType.LIMIT: matching.OrderType.LIMIT,
    OrderType.POST_ONLY: matching.OrderType.LIMIT_MAKER,
}
_STATUSES = {
    matching.OrderStatus.NEW: ReportStatus.WORKING,
    matching.OrderStatus.PARTIALLY_FILLED: ReportStatus.PARTIALLY_FILLED,
    matching.OrderStatus.FILLED: ReportStatus.FILLED,
    matching.OrderStatus.CANCELED: ReportStatus.CANCELLED,
    matching.OrderStatus.EXPIRED: ReportStatus.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What trading costs: parts of what a fill brings, and of the price of what fills at once."""

    fee_rate: Decimal
    slippage_rate: Decimal


@dataclass(slots=True)
class PaperOrder:
    """An order with its place in the book and its fills."""

    request: OrderRequest
    rules: SymbolRules
    entry: matching.Order
    fills: list[Fill] = field(default_factory=list)

    @property
    def exchange_id(self) -> str:
        return f"{PREFIX}{self.request.client_order_id}"

    def report(self, now: datetime) -> OrderReport:
        """Its state, with all of its fills."""
        return OrderReport(
            self.request.client_order_id, self.exchange_id, self.request.symbol, self.request.side, self.request.type,
            self.request.time_in_force, _STATUSES[self.entry.status], self.request.quantity, self.request.price,
            self.entry.executed, now, tuple(self.fills),
        )  # fmt: skip


class PaperAccount:
    """One account. ``held`` is what it has of each asset, what is locked included."""

    def __init__(self, held: dict[str, Decimal], terms: Terms) -> None:
        self.held = held
        self.positions: dict[str, PositionState] = {}
        self._terms = terms
        self._orders: dict[str, PaperOrder] = {}
        self._books: dict[str, matching.OrderBook] = {}
        self._touched: dict[str, PaperOrder] = {}
        self._numbers = count(1)

    # What was booked, at the start.

    def restore_trade(self, fill: Fill, rules: SymbolRules) -> None:
        """Takes in a trade that was booked, oldest first."""
        self._move(fill, rules)

    def restore_order(self, request: OrderRequest, rules: SymbolRules, fills: Iterable[Fill]) -> None:
        """Takes in an order that rests; what it traded was told by ``restore_trade``."""
        order = self._order(request, rules)
        order.fills = list(fills)
        order.entry.executed = sum((fill.quantity for fill in order.fills), ZERO)
        if order.fills:
            order.entry.status = matching.OrderStatus.PARTIALLY_FILLED
        self._orders[request.client_order_id] = order
        self._book(request.symbol).submit(order.entry)

    # Orders.

    def place(self, request: OrderRequest, rules: SymbolRules, bids: Levels, asks: Levels, now: datetime) -> PaperOrder:
        """Matches an order with what the market shows; its rest waits or expires as its type and lifetime say.

        Raises Unreachable where the market shows nothing, OrderRejected.
        """
        if known := self._orders.get(request.client_order_id):
            return known
        if not (bids and asks):
            raise Unreachable(f"no price of {request.symbol} is known")
        book = self._book(request.symbol)
        shown = _show(book, matching.Side.BUY, bids) + _show(book, matching.Side.SELL, asks)
        self._book_matches(shown, now)
        order = self._order(request, rules)
        self._require_money(book, order)
        try:
            matches = book.submit(order.entry)
        except matching.WouldTake:
            reason = "a post-only order would have filled at once"
            raise OrderRejected(reason, exchange_code="PAPER_WOULD_TAKE") from None
        self._orders[request.client_order_id] = order
        self._book_matches(matches, now)
        self._forget_old()
        return order

    def cancel(self, client_order_id: str) -> PaperOrder:
        """Raises UnknownOrder for one that isn't open."""
        order = self.order(client_order_id)
        if not order.entry.is_open:
            raise UnknownOrder("the paper order isn't open")
        self._book(order.request.symbol).cancel(order.entry)
        return order

    def order(self, client_order_id: str) -> PaperOrder:
        """By either of its ids. Raises UnknownOrder."""
        found = self._orders.get(client_order_id.removeprefix(PREFIX))
        if found is None:
            raise UnknownOrder("no such paper order")
        return found

    @property
    def open_orders(self) -> list[PaperOrder]:
        return [order for order in self._orders.values() if order.entry.is_open]

    @property
    def resting_symbols(self) -> set[str]:
        return {order.request.symbol for order in self.open_orders}

    @property
    def fills(self) -> list[Fill]:
        """Those of the orders that are remembered."""
        return [fill for order in self._orders.values() for fill in order.fills]

    # The market.

    def on_quote(self, symbol: str, bid: Level, ask: Level, now: datetime) -> None:
        """New best prices, each with its size: what rests in their way is filled."""
        book = self._book(symbol)
        self._book_matches(book.set_top(matching.Side.BUY, *bid) + book.set_top(matching.Side.SELL, *ask), now)

    def on_trade(self, symbol: str, price: Decimal, quantity: Decimal, now: datetime) -> None:
        """A public trade: what rests at its price or better is met before it."""
        for side in {order.request.side for order in self.open_orders if _meets(order, symbol, price)}:
            self._book_matches(self._book(symbol).print_trade(_opposite(side), price, quantity), now)

    def touched(self) -> list[PaperOrder]:
        """The orders that were filled, in part or whole, since this was last asked."""
        found, self._touched = list(self._touched.values()), {}
        return found

    # Money.

    def balances(self) -> tuple[AssetBalance, ...]:
        locked = self._locked()
        return tuple(
            AssetBalance(asset, max(held - locked.get(asset, ZERO), ZERO), min(locked.get(asset, ZERO), held))
            for asset, held in self.held.items()
        )

    def open_positions(self, marks: dict[str, Decimal]) -> list[AccountPosition]:
        """Positions on margin; ``marks`` are prices by symbol."""
        return [
            AccountPosition(
                symbol, row.quantity, row.average_price, mark := marks.get(symbol, row.average_price),
                settle((mark - row.average_price) * row.quantity), LEVERAGE, MarginType.CROSS, None,
            )
            for symbol, row in self.positions.items()
            if is_on_margin(symbol) and row.quantity
        ]  # fmt: skip

    def _locked(self) -> dict[str, Decimal]:
        locked: dict[str, Decimal] = {}
        for order in self.open_orders:
            request = order.request
            if not is_on_margin(request.symbol) and request.price is not None:
                asset, amount = _spends(order, order.entry.remaining, request.price)
                locked[asset] = locked.get(asset, ZERO) + amount
        return locked

    def _require_money(self, book: matching.OrderBook, order: PaperOrder) -> None:
        request = order.request
        if is_on_margin(request.symbol):
            return  # the engine reserves margin; a loss may take the account below nothing, as at no exchange
        if request.price is not None:
            price = request.price
        else:
            got, paid = book.cost(matching.Side(request.side.upper()), request.quantity)
            price = paid / got * (1 + self._terms.slippage_rate) if got else ZERO
        asset, amount = _spends(order, request.quantity, price)
        if self.held.get(asset, ZERO) - self._locked().get(asset, ZERO) < amount:
            raise OrderRejected(f"the paper account has not enough {asset}", exchange_code="PAPER_BALANCE")

    def _book_matches(self, matches: Sequence[matching.Match], now: datetime) -> None:
        for match in matches:
            for entry, liquidity in ((match.taker, "taker"), (match.maker, "maker")):
                order = self._orders.get(entry.client_order_id) if entry is not None else None
                if order is not None:
                    self._fill(order, match, liquidity, now)
                    self._touched[order.request.client_order_id] = order

    def _fill(self, order: PaperOrder, match: matching.Match, liquidity: str, now: datetime) -> None:
        request, rules = order.request, order.rules
        price = self._slipped(order, match.price) if liquidity == "taker" else match.price
        buys = request.side == Side.BUY
        with exact():
            if buys and not is_on_margin(request.symbol):
                fee, asset = settle(match.quantity * self._terms.fee_rate), rules.base
            else:
                fee, asset = settle(match.quantity * price * self._terms.fee_rate), rules.quote
        fill = Fill(
            f"{order.exchange_id}-{len(order.fills) + 1}", order.exchange_id, request.symbol, request.side,
            match.quantity, price, fee, asset, liquidity, now,
        )  # fmt: skip
        order.fills.append(fill)
        self._move(fill, rules)

    def _slipped(self, order: PaperOrder, price: Decimal) -> Decimal:
        """A price on the exchange's steps, worse by the slippage, never beyond the limit."""
        limit, step = order.request.price, order.rules.price_step_at(price)
        with exact():
            if order.request.side == Side.SELL:
                worse = floor_to(price * (1 - self._terms.slippage_rate), step)
                return max(worse, limit) if limit is not None else max(worse, step)
            wanted = price * (1 + self._terms.slippage_rate)
            worse = floor_to(wanted, step)
            worse = worse + step if worse < wanted else worse
            return min(worse, limit) if limit is not None else worse

    def _move(self, fill: Fill, rules: SymbolRules) -> None:
        on_margin = is_on_margin(fill.symbol)
        state, realized = apply_fill(
            self.positions.get(fill.symbol, PositionState()), fill.side, fill.quantity, fill.price, fill.fee,
            fill.fee_asset, rules.base, rules.quote, on_margin=on_margin,
        )  # fmt: skip
        self.positions[fill.symbol] = state
        if on_margin:
            self._add(rules.quote, realized)
            return
        sign = 1 if fill.side == Side.BUY else -1
        self._add(rules.base, sign * fill.quantity)
        self._add(rules.quote, -sign * settle(fill.quantity * fill.price))
        self._add(fill.fee_asset, -fill.fee)

    def _add(self, asset: str, amount: Decimal) -> None:
        with exact():
            self.held[asset] = self.held.get(asset, ZERO) + amount

    def _order(self, request: OrderRequest, rules: SymbolRules) -> PaperOrder:
        entry = matching.Order(
            next(self._numbers), request.symbol, matching.Side(request.side.upper()), _TYPES[request.type],
            request.quantity, client_order_id=request.client_order_id, price=request.price,
            time_in_force=matching.TimeInForce(TimeInForce(request.time_in_force).upper()),
        )  # fmt: skip
        return PaperOrder(request, rules, entry)

    def _book(self, symbol: str) -> matching.OrderBook:
        book = self._books.get(symbol)
        if book is None:
            book = self._books[symbol] = matching.OrderBook(symbol, _LOT)
        return book

    def _forget_old(self) -> None:
        ended = [key for key, order in self._orders.items() if not order.entry.is_open]
        for key in ended[: max(len(self._orders) - _REMEMBERED, 0)]:
            del self._orders[key]


def _spends(order: PaperOrder, quantity: Decimal, price: Decimal) -> tuple[str, Decimal]:
    if order.request.side == Side.SELL:
        return order.rules.base, quantity
    return order.rules.quote, settle(quantity * price)


def _opposite(side: Side) -> matching.Side:
    return matching.Side.SELL if side == Side.BUY else matching.Side.BUY


def _meets(order: PaperOrder, symbol: str, price: Decimal) -> bool:
    limit = order.request.price
    if limit is None or order.request.symbol != symbol:
        return False
    return limit >= price if order.request.side == Side.BUY else limit <= price


def _show(book: matching.OrderBook, side: matching.Side, levels: Levels) -> list[matching.Match]:
    """Makes the market's depth what is shown, keeping the places of what rests there; what that traded."""
    shown = dict(levels)
    gone = [(price, ZERO) for price, _ in book.depth(side) if price not in shown]
    return [match for price, size in (*gone, *levels) for match in book.quote(side, price, size)]
