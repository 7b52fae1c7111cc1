"""A price-time order book for one symbol: pure, no clock, no accounts, no I/O.

Two kinds of liquidity rest in it: orders, and *house quotes*, which are the depth that a market source shows
(a random walk, a recording, live prices on paper). Both queue at their price by arrival. Callers read what
happened from the returned matches; who pays whom is the business of whoever keeps the accounts.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum
from itertools import islice, takewhile
from typing import NamedTuple

ZERO = Decimal(0)


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    LIMIT = "LIMIT"
    MARKET = "MARKET"
    LIMIT_MAKER = "LIMIT_MAKER"
    STOP_LOSS = "STOP_LOSS"
    STOP_LOSS_LIMIT = "STOP_LOSS_LIMIT"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_LIMIT = "TAKE_PROFIT_LIMIT"

    @property
    def has_limit(self) -> bool:
        """Whether it trades at its own price or better, and so can rest."""
        return self not in _PRICELESS

    @property
    def is_triggered(self) -> bool:
        """Whether it waits for a stop price before it enters the book."""
        return self in _TRIGGERED


_PRICELESS = frozenset({OrderType.MARKET, OrderType.STOP_LOSS, OrderType.TAKE_PROFIT})
_TRIGGERED = frozenset(
    {OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT}
)


class TimeInForce(StrEnum):
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"


class OrderStatus(StrEnum):
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"

    @property
    def is_open(self) -> bool:
        return self in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


class ExpiryReason(StrEnum):
    IOC = "UNFILLED_IOC_QUANTITY_EXPIRED"
    FOK = "UNFILLED_FOK_ORDER_EXPIRED"
    LIQUIDITY = "INSUFFICIENT_LIQUIDITY"
    REJECTED = "REJECTED"


class WouldTake(Exception):
    """A post-only order would have matched at once."""


@dataclass(slots=True, eq=False)
class Order:
    """An order and how far it has got. Prices are quote per base; `quote_quantity` is a market order's budget."""

    order_id: int
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    owner: str = ""
    client_order_id: str = ""
    price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    quote_quantity: Decimal | None = None
    stop_price: Decimal | None = None
    created_ms: int = 0
    updated_ms: int = 0
    working_ms: int = -1
    status: OrderStatus = OrderStatus.NEW
    executed: Decimal = ZERO
    quote_executed: Decimal = ZERO
    expiry_reason: ExpiryReason | None = None
    locked: Decimal = ZERO
    # Where a buy's fee comes on top of what it pays: the rate that its lock holds for it.
    fee_on_top: Decimal = ZERO
    reduce_only: bool = False
    labels: dict[str, int] = field(default_factory=dict)

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed

    @property
    def is_open(self) -> bool:
        return self.status.is_open

    def take(self, quantity: Decimal, quote: Decimal) -> None:
        """Counts one match."""
        self.executed += quantity
        self.quote_executed += quote
        filled = self.quote_quantity is None and self.executed >= self.quantity
        self.status = OrderStatus.FILLED if filled else OrderStatus.PARTIALLY_FILLED

    def expire(self, reason: ExpiryReason) -> None:
        self.status = OrderStatus.EXPIRED
        self.expiry_reason = reason


class HouseQuote:
    """Liquidity of the market source: nobody's order."""

    __slots__ = ("remaining",)

    def __init__(self, remaining: Decimal) -> None:
        self.remaining = remaining

    def take(self, quantity: Decimal, _quote: Decimal) -> None:
        self.remaining -= quantity


class Progress(NamedTuple):
    """How far an order was right after one match."""

    status: OrderStatus
    executed: Decimal
    quote_executed: Decimal


class Match(NamedTuple):
    """One trade. `taker` or `maker` is None where the house traded."""

    price: Decimal
    quantity: Decimal
    quote: Decimal
    taker_side: Side
    taker: Order | None = None
    maker: Order | None = None
    taker_progress: Progress | None = None
    maker_progress: Progress | None = None


