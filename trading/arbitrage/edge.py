"""What buying on one exchange and selling on another at the same time would win, after fees and slippage (ARB-1).

Both books are walked level by level: a level counts while its own net rate is at least the one that is asked for, so
the whole fire's is too. The quantity is the least of what the levels, the depth share, the size and both balances
allow, in steps that both exchanges take.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from connections.gateways import SymbolRules
from desproject.lib.money import ZERO, exact, floor_to, settle

Levels = tuple[tuple[Decimal, Decimal], ...]
# What is reserved for a purchase may be so much above the level that it is decided on (ADR 15).
_PURCHASE_MARGIN = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Book:
    """A symbol's best levels (price, size), best first, as of ``age_ms`` ago. ``trusted`` is what the feed says."""

    bids: Levels
    asks: Levels
    age_ms: float
    trusted: bool = True

    @property
    def is_whole(self) -> bool:
        """Both sides are there, sorted, positive, and don't cross."""
        if not self.bids or not self.asks or self.bids[0][0] >= self.asks[0][0]:
            return False
        if any(price <= 0 or size <= 0 for price, size in (*self.bids, *self.asks)):
            return False
        falling = all(one[0] > other[0] for one, other in zip(self.bids, self.bids[1:], strict=False))
        rising = all(one[0] < other[0] for one, other in zip(self.asks, self.asks[1:], strict=False))
        return falling and rising


@dataclass(frozen=True, slots=True)
class Market:
    """One of the two sides: its book, its filters, its taker fee (a share of an order's worth, in the quote asset),
    and what can be spent there of either asset."""

    book: Book
    rules: SymbolRules
    fee: Decimal
    quote_available: Decimal
    base_available: Decimal


@dataclass(frozen=True, slots=True)
class Terms:
    """What a fire has to keep to: ``rate`` of the purchase's worth is won at least. The size's limit is in base or in
    quote; None is no limit. ``depth_share`` of each side's known depth is taken at most; limit orders are used where
    the needed side holds ``deep_multiple`` times the quantity. Books older than ``max_age_ms`` count as not there."""

    rate: Decimal
    max_base: Decimal | None
    max_quote: Decimal | None
    depth_share: Decimal
    deep_multiple: Decimal
    max_age_ms: float


@dataclass(frozen=True, slots=True)
class Opportunity:
    """A fire that is worth it. Prices are averages over the levels walked; ``worst_…`` those of the last level. The
    profit is in the quote asset, fees taken off."""

    buys_on_first: bool
    quantity: Decimal
    buy_price: Decimal
    sell_price: Decimal
    worst_buy: Decimal
    worst_sell: Decimal
    profit: Decimal
    is_deep: bool


class Short(StrEnum):
    """Which balance doesn't allow even the least order of a fire that would be worth it."""

    QUOTE = "quote"
    BASE = "base"


@dataclass(frozen=True, slots=True)
class Shortfall:
    buys_on_first: bool
    short: Short


def find(first: Market, second: Market, terms: Terms) -> Opportunity | Shortfall | None:
    """The fire between two markets, in the direction in which there is one: at most one, as no book is crossed."""
    for market in (first, second):
        if not market.book.trusted or not 0 <= market.book.age_ms <= terms.max_age_ms or not market.book.is_whole:
            return None
    with exact():
        return _one_way(first, second, terms, buys_on_first=True) or _one_way(
            second, first, terms, buys_on_first=False
        )


def is_promising(first: Book, second: Book, fee: Decimal, other_fee: Decimal, rate: Decimal) -> bool:
    """Whether the best levels alone would be worth it: what is looked at before anything else."""
    if not (first.trusted and second.trusted and first.bids and first.asks and second.bids and second.asks):
        return False
    return (
        net_rate(first.asks[0][0], fee, second.bids[0][0], other_fee) >= rate
        or net_rate(second.asks[0][0], other_fee, first.bids[0][0], fee) >= rate
    )


def net_rate(ask: Decimal, buy_fee: Decimal, bid: Decimal, sell_fee: Decimal) -> Decimal:
    """What one unit wins, as a share of what its purchase costs."""
    cost = ask * (1 + buy_fee)
    return bid * (1 - sell_fee) / cost - 1


