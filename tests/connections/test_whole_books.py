"""Books that come whole: valid while time goes forward and the exchange's own answer agrees."""

from decimal import Decimal

from connections.exchanges.contract import DepthSnapshot, Levels, WholeDepth
from connections.whole_books import BEHIND_MS, WholeBook


def levels(*pairs: tuple[str, str]) -> Levels:
    return tuple((Decimal(price), Decimal(size)) for price, size in pairs)


BIDS, ASKS = levels(("99000", "1"), ("98000", "2")), levels(("100000", "3"), ("101000", "4"))


def whole(as_of_ms: int, bids: Levels = BIDS, asks: Levels = ASKS) -> WholeDepth:
    return WholeDepth("BTC/KRW", 0, as_of_ms, bids, asks)


def told(as_of_ms: int = 10_000) -> WholeBook:
    book = WholeBook("BTC/KRW")
    book.on_whole(whole(as_of_ms))
    return book


def test_the_first_message_makes_it_valid() -> None:
    book = told()

    assert book.valid
    assert book.top(2) == (BIDS, ASKS)


def test_each_message_replaces_the_one_before() -> None:
    book = told()
    book.on_whole(whole(10_001, bids=levels(("99500", "7"))))

    assert book.top(5)[0] == levels(("99500", "7"))


def test_a_message_of_the_same_moment_counts() -> None:
    book = told()
    book.on_whole(whole(10_000, bids=levels(("99500", "7"))))

    assert book.valid
    assert book.top(1)[0] == levels(("99500", "7"))


def test_going_back_in_time_makes_it_invalid_until_the_stream_goes_on() -> None:
    book = told()
    book.on_whole(whole(9_000))
    was_valid = book.valid
    book.on_snapshot(DepthSnapshot(11_000, BIDS, ASKS))
    by_rest = book.valid
    book.on_whole(whole(9_100))

    assert (was_valid, by_rest, book.valid) == (False, False, True)
    assert (book.gaps, book.invalidations) == (1, 1)


def test_rest_that_is_far_ahead_with_other_prices_shows_a_stale_stream() -> None:
    book = told()
    book.begin_refresh()
    book.on_snapshot(DepthSnapshot(10_000 + BEHIND_MS + 1, levels(("97000", "1")), ASKS))

    assert not book.valid
    assert "behind" in book.reason
    assert not book.needs_snapshot, "only the stream makes it valid again"
    book.on_whole(whole(10_000 + BEHIND_MS + 2))
    assert book.valid


def test_rest_that_agrees_changes_nothing() -> None:
    book = told()
    book.begin_refresh()
    book.on_snapshot(DepthSnapshot(10_000 + 60_000, BIDS, ASKS))

    assert book.valid
    assert book.last_id == 10_000
    assert not book.needs_snapshot


def test_rest_a_little_ahead_waits_for_the_stream() -> None:
    book = told()
    book.on_snapshot(DepthSnapshot(10_000 + BEHIND_MS, levels(("97000", "1")), ASKS))

    assert book.valid
    assert book.top(1)[0] == BIDS[:1]


def test_a_market_that_is_silent_from_the_beginning_has_the_book_of_rest() -> None:
    book = WholeBook("BTC/KRW")
    wanted = book.needs_snapshot
    book.on_snapshot(DepthSnapshot(10_000, BIDS, ASKS))

    assert wanted
    assert book.valid


def test_a_crossed_book_is_invalid_and_the_next_one_heals_it() -> None:
    book = told()
    book.on_whole(whole(10_001, bids=levels(("100000", "1"))))
    reason = book.reason
    book.on_whole(whole(10_002))

    assert reason == "crossed"
    assert book.valid


def test_after_a_cut_an_older_stamp_is_no_step_back() -> None:
    book = told()
    book.invalidate("the stream is down")
    book.on_whole(whole(9_000))

    assert book.valid
