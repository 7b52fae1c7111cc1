"""Recordings played back: the same book, the same trades, our own ids, and round again at the end."""

import gzip
import json
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from connections.simulator.accounts import Account
from connections.simulator.exchange import AccountChange, Exchange, Ticket
from connections.simulator.instruments import INSTRUMENTS
from connections.simulator.market import Top
from connections.simulator.matching import OrderStatus, OrderType, Side
from connections.simulator.replay import BadRecording, Recording
from connections.simulator.tape import AggregateTrade, Tape, Trade

REAL = Path(__file__).parents[4] / "shared/data/binance/spot-btcusdt-20240808.jsonl.gz"
START = 1_800_000_000_000
LINES = """\
1000000000 {"stream":"btcusdt@bookTicker","data":{"u":5,"s":"BTCUSDT","b":"99.00","B":"9","a":"100.00","A":"9"}}
1100000000 {"lastUpdateId":10,"bids":[["100.00","2"],["99.00","5"]],"asks":[["101.00","2"],["102.00","5"]]}
1200000000 {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":8,"u":10,"b":[["98.00","1"]],"a":[]}}
1300000000 {"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":7,"p":"100.00","q":"1.5","T":1,"m":true,"M":true}}
1400000000 {"stream":"btcusdt@bookTicker","data":{"u":14,"s":"BTCUSDT","b":"99.00","B":"5","a":"101.00","A":"3"}}
1500000000 {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":11,"u":12,"b":[["100.00","1"],["97.00","4"]],"a":[]}}
"""  # noqa: E501


class Played:
    """An exchange fed from a recording; hears its trades."""

    def __init__(self, recording: Recording) -> None:
        self.now_ms = START
        self.exchange = Exchange(lambda: self.now_ms)
        tape = Tape.blank("BTCUSDT", recording.first_price, START)
        self.exchange.list_market(INSTRUMENTS["BTCUSDT"], tape)
        self.exchange.listeners.append(self)
        self.book = self.exchange.markets["BTCUSDT"].book
        self.trades: list[Trade] = []
        self.shown: dict[tuple[Side, Decimal], Decimal] = {}
        self.steps = recording.steps()

    def play(self, count: int) -> None:
        for step in islice(self.steps, count):
            self.now_ms += round(step.delay * 1000)
            for action in step.actions:
                action.apply(self.exchange, "BTCUSDT")
                if isinstance(action, Top) and not self.exchange.bank.accounts:
                    assert (self.book.best(Side.BUY), self.book.best(Side.SELL)) == (action.bid, action.ask)

    def market_moved(self, symbol: str, trades: list[Trade], aggregates: list[AggregateTrade]) -> None:
        self.trades += trades
        for side, price in self.book.drain_changes():
            self.shown[side, price] = self.book.total_at(side, price)

    def account_changed(self, account: Account, change: AccountChange) -> None:
        """Not looked at here."""

    def funds_moved(self, account: Account, asset: str, amount: Decimal) -> None:
        """Not looked at here."""


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    path = tmp_path / "little.jsonl"
    path.write_text(LINES)
    return Recording(path)


def rows(played: Played, side: Side) -> list[tuple[str, str]]:
    return [(str(price), str(total)) for price, total in played.book.depth(side)]


def test_it_begins_with_the_snapshot_and_skips_what_is_older(recording: Recording) -> None:
    played = Played(recording)
    played.play(2)
    assert (recording.symbol, recording.first_price) == ("BTCUSDT", Decimal(100))
    assert [price for price, _ in rows(played, Side.BUY)] == ["100.00", "99.00"]


def test_a_recorded_trade_takes_from_the_book_and_is_printed(recording: Recording) -> None:
    played = Played(recording)
    played.play(2)
    assert [(trade.price, trade.quantity, trade.buyer_is_maker) for trade in played.trades] == [
        (Decimal(100), Decimal("1.5"), True)
    ]
    assert rows(played, Side.BUY)[0] == ("100.00", "0.5")


def test_a_delta_older_than_the_best_quote_brings_no_level_back(recording: Recording) -> None:
    played = Played(recording)
    played.play(4)
    assert rows(played, Side.BUY) == [("99.00", "5"), ("97.00", "4")]
    assert rows(played, Side.SELL)[0] == ("101.00", "3")


def test_at_the_end_it_begins_again_and_the_deltas_tell_all(recording: Recording) -> None:
    played = Played(recording)
    played.play(4)
    before = played.book.update_id
    played.play(1)
    assert played.book.update_id > before
    for side in Side:
        told = {price: total for (where, price), total in played.shown.items() if where is side and total}
        assert told == dict(played.book.depth(side))
    assert [price for price, _ in rows(played, Side.BUY)] == ["100.00", "99.00"]


def test_delays_are_those_of_the_recording(recording: Recording) -> None:
    assert [step.delay for step in islice(recording.steps(), 4)] == pytest.approx([0, 0.2, 0.1, 0.1])


def test_an_order_takes_what_is_shown_and_a_resting_one_fills_by_recorded_trades(recording: Recording) -> None:
    played = Played(recording)
    alice = Account("alice", 1)
    played.exchange.bank.add(alice)
    played.exchange.transfer(alice, "USDT", Decimal(1000))
    played.play(1)
    taken = played.exchange.place(alice, Ticket("BTCUSDT", Side.BUY, OrderType.LIMIT, Decimal(1), "take", Decimal(101)))
    resting = played.exchange.place(
        alice, Ticket("BTCUSDT", Side.BUY, OrderType.LIMIT, Decimal(1), "rest", Decimal("100.5"))
    )
    assert taken.status is OrderStatus.FILLED
    assert rows(played, Side.SELL)[0] == ("101.00", "1")
    played.play(1)
    assert resting.status is OrderStatus.FILLED
    assert [trade.quantity for trade in played.trades[1:]] == [1, Decimal("0.5")]


@pytest.mark.parametrize("text", ["", '1 {"stream":"a@trade","data":{}}\n'])
def test_a_file_without_a_snapshot_is_no_recording(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(BadRecording):
        Recording(path)


@pytest.mark.skipif(not REAL.exists(), reason="the real recording isn't here (../shared/data)")
def test_the_real_recording_shows_every_recorded_best_quote() -> None:
    recording = Recording(REAL)
    played = Played(recording)
    played.play(15_000)  # every Top is compared in play()
    assert len(played.trades) > 2000
    assert [trade.trade_id for trade in played.trades] == list(range(1, len(played.trades) + 1))
    _assert_same_trades(played.trades)
    for side in Side:
        told = {price: total for (where, price), total in played.shown.items() if where is side and total}
        assert told == dict(played.book.depth(side))
        assert len(told) > 500


def _assert_same_trades(played: list[Trade]) -> None:
    """What was printed is what the file holds after its snapshot, trade by trade; some come in two parts."""
    lines = gzip.decompress(REAL.read_bytes()).decode().splitlines()
    start = next(index for index, line in enumerate(lines) if '"lastUpdateId"' in line)
    bodies = [json.loads(line.partition(" ")[2]).get("data", {}) for line in lines[start:] if line]
    recorded = iter(body for body in bodies if body.get("e") == "trade")
    left = Decimal(0)
    for trade in played:
        if not left:
            body = next(recorded)
            left = Decimal(body["q"])
        assert (trade.price, trade.buyer_is_maker) == (Decimal(body["p"]), body["m"])
        left -= trade.quantity
        assert left >= 0
