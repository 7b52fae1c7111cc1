"""Candles from before the simulator began, so that strategies can warm up: a seeded walk backwards in time.

The last 1,000 seconds exist second by second, the last day minute by minute; longer intervals are added up
from those. The most recent close is the market's first price.
"""

from decimal import ROUND_HALF_UP, Decimal
from random import Random

from connections.simulator.instruments import Instrument
from connections.simulator.tape import INTERVALS, MINUTE, SECOND, Bar, Candles, Tape, next_open_time, open_time

_SECONDS = 1000
_MINUTES = 1440
# What each interval is added up from; the shortest from what is generated.
_PARTS = {
    "1m": "", "3m": "1m", "5m": "1m", "15m": "5m", "30m": "15m", "1h": "30m", "2h": "1h", "4h": "2h", "6h": "2h",
    "8h": "4h", "12h": "6h", "1d": "12h", "3d": "1d", "1w": "1d", "1M": "1d",
}  # fmt: skip
_SECOND_MOVE = 1.2e-4
_MINUTE_MOVE = 6e-4


def make_tape(instrument: Instrument, price: Decimal, now_ms: int, seed: int | str) -> Tape:
    """A tape whose past ends now, at `price`."""
    random = Random(f"{seed}/{instrument.symbol}/history")  # noqa: S311 - reproducible prices, no secret
    this_second = open_time("1s", now_ms)
    seconds = _walk_back(instrument, random, "1s", this_second, price, _SECONDS, _SECOND_MOVE)
    first_minute = open_time("1m", seconds[0].opened_ms + MINUTE)
    recent = [bar for bar in seconds if bar.opened_ms >= first_minute]
    minutes = _walk_back(instrument, random, "1m", first_minute, recent[0].open, _MINUTES, _MINUTE_MOVE)
    count = _number(minutes + recent)
    _renumber(seconds, recent)
    candles = {"1s": Candles("1s", seconds, Bar.flat("1s", this_second, price))}
    for interval, part in _PARTS.items():
        source = candles[part].all() if part in candles else minutes + recent
        candles[interval] = _candles(interval, source)
    for longer in candles.values():
        longer.roll(now_ms)
    return Tape(instrument.symbol, candles, next_trade_id=count + 1)


def _walk_back(
    instrument: Instrument, random: Random, interval: str, end_ms: int, price: Decimal, count: int, move: float
) -> list[Bar]:
    bars: list[Bar] = []
    for index in range(1, count + 1):
        opened = _moved(instrument, price, random.gauss(0, move))
        wick = abs(random.gauss(0, move / 2))
        bars.append(_bar(instrument, random, end_ms - index * INTERVALS[interval], interval, opened, price, wick))
        price = opened
    return bars[::-1]


def _bar(
    instrument: Instrument, random: Random, opened_ms: int, interval: str, opened: Decimal, closed: Decimal, wick: float
) -> Bar:
    high = max(opened, closed, _moved(instrument, max(opened, closed), wick))
    low = min(opened, closed, _moved(instrument, min(opened, closed), -wick))
    trades = random.randint(4, 9) * (INTERVALS[interval] // SECOND)
    lots = random.randint(trades, 50 * trades)
    volume = instrument.lot * lots * 100
    taker = instrument.lot * random.randint(lots // 3, lots) * 100
    closes_ms = opened_ms + INTERVALS[interval] - 1
    middle = (high + low) / 2
    return Bar(
        opened_ms, closes_ms, opened, high, low, closed, volume, _cut(volume * middle), trades, taker,
        _cut(taker * middle),
    )  # fmt: skip


def _moved(instrument: Instrument, price: Decimal, change: float) -> Decimal:
    ticks = (price / instrument.tick * Decimal(repr(1 + change))).to_integral_value(ROUND_HALF_UP)
    return max(ticks, Decimal(1)) * instrument.tick


def _cut(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("1e-8"))


def _number(bars: list[Bar]) -> int:
    """Gives each bar its trade ids; returns the last one."""
    last = 0
    for bar in bars:
        bar.first_id, bar.last_id = last + 1, last + bar.trades
        last = bar.last_id
    return last


def _renumber(seconds: list[Bar], numbered: list[Bar]) -> None:
    """Seconds older than the numbered ones lie inside minute bars: their ids count down from there."""
    following = numbered[0].first_id
    for bar in reversed(seconds[: len(seconds) - len(numbered)]):
        bar.first_id, bar.last_id = following - bar.trades, following - 1
        following = bar.first_id


def _candles(interval: str, source: list[Bar]) -> Candles:
    closed: list[Bar] = []
    current = Bar.flat(interval, open_time(interval, source[0].opened_ms), source[0].open)
    for bar in source:
        while bar.opened_ms > current.closes_ms:
            closed.append(current)
            current = Bar.flat(interval, next_open_time(interval, current.opened_ms), current.close)
        current.merge(bar)
    return Candles(interval, closed, current)
