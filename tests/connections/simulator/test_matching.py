"""The order book: who trades with whom, in which order, and what stays."""

from decimal import Decimal
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections.simulator.matching import (
    ExpiryReason,
    Match,
    Order,
    OrderBook,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    WouldTake,
)

LOT = Decimal("0.001")
_ids = count(1)


def order(side: Side, quantity: str, price: str | None = None, **more: object) -> Order:
    kind = OrderType.LIMIT if price else OrderType.MARKET
    fields = {"type": kind, "price": Decimal(price) if price else None, **more}
    return Order(next(_ids), "BTCUSDT", side, quantity=Decimal(quantity), **fields)  # type: ignore[arg-type]


def book_of(*orders: Order) -> OrderBook:
    book = OrderBook("BTCUSDT", LOT)
    for resting in orders:
        assert book.submit(resting) == []
    return book


def traded(matches: list[Match]) -> list[tuple[str, str]]:
    return [(str(match.price), str(match.quantity)) for match in matches]


def test_better_price_trades_first_then_the_earlier_order() -> None:
    late_best, early, late = order(Side.SELL, "1", "100"), order(Side.SELL, "1", "101"), order(Side.SELL, "1", "101")
    book = book_of(early, late, late_best)

    matches = book.submit(order(Side.BUY, "2.5", "101"))

    assert [match.maker for match in matches] == [late_best, early, late]
    assert traded(matches) == [("100", "1"), ("101", "1"), ("101", "0.5")]
    assert (late.status, late.remaining) == (OrderStatus.PARTIALLY_FILLED, Decimal("0.5"))


def test_the_rest_of_a_limit_order_becomes_the_best_bid() -> None:
    book = book_of(order(Side.SELL, "1", "100"))
    taker = order(Side.BUY, "3", "100")
    book.submit(taker)
    assert taker.status is OrderStatus.PARTIALLY_FILLED
    assert book.best(Side.BUY) == (Decimal(100), Decimal(2))
    assert book.best(Side.SELL) is None


def test_a_match_tells_how_far_both_orders_were_at_that_moment() -> None:
    book = book_of(order(Side.SELL, "1", "100"), order(Side.SELL, "1", "101"))
    first, second = book.submit(order(Side.BUY, "2", "101"))
    assert first.taker_progress is not None
    assert second.taker_progress is not None
    assert first.taker_progress.executed == 1
    assert first.taker_progress.status is OrderStatus.PARTIALLY_FILLED
    assert second.taker_progress.quote_executed == 201


def test_immediate_or_cancel_expires_what_does_not_fill() -> None:
    book = book_of(order(Side.SELL, "1", "100"))
    taker = order(Side.BUY, "3", "100", time_in_force=TimeInForce.IOC)
    book.submit(taker)
    assert (taker.status, taker.executed, taker.expiry_reason) == (OrderStatus.EXPIRED, Decimal(1), ExpiryReason.IOC)
    assert book.best(Side.BUY) is None


@pytest.mark.parametrize(("quantity", "status"), [("2", OrderStatus.FILLED), ("2.001", OrderStatus.EXPIRED)])
def test_fill_or_kill_takes_all_or_nothing(quantity: str, status: OrderStatus) -> None:
    book = book_of(order(Side.SELL, "1", "100"), order(Side.SELL, "1", "101"), order(Side.SELL, "5", "102"))
    taker = order(Side.BUY, quantity, "101", time_in_force=TimeInForce.FOK)
    book.submit(taker)
    assert taker.status is status
    assert taker.executed in (0, taker.quantity)


def test_a_post_only_order_that_would_take_is_refused_and_changes_nothing() -> None:
    book = book_of(order(Side.SELL, "1", "100"))
    before = book.update_id
    with pytest.raises(WouldTake):
        book.submit(order(Side.BUY, "1", "100", type=OrderType.LIMIT_MAKER))
    assert book.update_id == before
    book.submit(order(Side.BUY, "1", "99.99", type=OrderType.LIMIT_MAKER))
    assert book.best(Side.BUY) == (Decimal("99.99"), Decimal(1))


