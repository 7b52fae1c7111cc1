"""The edge between two books: held against its definition on made-up markets, and by hand on some."""

from dataclasses import replace
from decimal import Decimal
from itertools import accumulate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections.gateways import SymbolRules
from trading.arbitrage.edge import Book, Levels, Market, Opportunity, Short, Shortfall, Terms, find, worth

RULES = SymbolRules(
    "BTC/KRW", "BTC", "KRW", Decimal(1000), Decimal("0.00000001"), Decimal(0), Decimal(0), Decimal(5000)
)
TERMS = Terms(Decimal("0.001"), Decimal(1), None, Decimal("0.5"), Decimal(20), 5000)
RICH = Decimal(10) ** 12


def levels(start: int, *steps: tuple[int, str], down: bool = False) -> Levels:
    prices = accumulate((step for step, _ in steps), lambda price, step: price - step if down else price + step,
                        initial=start)  # fmt: skip
    return tuple((Decimal(price), Decimal(size)) for price, (_, size) in zip(prices, steps, strict=False))


def market(middle: int, fee: str = "0.0005", **changes: object) -> Market:
    steps = [(1000, "1")] * 10
    book = Book(levels(middle - 1000, *steps, down=True), levels(middle + 1000, *steps), 0)
    return replace(Market(book, RULES, Decimal(fee), RICH, RICH), **changes)  # type: ignore[arg-type]


def case(seed: int) -> tuple[Market, Market, Terms]:
    """Two made-up markets, often with an edge between them, and what is asked for."""
    random = Random(seed)

    def amount(low: float, high: float, places: int = 8) -> Decimal:
        return round(Decimal(random.uniform(low, high)), places)

    def side(start: int, *, down: bool) -> Levels:
        count = random.randint(1, 10)
        steps = [(random.randint(1, 50) * 1000, str(amount(0.0001, 5))) for _ in range(count)]
        return levels(start, *steps, down=down)

    def one() -> Market:
        middle = random.randint(97_000, 103_000) * 1000
        book = Book(side(middle - 1000, down=True), side(middle + 1000, down=False), random.uniform(0, 5000))
        step = Decimal(random.choice(["0.00000001", "0.00001", "0.001"]))
        rules = replace(RULES, quantity_step=step, min_quantity=step)
        return Market(book, rules, amount(0, 0.005, 4), amount(0, 10**9, 2), amount(0, 5))

    asked = Terms(
        amount(0.0001, 0.01, 4),
        random.choice([None, amount(0.001, 10)]),
        random.choice([None, amount(10_000, 10**9, 0)]),
        amount(0.01, 1, 2),
        amount(1, 100, 1),
        5000,
    )
    return one(), one(), asked


cases = st.integers(0, 10**12).map(case)


def test_many_of_the_made_up_cases_fire() -> None:
    """Else the properties below would say little."""
    found = [find(*case(seed)) for seed in range(200)]
    assert sum(isinstance(each, Opportunity) for each in found) > 50


@given(cases)
def test_what_fires_wins_its_rate_after_fees_and_is_never_more_than_anything_allows(
    made_up: tuple[Market, Market, Terms]
) -> None:
    first, second, asked = made_up
    found = find(first, second, asked)
    if not isinstance(found, Opportunity):
        return
    buy, sell = (first, second) if found.buys_on_first else (second, first)
    cost, proceeds = worth(buy.book.asks, found.quantity), worth(sell.book.bids, found.quantity)
    won = proceeds - proceeds * sell.fee - cost - cost * buy.fee
    assert abs(found.profit - won) < Decimal("1e-17")
    assert won >= asked.rate * cost * (1 + buy.fee)
    # Balances, depth and size.
    assert cost * (1 + buy.fee) <= buy.quote_available
    assert found.quantity <= sell.base_available
    for side in (buy.book.asks, sell.book.bids):
        assert found.quantity <= asked.depth_share * sum(size for _, size in side)
    assert asked.max_base is None or found.quantity <= asked.max_base
    assert asked.max_quote is None or cost <= asked.max_quote
    # Orders that both exchanges take.
    for each in (first, second):
        assert found.quantity % each.rules.quantity_step == 0
        assert found.quantity >= each.rules.min_quantity
    assert found.quantity * min(found.worst_buy, found.worst_sell) >= RULES.min_notional


