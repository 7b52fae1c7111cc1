"""The local order book: Binance's procedure, and faults found at once."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections.books import OrderBook
from connections.exchanges.contract import DepthDelta, DepthSnapshot, Levels


def levels(**sizes: str) -> Levels:
    return tuple((Decimal(name[1:]), Decimal(size)) for name, size in sizes.items())


def delta(first: int, last: int, bids: Levels = (), asks: Levels = ()) -> DepthDelta:
    return DepthDelta("BTC/USDT", 0, first, last, bids, asks)


SNAPSHOT = DepthSnapshot(100, levels(p99="1", p98="2"), levels(p101="1", p102="2"))


@pytest.fixture
def book() -> OrderBook:
    ready = OrderBook("BTC/USDT")
    ready.on_snapshot(SNAPSHOT)
    return ready


def test_a_book_without_a_snapshot_is_not_valid() -> None:
    book = OrderBook("BTC/USDT")
    book.on_delta(delta(1, 2))

    assert not book.valid
    assert book.needs_snapshot
    assert book.top(5) == ((), ())


def test_buffered_deltas_follow_the_snapshot_and_older_ones_are_dropped() -> None:
    book = OrderBook("BTC/USDT")
    book.on_delta(delta(90, 95, bids=levels(p97="9")))
    book.on_delta(delta(96, 103, bids=levels(p98="5")))
    book.on_delta(delta(104, 104, asks=levels(p101="0")))
    book.on_snapshot(SNAPSHOT)

    assert book.valid
    assert book.last_id == 104
    assert book.top(5) == (levels(p99="1", p98="5"), levels(p102="2"))


def test_a_snapshot_older_than_the_first_buffered_delta_is_of_no_use() -> None:
    book = OrderBook("BTC/USDT")
    book.on_delta(delta(105, 106))
    book.on_snapshot(SNAPSHOT)
    assert not book.valid
    assert book.needs_snapshot

    book.on_snapshot(replace(SNAPSHOT, last_id=105))

    assert book.valid
    assert book.last_id == 106


def test_a_hole_makes_the_book_invalid_at_once_and_the_next_snapshot_repairs_it(book: OrderBook) -> None:
    book.on_delta(delta(101, 105))
    book.on_delta(delta(107, 108, bids=levels(p99="7")))
    assert (book.valid, book.reason, book.gaps) == (False, "updates 106 to 106 are missing", 1)
    assert book.top(1) == ((), ())

    book.on_snapshot(replace(SNAPSHOT, last_id=107))

    assert book.valid
    assert book.top(1)[0] == levels(p99="7")


def test_deltas_seen_before_change_nothing(book: OrderBook) -> None:
    book.on_delta(delta(101, 103, bids=levels(p99="4")))
    before = book.top(5)
    book.on_delta(delta(99, 102, bids=levels(p99="8")))
    book.on_delta(delta(101, 103, bids=levels(p99="8")))

    assert book.top(5) == before
    assert (book.valid, book.repeats) == (True, 2)


@pytest.mark.parametrize(
    ("bids", "asks", "reason"),
    [
        (levels(p101="1"), (), "crossed"),
        (levels(p103="1"), (), "crossed"),
        ((), levels(p101="0", p102="0"), "one side is empty"),
        ((), levels(p101="0", p102="0", p120="1"), "the spread is above 10 %"),
    ],
)
def test_a_book_that_cant_be_is_distrusted_at_once(book: OrderBook, bids: Levels, asks: Levels, reason: str) -> None:
    book.on_delta(delta(101, 101, bids, asks))

    assert (book.valid, book.reason, book.invalidations) == (False, reason, 1)


@pytest.mark.parametrize(
    ("price", "size"),
    [("NaN", "1"), ("Infinity", "1"), ("97", "NaN"), ("97", "-1"), ("-1", "1"), ("0", "1"), ("x", "1")],
)
def test_a_level_that_is_no_number_makes_the_book_invalid(book: OrderBook, price: str, size: str) -> None:
    book.on_delta(DepthDelta("BTC/USDT", 0, 101, 101, (("98", "3"), (price, size)), ()))

    assert (book.valid, book.reason) == (False, "a level is no number")
    assert book.top(5) == ((), ())


def test_the_same_price_is_the_same_level_however_it_is_written(book: OrderBook) -> None:
    book.on_delta(DepthDelta("BTC/USDT", 0, 101, 101, (("99.000", "3"), (Decimal("98"), Decimal("0.0"))), ()))

    assert book.top(5)[0] == levels(p99="3")


def test_a_spread_of_ten_per_cent_is_the_last_that_is_believed(book: OrderBook) -> None:
    book.on_delta(delta(101, 101, asks=levels(p101="0", p102="0", **{"p108.9": "1"})))
    assert book.valid

    book.on_delta(delta(102, 102, asks=levels(**{"p108.9": "0", "p108.90000001": "1"})))
    assert not book.valid


@pytest.mark.parametrize(
    "snapshot",
    [
        replace(SNAPSHOT, bids=levels(p98="1", p99="2")),
        replace(SNAPSHOT, asks=levels(p102="1", p101="2")),
        replace(SNAPSHOT, bids=levels(p99="0")),
        replace(SNAPSHOT, bids=levels(p101="1")),
        replace(SNAPSHOT, asks=()),
    ],
    ids=["bids unsorted", "asks unsorted", "no size", "crossed", "empty"],
)
def test_a_snapshot_that_cant_be_is_not_trusted(snapshot: DepthSnapshot) -> None:
    book = OrderBook("BTC/USDT")
    book.on_snapshot(snapshot)

    assert not book.valid


def test_a_refresh_keeps_the_book_valid_and_takes_over_the_new_snapshot(book: OrderBook) -> None:
    book.begin_refresh()
    book.on_delta(delta(101, 102, bids=levels(p99="3")))
    assert book.valid
    assert book.needs_snapshot
    book.on_snapshot(DepthSnapshot(101, levels(p98="9"), levels(p101="9")))

    assert (book.valid, book.needs_snapshot, book.last_id) == (True, False, 102)
    assert book.top(5) == (levels(p99="3", p98="9"), levels(p101="9"))


def test_a_refresh_never_goes_back_in_time(book: OrderBook) -> None:
    book.on_delta(delta(101, 110, bids=levels(p99="3")))
    book.begin_refresh()
    book.on_snapshot(SNAPSHOT)

    assert book.needs_snapshot
    assert book.last_id == 110
    assert book.top(1)[0] == levels(p99="3")


# Properties.

_bid_prices = st.integers(900, 999)
_ask_prices = st.integers(1001, 1090)
_sizes = st.integers(0, 5)
_changes = st.lists(
    st.tuples(
        st.dictionaries(_bid_prices, _sizes, max_size=6), st.dictionaries(_ask_prices, _sizes, max_size=6),
        st.integers(1, 5),
    ),
    max_size=30,
)  # fmt: skip


def _as_levels(changes: dict[int, int]) -> Levels:
    return tuple((Decimal(price), Decimal(size)) for price, size in changes.items())


Changes = list[tuple[dict[int, int], dict[int, int], int]]


def _story(changes: Changes) -> Iterator[tuple[DepthDelta, dict[int, int], dict[int, int]]]:
    """Deltas, and what the exchange's own book holds after each; the best levels never go."""
    bids, asks, last = {999: 1}, {1001: 1}, 100
    for bid_changes, ask_changes, ids in changes:
        bid_changes, ask_changes = {**bid_changes, 999: 1}, {**ask_changes, 1001: 1}
        for side, changed in ((bids, bid_changes), (asks, ask_changes)):
            side.update(changed)
            for price in [price for price, size in side.items() if not size]:
                del side[price]
        yield delta(last + 1, last + ids, _as_levels(bid_changes), _as_levels(ask_changes)), dict(bids), dict(asks)
        last += ids