def test_a_market_order_on_a_dry_book_expires_with_what_it_got() -> None:
    book = book_of(order(Side.SELL, "1", "100"))
    taker = order(Side.BUY, "3")
    book.submit(taker)
    assert (taker.status, taker.executed, taker.expiry_reason) == (
        OrderStatus.EXPIRED,
        Decimal(1),
        ExpiryReason.LIQUIDITY,
    )


def test_a_budget_buys_whole_lots_and_never_more_than_it_holds() -> None:
    book = book_of(order(Side.SELL, "1", "100"), order(Side.SELL, "10", "300"))
    taker = order(Side.BUY, "0", quote_quantity=Decimal("250.5"))
    first, last = book.submit(taker)
    assert first.taker_progress is not None
    assert last.taker_progress is not None
    assert [first.taker_progress.status, last.taker_progress.status] == [
        OrderStatus.PARTIALLY_FILLED,
        OrderStatus.FILLED,
    ]
    assert taker.status is OrderStatus.FILLED
    assert taker.executed == Decimal("1.501")
    assert taker.quote_executed == Decimal("250.3")


def test_a_sell_budget_needs_as_much_base_as_foretold() -> None:
    book = book_of(order(Side.BUY, "1", "300"), order(Side.BUY, "10", "100"))
    needed = book.base_for(Side.SELL, Decimal(350))
    taker = order(Side.SELL, "0", quote_quantity=Decimal(350))
    book.submit(taker)
    assert taker.executed == needed == Decimal("1.5")


def test_a_cancelled_order_leaves_the_book() -> None:
    resting = order(Side.BUY, "1", "99")
    book = book_of(resting, order(Side.BUY, "2", "99"))
    book.cancel(resting)
    assert book.best(Side.BUY) == (Decimal(99), Decimal(2))
    assert resting.status is OrderStatus.CANCELED


# the house


def test_an_order_queues_behind_the_house_quantity_shown_before_it() -> None:
    book = OrderBook("BTCUSDT", LOT)
    book.quote(Side.BUY, Decimal(100), Decimal(2))
    resting = order(Side.BUY, "1", "100")
    book.submit(resting)

    assert [match.maker for match in book.trade(Side.SELL, Decimal("1.5"))] == [None]
    assert [match.maker for match in book.trade(Side.SELL, Decimal(1))] == [None, resting]
    assert resting.executed == Decimal("0.5")


def test_house_growth_queues_behind_a_resting_order_and_shrinks_first() -> None:
    book = OrderBook("BTCUSDT", LOT)
    resting = order(Side.BUY, "1", "100")
    book.submit(resting)
    book.quote(Side.BUY, Decimal(100), Decimal(5))
    book.quote(Side.BUY, Decimal(100), Decimal(2))
    assert book.best(Side.BUY) == (Decimal(100), Decimal(3))
    assert book.trade(Side.SELL, Decimal(1))[0].maker is resting


def test_a_house_quote_through_a_resting_order_fills_it_at_its_own_price() -> None:
    resting = order(Side.BUY, "1", "100")
    book = book_of(resting)
    matches = book.quote(Side.SELL, Decimal(99), Decimal(4))
    assert traded(matches) == [("100", "1")]
    assert resting.status is OrderStatus.FILLED
    assert book.best(Side.SELL) == (Decimal(99), Decimal(3))


def test_a_house_quote_replaces_stale_house_quotes_in_its_way() -> None:
    book = OrderBook("BTCUSDT", LOT)
    book.quote(Side.BUY, Decimal(100), Decimal(1))
    assert book.quote(Side.SELL, Decimal(99), Decimal(4)) == []
    assert book.best(Side.BUY) is None


def test_a_recorded_trade_fills_orders_on_its_way_and_prints_the_rest() -> None:
    resting = order(Side.BUY, "1", "101")
    book = book_of(resting)
    book.quote(Side.BUY, Decimal(100), Decimal("0.5"))
    matches = book.print_trade(Side.SELL, Decimal(100), Decimal(4))
    assert traded(matches) == [("101", "1"), ("100", "0.5"), ("100", "2.5")]
    assert resting.status is OrderStatus.FILLED


