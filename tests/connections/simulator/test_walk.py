"""The random market: reproducible, never crossed, and lively enough to trade on."""

from decimal import Decimal
from itertools import islice

import pytest

from connections.simulator.accounts import Account
from connections.simulator.exchange import Exchange, Ticket
from connections.simulator.instruments import DEFAULT_SYMBOLS, INSTRUMENTS
from connections.simulator.matching import OrderStatus, OrderType, Side
from connections.simulator.tape import Tape
from connections.simulator.walk import STEP_S, RandomWalk, Storm

START = 1_800_000_000_000


class Played:
    """An exchange with one walk on it, moved step by step."""

    def __init__(self, symbol: str, seed: int) -> None:
        self.now_ms = START
        self.symbol = symbol
        self.exchange = Exchange(lambda: self.now_ms)
        instrument = INSTRUMENTS[symbol]
        self.exchange.list_market(instrument, Tape.blank(symbol, instrument.start_price, START))
        self.market = self.exchange.markets[symbol]
        self._steps = RandomWalk(instrument, seed).steps()

    def play(self, count: int) -> None:
        for step in islice(self._steps, count):
            self.now_ms += round(step.delay * 1000)
            for action in step.actions:
                action.apply(self.exchange, self.symbol)
            bid, ask = self.market.book.best(Side.BUY), self.market.book.best(Side.SELL)
            assert bid is not None
            assert ask is not None
            assert bid[0] < ask[0]


def test_the_same_seed_gives_the_same_steps() -> None:
    first, again, other = (list(islice(RandomWalk(INSTRUMENTS["BTCUSDT"], seed).steps(), 50)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("symbol", DEFAULT_SYMBOLS)
def test_books_stay_two_sided_and_of_bounded_size(symbol: str) -> None:
    played = Played(symbol, seed=3)
    played.play(1500)
    for side in Side:
        assert 30 <= len(played.market.book.depth(side)) <= 60
    prices = [price for price, _ in played.market.book.depth(Side.BUY)]
    assert all(price % played.market.instrument.tick == 0 for price in prices)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "SOLUSDT"])
def test_averages_cross_several_times_a_minute(symbol: str) -> None:
    played = Played(symbol, seed=1)
    played.play(3000)
    closes = [float(bar.close) for bar in played.market.tape.candles["1s"].closed]
    fast, slow, crossings, was_above = closes[0], closes[0], 0, False
    for close in closes:
        fast, slow = fast + (close - fast) * 0.2, slow + (close - slow) / 11
        crossings += (fast > slow) is not was_above
        was_above = fast > slow
    assert crossings / 5 >= 2


def test_a_resting_order_fills_when_the_market_comes_to_it() -> None:
    played = Played("BTCUSDT", seed=1)
    alice = Account("alice", 1)
    played.exchange.bank.add(alice)
    played.exchange.transfer(alice, "USDT", INSTRUMENTS["BTCUSDT"].start_price)
    played.play(1)
    best = played.market.book.best(Side.BUY)
    assert best is not None
    ticket = Ticket("BTCUSDT", Side.BUY, OrderType.LIMIT, INSTRUMENTS["BTCUSDT"].lot * 5000, "one", best[0])
    order = played.exchange.place(alice, ticket)
    played.play(2000)
    assert order.status is OrderStatus.FILLED
    assert all(fill.is_maker and fill.price == best[0] for fill in alice.fills)


def test_a_storm_moves_the_price_as_told_in_many_steps_and_a_wide_market_and_then_it_is_over() -> None:
    walk = RandomWalk(INSTRUMENTS["BTCUSDT"], seed=5)
    exchange = Exchange(lambda: START)
    exchange.list_market(INSTRUMENTS["BTCUSDT"], Tape.blank("BTCUSDT", walk.first_price, START))
    steps = walk.steps()

    def play(count: int) -> float:
        """How long that took; the book is as after the last of them."""
        played = list(islice(steps, count))
        for step in played:
            for action in step.actions:
                action.apply(exchange, "BTCUSDT")
        return sum(step.delay for step in played)

    def spread() -> Decimal:
        bid, ask = (exchange.markets["BTCUSDT"].book.best(side) for side in (Side.BUY, Side.SELL))
        assert bid is not None
        assert ask is not None
        return ask[0] - bid[0]

    play(50)
    calm, before = spread(), exchange.markets["BTCUSDT"].book.best(Side.BUY)
    storm = Storm(move=-0.2, seconds=6, rate=50, spread=20)
    walk.begin(storm)
    assert play(storm.steps) == pytest.approx(6)
    after = exchange.markets["BTCUSDT"].book.best(Side.BUY)
    assert before is not None
    assert after is not None
    assert after[0] / before[0] == pytest.approx(Decimal("0.8"), abs=Decimal("0.02"))
    assert spread() >= 15 * calm
    assert play(10) == pytest.approx(10 * STEP_S)
    assert spread() <= 2 * calm


def test_a_storm_that_is_called_off_leaves_the_price_where_it_would_have_ended() -> None:
    walk = RandomWalk(INSTRUMENTS["BTCUSDT"], seed=5)
    before = walk._middle
    walk.begin(Storm(move=-0.2, seconds=60))
    walk.calm()
    assert walk._middle == pytest.approx(0.8 * before)
    assert next(walk.steps()).delay == STEP_S