@given(cases, st.sampled_from(["stale", "untrusted", "crossed", "empty", "unsorted", "negative"]))
def test_no_fire_on_a_book_that_cant_be_trusted(made_up: tuple[Market, Market, Terms], fault: str) -> None:
    first, second, asked = made_up
    book = second.book
    broken = {
        "stale": replace(book, age_ms=asked.max_age_ms + 1),
        "untrusted": replace(book, trusted=False),
        "crossed": replace(book, asks=((book.bids[0][0], Decimal(1)),)),
        "empty": replace(book, asks=()),
        "unsorted": replace(book, bids=(*book.bids, (book.bids[0][0] + 1, Decimal(1)))),
        "negative": replace(book, bids=((book.bids[0][0], Decimal(-1)),)),
    }[fault]
    assert find(first, replace(second, book=broken), asked) is None
    assert find(replace(second, book=broken), first, asked) is None


@given(cases)
def test_the_sides_may_be_named_in_either_order(made_up: tuple[Market, Market, Terms]) -> None:
    first, second, asked = made_up
    one, other = find(first, second, asked), find(second, first, asked)
    if one is None or other is None:
        assert one is other
    else:
        assert one == replace(other, buys_on_first=not other.buys_on_first)


def test_an_edge_that_fees_eat_is_none() -> None:
    """0.1 % between the best prices, 0.05 % and 0.05 % of fees."""
    assert find(market(100_000_000), market(100_102_000), TERMS) is None


def test_it_buys_where_it_is_cheap() -> None:
    found = find(market(101_000_000), market(100_000_000), TERMS)
    assert isinstance(found, Opportunity)
    assert not found.buys_on_first
    assert (found.buy_price, found.sell_price) == (Decimal(100_001_000), Decimal(100_999_000))


def test_only_levels_that_win_by_themselves_are_walked() -> None:
    asks = ((Decimal(100_001_000), Decimal("0.2")), (Decimal(102_000_000), Decimal(9)))
    thin = replace(market(100_000_000).book, asks=asks)
    found = find(market(100_000_000, book=thin), market(101_000_000), replace(TERMS, depth_share=Decimal(1)))
    assert isinstance(found, Opportunity)
    assert found.quantity == Decimal("0.2")


@pytest.mark.parametrize(
    ("won", "coins", "short"), [("4000", "1", Short.QUOTE), ("1000000000", "0.00000001", Short.BASE)]
)
def test_a_balance_that_pays_for_nothing_is_named(won: str, coins: str, short: Short) -> None:
    buy = market(100_000_000, quote_available=Decimal(won))
    found = find(buy, market(101_000_000, base_available=Decimal(coins)), TERMS)
    assert found == Shortfall(buys_on_first=True, short=short)


def test_a_small_balance_makes_a_small_fire() -> None:
    found = find(market(100_000_000), market(101_000_000, base_available=Decimal("0.0123456789")), TERMS)
    assert isinstance(found, Opportunity)
    assert found.quantity == Decimal("0.01234567")


def test_steps_that_dont_fit_each_other_make_no_fire() -> None:
    odd, even = (replace(RULES, quantity_step=Decimal(step)) for step in ("0.003", "0.002"))
    assert find(market(100_000_000, rules=odd), market(101_000_000, rules=even), TERMS) is None


@pytest.mark.parametrize(("size", "deep"), [("0.1", True), ("1", False)])
def test_limit_orders_only_where_the_book_is_deep(size: str, deep: bool) -> None:
    found = find(market(100_000_000), market(101_000_000), replace(TERMS, max_base=Decimal(size)))
    assert isinstance(found, Opportunity)
    assert found.is_deep is deep
