"""Bars: built, corrected, final once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections.events import CandleUpdate, PublicTrade
from connections.gateways import Candle
from desproject.lib.clock import to_millis
from desproject.lib.errors import InvalidInput
from trading.bars import TIMEFRAMES, BarBuilder, BarSeries, merge_history, timeframe_ms

D = Decimal
START = datetime(2026, 3, 1, tzinfo=UTC)
START_MS = to_millis(START)
SYMBOL = "BTC/USDT"
GRACE = 2000


def bar(second: int, close: str = "100", *, volume: str = "1", closed: bool = True) -> Candle:
    """A one-second candle, so many seconds after the start."""
    price = D(close)
    return Candle(SYMBOL, "1s", START + timedelta(seconds=second), price, price, price, price, D(volume), closed=closed)


def trade(number: int, ms: int, price: str = "100", quantity: str = "1", symbol: str = SYMBOL) -> PublicTrade:
    return PublicTrade(symbol, 0, number, D(price), D(quantity), START_MS + ms)


def told(candle: Candle) -> CandleUpdate:
    """The candle as the exchange's stream tells it."""
    return CandleUpdate(
        candle.symbol,
        0,
        candle.timeframe,
        to_millis(candle.opened_at),
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.closed,
    )


def seeded(*history: Candle, now_ms: int = 0) -> BarBuilder:
    builder = BarBuilder(SYMBOL, "1s", grace_ms=GRACE)
    builder.seed(history or [bar(-1, "99")], START_MS + now_ms)
    return builder