class Level:
    """Everything that rests at one price, first come first."""

    __slots__ = ("entries", "total")

    def __init__(self) -> None:
        self.entries: deque[Order | HouseQuote] = deque()
        self.total = ZERO

    def house_quantity(self) -> Decimal:
        return sum((entry.remaining for entry in self.entries if isinstance(entry, HouseQuote)), ZERO)

    def append(self, entry: Order | HouseQuote) -> None:
        self.entries.append(entry)
        self.total += entry.remaining

    def discard(self, entry: Order | HouseQuote) -> None:
        self.entries.remove(entry)
        self.total -= entry.remaining

    def resize_house(self, quantity: Decimal) -> None:
        """Makes the house's share `quantity`: growth queues at the end, shrinking takes from the end."""
        if len(self.entries) == 1 and isinstance(only := self.entries[0], HouseQuote) and quantity:
            only.remaining = self.total = quantity
            return
        change = quantity - self.house_quantity()
        if change > 0:
            self._grow_house(change)
        for entry in [entry for entry in reversed(self.entries) if isinstance(entry, HouseQuote)]:
            if change >= 0:
                break
            change += self._shrink(entry, -change)

    def _grow_house(self, quantity: Decimal) -> None:
        last = self.entries[-1] if self.entries else None
        if isinstance(last, HouseQuote):
            last.remaining += quantity
            self.total += quantity
        else:
            self.append(HouseQuote(quantity))

    def _shrink(self, entry: HouseQuote, wanted: Decimal) -> Decimal:
        cut = min(entry.remaining, wanted)
        entry.remaining -= cut
        self.total -= cut
        if not entry.remaining:
            self.entries.remove(entry)
        return cut