def test_the_update_id_counts_changes_and_only_changes() -> None:
    book = OrderBook("BTCUSDT", LOT)
    book.quote(Side.BUY, Decimal(100), Decimal(1))
    before = book.update_id
    book.quote(Side.BUY, Decimal(100), Decimal(1))
    book.quote(Side.BUY, Decimal(55), Decimal(0))
    assert book.update_id == before
    book.quote(Side.BUY, Decimal(100), Decimal(0))
    assert book.update_id == before + 1


# properties

_SIDES = st.sampled_from(Side)
_PRICES = st.integers(95, 105).map(Decimal)
_SIZES = st.integers(1, 5000).map(lambda lots: lots * LOT)
_ACTIONS = st.one_of(
    st.tuples(st.just("limit"), _SIDES, _PRICES, _SIZES),
    st.tuples(st.just("market"), _SIDES, _PRICES, _SIZES),
    st.tuples(st.just("quote"), _SIDES, _PRICES, st.one_of(st.just(Decimal(0)), _SIZES)),
    st.tuples(st.just("print"), _SIDES, _PRICES, _SIZES),
    st.tuples(st.just("top"), _SIDES, _PRICES, _SIZES),
    st.tuples(st.just("cancel"), _SIDES, _PRICES, _SIZES),
)


def _act(book: OrderBook, orders: list[Order], action: tuple[str, Side, Decimal, Decimal]) -> list[Match]:
    kind, side, price, quantity = action
    if kind == "quote":
        return book.quote(side, price, quantity)
    if kind == "top":
        return book.set_top(side, price, quantity)
    if kind == "print":
        return book.print_trade(side, price, quantity)
    if kind == "cancel":
        for open_order in [candidate for candidate in orders if candidate.is_open][:1]:
            book.cancel(open_order)
        return []
    orders.append(order(side, str(quantity), str(price) if kind == "limit" else None))
    return book.submit(orders[-1])


@given(st.lists(_ACTIONS, max_size=40))
def test_a_book_is_never_crossed_and_shows_exactly_what_rests(
    actions: list[tuple[str, Side, Decimal, Decimal]],
) -> None:
    book, orders = OrderBook("BTCUSDT", LOT), list[Order]()
    shown: dict[tuple[Side, Decimal], Decimal] = {}
    for action in actions:
        _act(book, orders, action)
        bid, ask = book.best(Side.BUY), book.best(Side.SELL)
        assert bid is None or ask is None or bid[0] < ask[0]
        for side, price in book.drain_changes():
            shown[side, price] = book.total_at(side, price)
        for side in Side:
            levels = dict(book.depth(side))
            assert levels == {price: total for (where, price), total in shown.items() if where is side and total}
    for resting in orders:
        if resting.is_open and resting.price is not None:
            assert book.total_at(resting.side, resting.price) >= resting.remaining > 0


@given(st.lists(_ACTIONS, max_size=40))
def test_orders_execute_what_their_matches_say_and_never_worse_than_their_limit(
    actions: list[tuple[str, Side, Decimal, Decimal]],
) -> None:
    book, orders = OrderBook("BTCUSDT", LOT), list[Order]()
    matches = [match for action in actions for match in _act(book, orders, action)]
    for placed in orders:
        own = [match for match in matches if placed in (match.maker, match.taker)]
        assert placed.executed == sum((match.quantity for match in own), Decimal(0))
        assert placed.executed <= placed.quantity
        for match in own:
            is_worse = placed.price is not None and (
                match.price > placed.price if placed.side is Side.BUY else match.price < placed.price
            )
            assert not is_worse


@given(st.lists(st.tuples(_PRICES, _SIZES), min_size=1, max_size=12), _SIZES)
def test_makers_fill_by_price_then_time(resting: list[tuple[Decimal, Decimal]], quantity: Decimal) -> None:
    makers = [order(Side.SELL, str(size), str(price)) for price, size in resting]
    book = book_of(*makers)
    met = [match.maker for match in book.submit(order(Side.BUY, str(quantity)))]
    expected = sorted(makers, key=lambda maker: (maker.price, maker.order_id))
    assert met == expected[: len(met)]