def seconds(bars: Sequence[Candle]) -> list[int]:
    return [(to_millis(each.opened_at) - START_MS) // 1000 for each in bars]


def values(candle: Candle) -> list[Decimal]:
    return [candle.open, candle.high, candle.low, candle.close, candle.volume]


@pytest.mark.parametrize("name", TIMEFRAMES)
def test_timeframes_divide_a_utc_day(name: str) -> None:
    assert 86_400_000 % timeframe_ms(name) == 0


def test_an_unknown_timeframe_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        timeframe_ms("7m")
    assert "1m" in caught.value.fields["timeframe"][0]


def test_a_closed_candle_makes_its_bar_final_at_once() -> None:
    builder = seeded()
    assert builder.consume(told(bar(0, closed=False))) == []
    assert builder.consume(told(bar(0))) == [bar(0)]
    assert builder.figures["closed"] == 1


def test_without_a_closed_candle_the_bar_is_built_from_trades_after_the_grace_time() -> None:
    builder = seeded()
    for event in (
        trade(1, 100, "100", "1"),
        trade(2, 200, "105", "2"),
        trade(3, 300, "98", "1"),
        trade(4, 900, "101", "3"),
    ):
        assert builder.consume(event) == []
    assert builder.due(START_MS + 1000 + GRACE - 1) == []
    (built,) = builder.due(START_MS + 1000 + GRACE)
    assert values(built) == [100, 105, 98, 101, 7]
    assert built.closed
    assert built.opened_at == START


def test_trades_of_the_boundary_belong_to_the_next_bar() -> None:
    builder = seeded()
    builder.consume(trade(1, 999, "100"))
    builder.consume(trade(2, 1000, "200"))
    first, second = builder.due(START_MS + 2000 + GRACE)
    assert [first.close, second.open] == [100, 200]


def test_a_span_without_trades_carries_the_last_close() -> None:
    builder = seeded(bar(-1, "99"))
    first, second = builder.due(START_MS + 2000 + GRACE)
    assert values(first) == values(second) == [99, 99, 99, 99, 0]
    assert builder.figures["empty"] == 2


def test_the_last_close_carried_is_that_of_the_newest_bar() -> None:
    builder = seeded()
    builder.consume(told(bar(0, "123")))
    (flat,) = builder.due(START_MS + 2000 + GRACE)
    assert flat.close == 123


def test_before_any_price_there_is_no_bar() -> None:
    builder = BarBuilder(SYMBOL, "1s")
    assert builder.seed([], START_MS) == []
    assert builder.due(START_MS + 60_000) == []
    builder.consume(trade(1, 60_500))
    assert seconds(builder.due(START_MS + 63_000)) == [60]


def test_a_bar_watched_only_from_its_middle_is_left_out() -> None:
    builder = BarBuilder(SYMBOL, "1s", grace_ms=GRACE)
    builder.seed([], START_MS + 400)
    builder.consume(trade(1, 500))
    builder.consume(trade(2, 1500))
    assert seconds(builder.due(START_MS + 2000 + GRACE)) == [1]


def test_the_exchanges_growing_candle_wins_over_fewer_trades() -> None:
    builder = seeded()
    builder.consume(trade(1, 500, "100", "1"))
    builder.consume(told(bar(0, "107", volume="8", closed=False)))
    (built,) = builder.due(START_MS + 1000 + GRACE)
    assert values(built) == [107, 107, 107, 107, 8]
    assert built.closed


def test_more_trades_win_over_a_candle_that_stopped_growing() -> None:
    builder = seeded()
    builder.consume(told(bar(0, "107", volume="1", closed=False)))
    builder.consume(trade(1, 500, "100", "2"))
    (built,) = builder.due(START_MS + 1000 + GRACE)
    assert built.close == 100


def test_an_older_state_of_the_growing_candle_is_ignored() -> None:
    builder = seeded()
    builder.consume(told(bar(0, "107", volume="8", closed=False)))
    builder.consume(told(bar(0, "101", volume="3", closed=False)))
    (built,) = builder.due(START_MS + 1000 + GRACE)
    assert built.close == 107


def test_a_closed_candle_waits_for_the_bars_before_it() -> None:
    builder = seeded()
    assert builder.consume(told(bar(1, "110"))) == []
    finished = builder.due(START_MS + 1000 + GRACE)
    assert seconds(finished) == [0, 1]
    assert finished[1] == bar(1, "110")


def test_a_closed_candle_releases_those_waiting_behind_it() -> None:
    builder = seeded()
    builder.consume(told(bar(1)))
    assert seconds(builder.consume(told(bar(0)))) == [0, 1]


def test_a_correction_is_counted_once_and_changes_nothing() -> None:
    builder = seeded()
    builder.consume(told(bar(0, "100")))
    for _ in range(2):
        assert builder.consume(told(bar(0, "101"))) == []
    assert (builder.figures["corrections"], builder.figures["duplicates"]) == (1, 1)
    assert [each.close for each in builder.due(START_MS + 2000 + GRACE)] == [100]


def test_a_late_trade_is_counted_and_changes_nothing() -> None:
    builder = seeded()
    builder.consume(told(bar(0)))
    assert builder.consume(trade(1, 500, "999")) == []
    assert builder.figures["late_trades"] == 1


def test_a_trade_told_twice_counts_once() -> None:
    builder = seeded()
    for _ in range(3):
        builder.consume(trade(7, 500, quantity="2"))
    assert builder.due(START_MS + 1000 + GRACE)[0].volume == 2
    assert builder.figures["duplicates"] == 2


def test_memory_of_trade_ids_is_bounded() -> None:
    builder = BarBuilder(SYMBOL, "1d")
    builder.seed([], START_MS)
    for number in range(25_000):
        builder.consume(trade(number, number))
    assert len(builder._ids._ids) == len(builder._ids._heap) == 20_000
    builder.consume(trade(3, 3))  # forgotten, and still known as old
    assert builder.figures["duplicates"] == 1


def test_other_symbols_and_timeframes_are_left_alone() -> None:
    builder = seeded()
    minute = CandleUpdate(SYMBOL, 0, "1m", START_MS, D(1), D(1), D(1), D(1), D(1), True)
    other = CandleUpdate("ETH/USDT", 0, "1s", START_MS, D(1), D(1), D(1), D(1), D(1), True)
    assert builder.consume(minute) == builder.consume(other) == builder.consume(trade(1, 1, symbol="ETH/USDT")) == []
    assert values(builder.due(START_MS + 1000 + GRACE)[0]) == [99, 99, 99, 99, 0]


@pytest.mark.parametrize(
    "event",
    [
        trade(1, 500, "0"),
        trade(1, 500, "-1"),
        trade(1, 500, "NaN"),
        trade(1, 500, "100", "0"),
        trade(1, 500, "100", "Infinity"),
        CandleUpdate(SYMBOL, 0, "1s", START_MS + 1, D(1), D(1), D(1), D(1), D(1), True),
        CandleUpdate(SYMBOL, 0, "1s", START_MS, D(2), D(1), D(1), D(1), D(1), True),
        CandleUpdate(SYMBOL, 0, "1s", START_MS, D(1), D(1), D(0), D(1), D(1), True),
        CandleUpdate(SYMBOL, 0, "1s", START_MS, D(1), D("NaN"), D(1), D(1), D(1), True),
        CandleUpdate(SYMBOL, 0, "1s", START_MS, D(1), D(1), D(1), D(1), D(-1), True),
    ],
)
def test_nonsense_is_refused_and_counted(event: PublicTrade | CandleUpdate) -> None:
    builder = seeded()
    assert builder.consume(event) == []
    assert builder.figures["refused"] == 1
    assert builder.due(START_MS + 1000 + GRACE)[0].close == 99


def test_stamps_from_the_far_future_dont_stop_the_bars_of_now() -> None:
    builder = seeded()
    for number in range(4000):
        builder.consume(trade(number, 10**9 + number * 1000))
    assert len(builder._open) <= 3600
    builder.consume(trade(10**6, 500, "123"))
    assert builder.due(START_MS + 1000 + GRACE)[0].close == 123


def test_seeding_answers_the_closed_history_with_its_holes_filled() -> None:
    builder = BarBuilder(SYMBOL, "1s")
    history = builder.seed([bar(-5, "90"), bar(-3, "95"), bar(-2, "96"), bar(-1, closed=False)], START_MS - 500)
    assert seconds(history) == [-5, -4, -3, -2]
    assert values(history[1]) == [90, 90, 90, 90, 0]


def test_the_bar_after_the_history_is_the_next_to_be_final() -> None:
    builder = seeded(bar(-2), bar(-1))
    assert builder.consume(told(bar(-1))) == []
    assert builder.consume(told(bar(0))) == [bar(0)]


def test_events_from_before_seeding_are_kept() -> None:
    builder = BarBuilder(SYMBOL, "1s", grace_ms=GRACE)
    for event in (told(bar(-1)), told(bar(0, "100")), trade(5, 1500, "105")):
        assert builder.consume(event) == []
    builder.seed([bar(-2), bar(-1)], START_MS + 1600)
    finished = builder.due(START_MS + 2000 + GRACE)
    assert [[each.close, each.volume] for each in finished] == [[100, 1], [105, 1]]


def test_the_growing_candle_of_the_history_counts() -> None:
    builder = BarBuilder(SYMBOL, "1s", grace_ms=GRACE)
    builder.seed([bar(-1), bar(0, "140", volume="5", closed=False)], START_MS + 500)
    assert builder.due(START_MS + 1000 + GRACE)[0].close == 140


def test_seeding_again_answers_what_was_missed() -> None:
    builder = seeded(bar(-1))
    builder.consume(told(bar(0)))
    missed = builder.seed([bar(second) for second in range(-3, 30)], START_MS + 30_000)
    assert seconds(missed) == list(range(1, 30))
    assert builder.consume(told(bar(30))) == [bar(30)]


def test_nothing_is_final_while_it_is_held_and_nothing_is_lost() -> None:
    builder = seeded(bar(-1))
    builder.hold()
    assert builder.consume(told(bar(0))) == builder.consume(told(bar(2, "120"))) == []
    assert builder.due(START_MS + 60_000) == []
    assert seconds(builder.seed([bar(-1), bar(0), bar(1)], START_MS + 3000)) == [0, 1]
    assert builder.due(START_MS + 3000) == [bar(2, "120")]


def test_stored_bars_win_over_fetched_ones() -> None:
    merged = merge_history([bar(0, "1"), bar(1, "2")], [bar(1, "7"), bar(2, "8"), bar(3, closed=False)])
    assert seconds(merged) == [1, 2, 3]
    assert [each.close for each in merged] == [2, 8, 100]


def test_stored_bars_alone_are_no_history() -> None:
    assert merge_history([bar(0)], []) == []


# What the exchange told within three seconds, and its closed candles of them.
TRADES = [
    trade(number, ms, price, quantity)
    for number, (ms, price, quantity) in enumerate(
        [
            (10, "100", "1"),
            (10, "101", "2"),
            (400, "99", "0.5"),
            (999, "103", "1"),
            (1000, "104", "1"),
            (1500, "90", "3"),
            (2999, "91", "0.1"),
        ]
    )
]
CLOSED = [
    Candle(SYMBOL, "1s", START + timedelta(seconds=0), D(100), D(103), D(99), D(103), D("4.5"), True),
    Candle(SYMBOL, "1s", START + timedelta(seconds=1), D(104), D(104), D(90), D(90), D(4), True),
    Candle(SYMBOL, "1s", START + timedelta(seconds=2), D(91), D(91), D(91), D(91), D("0.1"), True),
]


@given(st.lists(st.sampled_from(TRADES), max_size=15).flatmap(lambda more: st.permutations([*TRADES, *more])))
def test_trades_in_any_order_and_number_build_the_exchanges_candles(events: list[PublicTrade]) -> None:
    builder = seeded()
    for event in events:
        builder.consume(event)
    assert builder.due(START_MS + 3000 + GRACE) == CLOSED


@given(
    st.lists(st.sampled_from([*TRADES, *map(told, CLOSED)]), max_size=15).flatmap(
        lambda more: st.permutations([*TRADES, *map(told, CLOSED), *more])
    ),
    st.lists(st.integers(0, 40), max_size=5),
)
def test_any_order_of_trades_and_closed_candles_gives_the_same_bars(
    events: list[PublicTrade | CandleUpdate], asked_at: list[int]
) -> None:
    builder, finished = seeded(), []
    for index, event in enumerate(events):
        finished += builder.consume(event)
        if index in asked_at:  # before anything's grace time is over
            finished += builder.due(START_MS + 1000 + GRACE - 1)
    assert finished + builder.due(START_MS + 3000 + GRACE) == CLOSED


anything = st.one_of(
    st.builds(
        lambda number, ms, price: trade(number, ms, str(price)),
        st.integers(0, 50),
        st.integers(-3000, 12_000),
        st.integers(1, 200),
    ),
    st.builds(
        lambda second, close, volume, closed: told(bar(second, str(close), volume=str(volume), closed=closed)),
        st.integers(-3, 12),
        st.integers(1, 200),
        st.integers(0, 9),
        st.booleans(),
    ),
    st.integers(0, 20_000),
)


@given(st.lists(anything, max_size=60))
def test_one_final_bar_a_boundary_in_order_without_holes(happenings: list[PublicTrade | CandleUpdate | int]) -> None:
    builder, finished = seeded(), []
    for each in happenings:
        finished += builder.due(START_MS + each) if isinstance(each, int) else builder.consume(each)
    finished += builder.due(START_MS + 20_000)
    assert seconds(finished) == list(range(len(finished)))
    assert len(finished) >= 18
    for final in finished:
        assert final.closed
        assert final.low <= min(final.open, final.close) <= max(final.open, final.close) <= final.high


def series(count: int, capacity: int = 5) -> BarSeries:
    kept = BarSeries("1s", capacity)
    for second in range(count):
        kept.append(bar(second, str(second + 1)))
    return kept


def test_a_series_keeps_the_newest_bars() -> None:
    kept = series(100)
    window = kept.window()
    assert window.close.tolist() == [96, 97, 98, 99, 100]
    assert window.opened_ms.tolist() == [START_MS + 1000 * second for second in range(95, 100)]
    assert len(kept) == len(window) == 5
    assert kept.newest_ms == START_MS + 99_000


def test_an_empty_series_has_an_empty_window() -> None:
    assert len(series(0).window()) == 0
    assert series(0).newest_ms is None


def test_a_window_is_all_of_a_bar() -> None:
    kept = BarSeries("1s", 3)
    kept.append(CLOSED[0])
    window = kept.window()
    assert [float(column[0]) for column in (window.open, window.high, window.low, window.close, window.volume)] == [
        100.0,
        103.0,
        99.0,
        103.0,
        4.5,
    ]


def test_windows_handed_out_dont_change_and_cant_be_changed() -> None:
    kept = series(3)
    window, before = kept.window(), kept.window().close.copy()
    for second in range(3, 60):
        kept.append(bar(second, "7"))
    np.testing.assert_array_equal(window.close, before)
    with pytest.raises(ValueError, match="read-only"):
        window.close[0] = 1.0


def test_a_hole_starts_the_series_anew() -> None:
    kept = series(5)
    kept.append(bar(9, "50"))
    assert kept.window().close.tolist() == [50]


@pytest.mark.parametrize("second", [4, 3])
def test_a_series_never_goes_back(second: int) -> None:
    with pytest.raises(ValueError, match="after that of"):
        series(5).append(bar(second))


@given(st.integers(1, 7), st.lists(st.integers(1, 3), max_size=60))
def test_a_series_is_the_newest_run_of_neighbours(capacity: int, gaps: list[int]) -> None:
    kept, second = BarSeries("1s", capacity), 0
    run: list[int] = []
    for gap in gaps:
        second += gap
        kept.append(bar(second))
        run = [*run, second] if gap == 1 else [second]
        assert ((kept.window().opened_ms - START_MS) // 1000).tolist() == run[-capacity:]
