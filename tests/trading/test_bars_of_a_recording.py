"""Bars out of a recorded stream of real trades."""

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from connections.events import PublicTrade
from connections.gateways import Candle
from desproject.lib.clock import to_millis
from trading.bars import BarBuilder, BarSeries

RECORDING = Path(__file__).parents[3] / "shared/data/binance/spot-btcusdt-20240808.jsonl.gz"
pytestmark = pytest.mark.skipif(not RECORDING.exists(), reason="the recording of real trades isn't on this machine")


def recorded() -> Iterator[PublicTrade]:
    """The recording's trades: each line is the receiver's nanoseconds and Binance's message."""
    with gzip.open(RECORDING, "rt") as lines:
        for line in lines:
            seen_ns, _, text = line.partition(" ")
            data = json.loads(text).get("data", {})
            if data.get("e") == "trade":
                price, quantity = Decimal(data["p"]), Decimal(data["q"])
                yield PublicTrade("BTC/USDT", int(seen_ns), data["t"], price, quantity, data["T"])


@pytest.fixture(scope="module")
def trades() -> list[PublicTrade]:
    return list(recorded())


def bars_of(trades: list[PublicTrade], timeframe: str) -> list[Candle]:
    """The bars, with time passing as the trades' own stamps do."""
    builder, bars = BarBuilder("BTC/USDT", timeframe), []
    builder.seed([], trades[0].executed_ms)
    for trade in trades:
        bars += builder.consume(trade) + builder.due(trade.executed_ms)
    return bars + builder.due(trades[-1].executed_ms + 3_600_000)


def test_second_bars_hold_every_trade_once(trades: list[PublicTrade]) -> None:
    bars = bars_of(trades, "1s")
    first_ms = to_millis(bars[0].opened_at)
    whole = [trade for trade in trades if trade.executed_ms >= first_ms]
    assert len(whole) > 1000
    assert sum(bar.volume for bar in bars) == sum(trade.quantity for trade in whole)
    for bar in bars:
        opened = to_millis(bar.opened_at)
        inside = [trade for trade in whole if opened <= trade.executed_ms < opened + 1000]
        if inside:
            prices = [trade.price for trade in inside]
            assert [bar.open, bar.high, bar.low, bar.close] == [prices[0], max(prices), min(prices), prices[-1]]
        else:
            assert bar.volume == 0


def test_minute_bars_are_their_seconds_added_up(trades: list[PublicTrade]) -> None:
    seconds = bars_of(trades, "1s")
    complete = [bar for bar in bars_of(trades, "1m") if bar.volume]
    assert len(complete) >= 4
    for minute in complete:
        opened = to_millis(minute.opened_at)
        inside = [bar for bar in seconds if opened <= to_millis(bar.opened_at) < opened + 60_000 and bar.volume]
        assert minute.open == inside[0].open
        assert minute.close == inside[-1].close
        assert minute.high == max(bar.high for bar in inside)
        assert minute.low == min(bar.low for bar in inside)
        assert minute.volume == sum(bar.volume for bar in inside)


def test_a_series_takes_them_all(trades: list[PublicTrade]) -> None:
    series = BarSeries("1s", 200)
    for bar in bars_of(trades, "1s"):
        series.append(bar)
    assert len(series.window()) == 200