START = DepthSnapshot(100, ((Decimal(999), Decimal(1)),), ((Decimal(1001), Decimal(1)),))


@given(_changes)
def test_the_book_always_equals_the_exchanges(changes: Changes) -> None:
    book = OrderBook("BTC/USDT")
    book.on_snapshot(START)
    for told, bids, asks in _story(changes):
        book.on_delta(told)
        assert book.valid
        assert book.top(1000) == (
            _as_levels(dict(sorted(bids.items(), reverse=True))), _as_levels(dict(sorted(asks.items()))),
        )  # fmt: skip


@given(_changes.filter(lambda changes: len(changes) >= 3), st.data())
def test_any_removed_delta_is_found_with_the_next_one(
    changes: Changes, data: st.DataObject
) -> None:
    told = [found for found, _, _ in _story(changes)]
    removed = data.draw(st.integers(0, len(told) - 2))
    book = OrderBook("BTC/USDT")
    book.on_snapshot(START)
    for found in told[:removed] + told[removed + 1 : removed + 2]:
        book.on_delta(found)

    assert not book.valid
    assert book.gaps == 1


@given(_changes, st.data())
def test_wherever_the_snapshot_falls_the_book_ends_the_same(
    changes: Changes, data: st.DataObject
) -> None:
    story = list(_story(changes))
    at = data.draw(st.integers(0, len(story)))
    arrives = data.draw(st.integers(at, len(story)))
    snapshot = START
    if at:
        told, bids, asks = story[at - 1]
        snapshot = DepthSnapshot(
            told.last_id, _as_levels(dict(sorted(bids.items(), reverse=True))), _as_levels(dict(sorted(asks.items())))
        )
    book, reference = OrderBook("BTC/USDT"), OrderBook("BTC/USDT")
    reference.on_snapshot(START)
    for index, (told, _, _) in enumerate(story):
        if index == arrives:
            book.on_snapshot(snapshot)
        book.on_delta(told)
        reference.on_delta(told)
    if arrives == len(story):
        book.on_snapshot(snapshot)

    assert book.top(1000) == reference.top(1000)
    assert book.last_id == reference.last_id


# A venue whose numbers have holes.


def chained(previous: int, first: int, last: int, bids: Levels = ()) -> DepthDelta:
    return DepthDelta("BTC/USDT:USDT", 0, first, last, bids, (), previous)


def test_holes_in_the_numbers_are_no_gap_while_each_delta_names_the_one_before(book: OrderBook) -> None:
    book.on_delta(chained(97, 99, 104, levels(p98="5")))
    book.on_delta(chained(104, 110, 117, levels(p98="7")))

    assert (book.valid, book.last_id, book.gaps) == (True, 117, 0)
    assert book.top(2)[0] == levels(p99="1", p98="7")


def test_a_delta_that_follows_one_we_never_saw_is_a_gap(book: OrderBook) -> None:
    book.on_delta(chained(97, 99, 104))
    book.on_delta(chained(106, 107, 110))

    assert (book.valid, book.gaps) == (False, 1)
    assert book.needs_snapshot


def test_the_snapshot_must_reach_the_delta_before_the_first_one_kept() -> None:
    book = OrderBook("BTC/USDT:USDT")
    book.on_delta(chained(101, 105, 108))
    book.on_snapshot(SNAPSHOT)
    assert not book.valid

    book.on_snapshot(replace(SNAPSHOT, last_id=101))
    assert (book.valid, book.last_id) == (True, 108)