def _one_way(buy: Market, sell: Market, terms: Terms, *, buys_on_first: bool) -> Opportunity | Shortfall | None:
    worth_it = _worth_it(buy, sell, terms.rate)
    if not worth_it:
        return None
    wanted = _wanted(buy, sell, terms, worth_it)
    if not _is_orderable(buy, sell, _rounded(buy, sell, wanted)):
        return None
    worst_ask = _last_price(buy.book.asks, wanted)
    payable = buy.quote_available / (worst_ask * (1 + max(_PURCHASE_MARGIN, buy.fee)))
    quantity = _rounded(buy, sell, min(wanted, payable, sell.base_available))
    if not _is_orderable(buy, sell, quantity):
        return Shortfall(buys_on_first, Short.QUOTE if payable < sell.base_available else Short.BASE)
    return _opportunity(buy, sell, terms, quantity, buys_on_first=buys_on_first)


def _worth_it(buy: Market, sell: Market, rate: Decimal) -> Decimal:
    """How much can be had while each unit by itself wins the rate."""
    asks, bids = _Walk(buy.book.asks), _Walk(sell.book.bids)
    taken = ZERO
    while asks.price is not None and bids.price is not None:
        if net_rate(asks.price, buy.fee, bids.price, sell.fee) < rate:
            break
        size = min(asks.left, bids.left)
        asks.take(size)
        bids.take(size)
        taken += size
    return taken


class _Walk:
    """One side's levels, used up from the best on."""

    def __init__(self, levels: Levels) -> None:
        self._levels: Iterator[tuple[Decimal, Decimal]] = iter(levels)
        self.price: Decimal | None = None
        self.left = ZERO
        self._next()

    def take(self, size: Decimal) -> None:
        self.left -= size
        if not self.left:
            self._next()

    def _next(self) -> None:
        self.price, self.left = next(self._levels, (None, ZERO))


def _wanted(buy: Market, sell: Market, terms: Terms, worth_it: Decimal) -> Decimal:
    limits = [worth_it, _depth(buy.book.asks) * terms.depth_share, _depth(sell.book.bids) * terms.depth_share]
    if terms.max_base is not None:
        limits.append(terms.max_base)
    limits += [rules.max_quantity for rules in (buy.rules, sell.rules) if rules.max_quantity]
    limits += [rules.market_max_quantity for rules in (buy.rules, sell.rules) if rules.market_max_quantity]
    most = min(limits)
    if terms.max_quote is None:
        return most
    return min(most, terms.max_quote / _last_price(buy.book.asks, most))


def _rounded(buy: Market, sell: Market, quantity: Decimal) -> Decimal:
    """In steps that both take: the coarser one, which the finer divides; 0 where it doesn't."""
    steps = (buy.rules.quantity_step, sell.rules.quantity_step)
    rounded = floor_to(quantity, max(steps))
    return rounded if all(not step or not rounded % step for step in steps) else ZERO


def _is_orderable(buy: Market, sell: Market, quantity: Decimal) -> bool:
    """At the lowest price that either order may be judged by."""
    return quantity > 0 and all(
        quantity >= market.rules.min_quantity and quantity * price >= market.rules.min_notional
        for market, price in ((buy, buy.book.bids[0][0]), (sell, _last_price(sell.book.bids, quantity)))
    )


def _opportunity(
    buy: Market, sell: Market, terms: Terms, quantity: Decimal, *, buys_on_first: bool
) -> Opportunity:
    cost, proceeds = worth(buy.book.asks, quantity), worth(sell.book.bids, quantity)
    needed = quantity * terms.deep_multiple
    return Opportunity(
        buys_on_first,
        quantity,
        settle(cost / quantity),
        settle(proceeds / quantity),
        _last_price(buy.book.asks, quantity),
        _last_price(sell.book.bids, quantity),
        settle(proceeds * (1 - sell.fee) - cost * (1 + buy.fee)),
        _depth(buy.book.asks) >= needed and _depth(sell.book.bids) >= needed,
    )


def worth(levels: Levels, quantity: Decimal) -> Decimal:
    """What the quantity costs, or brings, level by level; the levels must hold it."""
    return sum((price * size for price, size in _taken(levels, quantity)), ZERO)


def _last_price(levels: Levels, quantity: Decimal) -> Decimal:
    *_, (price, _) = _taken(levels, quantity)
    return price


def _taken(levels: Levels, quantity: Decimal) -> Iterable[tuple[Decimal, Decimal]]:
    left = quantity
    for price, size in levels:
        yield price, min(size, left)
        left -= size
        if left <= 0:
            return


def _depth(levels: Levels) -> Decimal:
    return sum((size for _, size in levels), ZERO)
