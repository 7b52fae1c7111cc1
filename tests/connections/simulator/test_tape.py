"""Trades become candles at the exchange's UTC boundaries; the past is whole before anything happens."""

import itertools
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connections.simulator.history import make_tape
from connections.simulator.instruments import INSTRUMENTS
from connections.simulator.matching import Match, Side
from connections.simulator.tape import INTERVALS, Tape, next_open_time, open_time

BTC = INSTRUMENTS["BTCUSDT"]
D105 = Decimal(105)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NOW = ms("2026-11-21T12:34:56.789")


def match(price: str, quantity: str, side: Side = Side.BUY) -> Match:
    return Match(Decimal(price), Decimal(quantity), Decimal(price) * Decimal(quantity), side)


@pytest.mark.parametrize(
    ("interval", "opened"),
    [
        ("1s", "2026-11-21T12:34:56"),
        ("1m", "2026-11-21T12:34"),
        ("15m", "2026-11-21T12:30"),
        ("4h", "2026-11-21T12:00"),
        ("1d", "2026-11-21"),
        ("1w", "2026-11-16"),
        ("1M", "2026-11-01"),
    ],
)
def test_bars_begin_at_utc_boundaries(interval: str, opened: str) -> None:
    assert open_time(interval, NOW) == ms(opened)


def test_a_month_ends_where_the_next_begins() -> None:
    assert next_open_time("1M", ms("2026-12-01")) == ms("2027-01-01")
    assert next_open_time("1M", ms("2027-02-01")) == ms("2027-03-01")


def test_a_bar_sums_what_traded_in_it() -> None:
    tape = Tape.blank("BTCUSDT", Decimal(100), NOW)
    for price, quantity, side in (("101", "2", Side.BUY), ("99", "1", Side.SELL), ("100", "1", Side.BUY)):
        tape.record([match(price, quantity, side)], NOW)
    bar = tape.candles["1m"].current
    assert [bar.open, bar.high, bar.low, bar.close] == [101, 101, 99, 100]
    assert [bar.volume, bar.quote_volume, bar.taker_volume, bar.taker_quote, bar.trades] == [4, 401, 3, 302, 3]
    assert (bar.first_id, bar.last_id) == (1, 3)


def test_time_closes_each_bar_once_and_empty_ones_repeat_the_price() -> None:
    tape = Tape.blank("BTCUSDT", Decimal(100), NOW)
    tape.record([match("105", "1")], NOW)
    tape.roll(NOW + 3000)
    seconds = [bar for interval, bar in tape.drain_ended() if interval == "1s"]
    assert [(bar.open, bar.close, bar.trades) for bar in seconds] == [(D105, D105, 1), (D105, D105, 0), (D105, D105, 0)]
    assert [later.opened_ms - bar.opened_ms for bar, later in itertools.pairwise(seconds)] == [1000, 1000]
    tape.roll(NOW + 3000)
    assert tape.drain_ended() == []


def test_trades_of_one_taker_at_one_price_are_aggregated() -> None:
    tape = Tape.blank("BTCUSDT", Decimal(100), NOW)
    trades, runs = tape.record([match("100", "1"), match("100", "2"), match("101", "1")], NOW)
    assert [trade.trade_id for trade in trades] == [1, 2, 3]
    assert [(run.first_id, run.last_id, run.quantity) for run in runs] == [(1, 2, Decimal(3)), (3, 3, Decimal(1))]
    assert [run.aggregate_id for run in runs] == [1, 2]


def test_the_past_is_gapless_consistent_and_ends_at_the_first_price() -> None:
    tape = make_tape(BTC, Decimal(61800), NOW, seed=5)
    for interval in ("1s", "1m"):
        bars = list(tape.candles[interval].closed)
        assert len(bars) >= 1000
        for bar, later in itertools.pairwise(bars):
            assert later.opened_ms == bar.closes_ms + 1
            assert (later.open, later.first_id) == (bar.close, bar.last_id + 1)
            assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
    assert tape.last_price == 61800


def test_long_bars_are_the_sum_of_short_ones() -> None:
    tape = make_tape(BTC, Decimal(61800), NOW, seed=5)
    minutes = tape.candles["1m"].all()
    for interval in INTERVALS:
        if interval in ("1s", "1M"):
            continue
        for bar in [bar for bar in tape.candles[interval].closed if bar.opened_ms >= minutes[0].opened_ms]:
            parts = [part for part in minutes if bar.opened_ms <= part.opened_ms <= bar.closes_ms]
            assert bar.volume == sum(part.volume for part in parts)
            assert (bar.open, bar.close) == (parts[0].open, parts[-1].close)
            assert (bar.high, bar.low) == (max(part.high for part in parts), min(part.low for part in parts))


def test_the_same_seed_gives_the_same_past() -> None:
    first, again, other = (make_tape(BTC, Decimal(61800), NOW, seed) for seed in (1, 1, 2))
    assert first.candles["1m"].all() == again.candles["1m"].all()
    assert first.candles["1m"].all() != other.candles["1m"].all()


def test_the_average_price_weighs_by_volume() -> None:
    tape = Tape.blank("BTCUSDT", Decimal(100), NOW)
    assert tape.average_price(5) == 100
    tape.record([match("100", "1"), match("200", "3")], NOW)
    assert tape.average_price(5) == 175