class HalfBook:
    """One side's levels, by price."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.levels: dict[Decimal, Level] = {}
        self._prices: list[Decimal] = []

    def best(self) -> Decimal | None:
        if not self._prices:
            return None
        return self._prices[-1] if self.side is Side.BUY else self._prices[0]

    def prices(self) -> Iterator[Decimal]:
        """Best first."""
        return reversed(self._prices) if self.side is Side.BUY else iter(self._prices)

    def reached_by(self, limit: Decimal | None) -> bool:
        """Whether an opposite order with this limit (None: any price) trades against the best level."""
        best = self.best()
        if best is None:
            return False
        return limit is None or (limit >= best if self.side is Side.SELL else limit <= best)

    def level(self, price: Decimal) -> Level:
        """The level at `price`, made if missing."""
        level = self.levels.get(price)
        if level is None:
            level = self.levels[price] = Level()
            insort(self._prices, price)
        return level

    def drop_if_empty(self, price: Decimal) -> None:
        if not self.levels[price].entries:
            del self.levels[price]
            del self._prices[bisect_left(self._prices, price)]


class OrderBook:
    """The book of one symbol.

    `update_id` counts every change of a level's total; `drain_changes` says which levels changed.
    Quote amounts are cut to `quote_unit`, quantities bought for a budget to `lot`.
    """

    def __init__(self, symbol: str, lot: Decimal, quote_unit: Decimal = Decimal("1e-8"), update_id: int = 1) -> None:
        self.symbol = symbol
        self.update_id = update_id
        self.last_price: Decimal | None = None
        self._lot = lot
        self._quote_unit = quote_unit
        self._sides = {side: HalfBook(side) for side in Side}
        self._changed: set[tuple[Side, Decimal]] = set()

    # reading

    def best(self, side: Side) -> tuple[Decimal, Decimal] | None:
        """Best price of that side and the quantity shown there."""
        half = self._sides[side]
        price = half.best()
        return None if price is None else (price, half.levels[price].total)

    def depth(self, side: Side, limit: int | None = None) -> list[tuple[Decimal, Decimal]]:
        """(price, quantity) of the first `limit` levels, best first."""
        return list(islice(self._shown(side), limit))

    def total_at(self, side: Side, price: Decimal) -> Decimal:
        level = self._sides[side].levels.get(price)
        return ZERO if level is None else level.total

    def drain_changes(self) -> set[tuple[Side, Decimal]]:
        """The levels changed since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    def cost(self, side: Side, quantity: Decimal) -> tuple[Decimal, Decimal]:
        """What a market order of `quantity` would get: (base quantity, quote amount)."""
        got = paid = ZERO
        for price, shown in self._shown(side.opposite):
            if got >= quantity:
                break
            part = min(shown, quantity - got)
            got += part
            paid += self._quote(price, part)
        return got, paid

    def base_for(self, side: Side, budget: Decimal) -> Decimal:
        """The base quantity that a market order with this quote budget would trade."""
        got = ZERO
        for price, shown in self._shown(side.opposite):
            part = min(shown, self._lots(budget / price))
            got += part
            budget -= self._quote(price, part)
            if part < shown:
                break
        return got

    def would_take(self, side: Side, price: Decimal) -> bool:
        return self._sides[side.opposite].reached_by(price)

    # orders

    def submit(self, order: Order) -> list[Match]:
        """Matches an order; what remains rests or expires as its type and time in force say.

        Raises WouldTake for a LIMIT_MAKER that would match.
        """
        limit = order.price if order.type.has_limit else None
        if order.type is OrderType.LIMIT_MAKER and limit is not None and self.would_take(order.side, limit):
            raise WouldTake
        if order.time_in_force is TimeInForce.FOK and not self._can_fill(order, limit):
            order.expire(ExpiryReason.FOK)
            return []
        matches = list(self._match_order(order, limit))
        self._settle_remainder(order)
        if matches and order.status is OrderStatus.FILLED:
            # Only now is it known that a budget's last match was its last.
            matches[-1] = matches[-1]._replace(taker_progress=_progress(order))
        return matches

    def cancel(self, order: Order) -> None:
        """Takes an open order off the book (or marks one that waits for its trigger)."""
        self.withdraw(order)
        order.status = OrderStatus.CANCELED

    def withdraw(self, order: Order) -> None:
        """Takes an order's rest off the book, if it rests there."""
        half = self._sides[order.side]
        level = half.levels.get(order.price) if order.price is not None else None
        if level is None or order.price is None or order not in level.entries:
            return
        level.discard(order)
        self._touch(half, order.price)

    # the house

    def quote(self, side: Side, price: Decimal, quantity: Decimal) -> list[Match]:
        """Shows `quantity` of house liquidity at `price` (0 removes it).

        A quote through resting orders trades with them first; house quotes in its way are stale and go.
        """
        half = self._sides[side]
        if not quantity and price not in half.levels:
            return []
        matches: list[Match] = []
        if quantity and self._sides[side.opposite].reached_by(price):
            matches = list(self._cross_house(side, price, quantity))
            quantity -= sum((match.quantity for match in matches), ZERO)
        before = self.total_at(side, price)
        half.level(price).resize_house(quantity)
        self._touch(half, price, before)
        return matches

    def trade(self, side: Side, quantity: Decimal, limit: Decimal | None = None) -> list[Match]:
        """An anonymous taker sweeps the book up to `limit`; what finds nothing is dropped."""
        return list(self._sweep(side, quantity, limit))

    def print_trade(self, side: Side, price: Decimal, quantity: Decimal) -> list[Match]:
        """A recorded trade at `price`: through resting orders first, the rest prints against nobody.

        House quotes better than the price must have been gone when it was recorded, so they go.
        """
        self._drop_house_better_than(self._sides[side.opposite], price)
        matches = list(self._sweep(side, quantity, price))
        rest = quantity - sum((match.quantity for match in matches), ZERO)
        if rest > 0:
            matches.append(self._record(price, rest, side, None, None))
        return matches

    def set_top(self, side: Side, price: Decimal, quantity: Decimal) -> list[Match]:
        """The house's best level of that side is this one: better house quotes go."""
        self._drop_house_better_than(self._sides[side], price)
        return self.quote(side, price, quantity)

    def clear_house(self) -> None:
        """Removes every house quote."""
        for half in self._sides.values():
            for price in list(half.levels):
                self._drop_house(half, price)

    # inside

    def _shown(self, side: Side) -> Iterator[tuple[Decimal, Decimal]]:
        half = self._sides[side]
        return ((price, half.levels[price].total) for price in half.prices())

    def _quote(self, price: Decimal, quantity: Decimal) -> Decimal:
        return (price * quantity).quantize(self._quote_unit, rounding=ROUND_DOWN)

    def _touch(self, half: HalfBook, price: Decimal, before: Decimal | None = None) -> None:
        level = half.levels[price]
        if level.total != before:
            self.update_id += 1
            self._changed.add((half.side, price))
        if not level.entries:
            half.drop_if_empty(price)

    def _can_fill(self, order: Order, limit: Decimal | None) -> bool:
        missing = order.remaining
        for price, shown in self._shown(order.side.opposite):
            beyond = limit is not None and (price > limit if order.side is Side.BUY else price < limit)
            if beyond or missing <= 0:
                break
            missing -= shown
        return missing <= 0

    def _wanted(self, order: Order, price: Decimal) -> Decimal:
        """How much an order still takes at `price`."""
        if order.quote_quantity is None:
            return order.remaining
        return self._lots((order.quote_quantity - order.quote_executed) / price)

    def _lots(self, quantity: Decimal) -> Decimal:
        return (quantity / self._lot).to_integral_value(rounding=ROUND_DOWN) * self._lot

    def _match_order(self, order: Order, limit: Decimal | None) -> Iterator[Match]:
        half = self._sides[order.side.opposite]
        while order.is_open and half.reached_by(limit):
            price = half.best()
            assert price is not None  # noqa: S101 - reached_by saw it
            wanted = self._wanted(order, price)
            if wanted <= 0:
                return
            yield self._take_first(half, price, wanted, order)

    def _sweep(self, side: Side, quantity: Decimal, limit: Decimal | None) -> Iterator[Match]:
        half = self._sides[side.opposite]
        while quantity > 0 and half.reached_by(limit):
            price = half.best()
            assert price is not None  # noqa: S101 - reached_by saw it
            match = self._take_first(half, price, quantity, None)
            quantity -= match.quantity
            yield match

    def _cross_house(self, side: Side, limit: Decimal, quantity: Decimal) -> Iterator[Match]:
        half = self._sides[side.opposite]
        while half.reached_by(limit) and quantity > 0:
            price = half.best()
            assert price is not None  # noqa: S101 - reached_by saw it
            self._drop_house(half, price)
            if price in half.levels:
                match = self._take_first(half, price, quantity, None)
                quantity -= match.quantity
                yield match

    def _take_first(self, half: HalfBook, price: Decimal, wanted: Decimal, taker: Order | None) -> Match:
        level = half.levels[price]
        maker = level.entries[0]
        quantity = min(wanted, maker.remaining)
        match = self._record(price, quantity, half.side.opposite, taker, maker)
        level.total -= quantity
        if not maker.remaining:
            level.entries.popleft()
        self._touch(half, price)
        return match

    def _record(
        self, price: Decimal, quantity: Decimal, side: Side, taker: Order | None, maker: Order | HouseQuote | None
    ) -> Match:
        quote = self._quote(price, quantity)
        for party in (taker, maker):
            if party is not None:
                party.take(quantity, quote)
        self.last_price = price
        order = maker if isinstance(maker, Order) else None
        return Match(price, quantity, quote, side, taker, order, _progress(taker), _progress(order))

    def _settle_remainder(self, order: Order) -> None:
        if not order.is_open:
            return
        if order.quote_quantity is not None:
            self._settle_budget(order)
        elif not order.type.has_limit:
            order.expire(ExpiryReason.LIQUIDITY)
        elif order.time_in_force is TimeInForce.IOC:
            order.expire(ExpiryReason.IOC)
        else:
            self._rest(order)

    def _settle_budget(self, order: Order) -> None:
        """A budget is spent when the rest buys less than one lot, unless the book ran dry first."""
        best = self.best(order.side.opposite)
        spent = order.executed > 0 and best is not None and self._wanted(order, best[0]) <= 0
        order.quantity = order.executed
        if spent:
            order.status = OrderStatus.FILLED
        else:
            order.expire(ExpiryReason.LIQUIDITY)

    def _rest(self, order: Order) -> None:
        assert order.price is not None  # noqa: S101 - only orders with a limit rest
        half = self._sides[order.side]
        half.level(order.price).append(order)
        self._touch(half, order.price)

    def _drop_house_better_than(self, half: HalfBook, price: Decimal) -> None:
        def is_better(other: Decimal) -> bool:
            return other > price if half.side is Side.BUY else other < price

        for better in list(takewhile(is_better, half.prices())):
            self._drop_house(half, better)

    def _drop_house(self, half: HalfBook, price: Decimal) -> None:
        level = half.levels[price]
        before = level.total
        level.resize_house(ZERO)
        self._touch(half, price, before)


def _progress(order: Order | None) -> Progress | None:
    return None if order is None else Progress(order.status, order.executed, order.quote_executed)
