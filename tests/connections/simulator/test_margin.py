"""Positions on margin at the simulated exchange: what trades earn, what orders tie up, and that nothing vanishes."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections.simulator.accounts import Account, Fees, InsufficientBalance
from connections.simulator.binance_usdm.instruments import PERPETUALS
from connections.simulator.exchange import Exchange, Ticket
from connections.simulator.margin import (
    Figures,
    Holding,
    LeverageInUse,
    MarginBank,
    PositionTooLarge,
    ReduceOnlyRejected,
)
from connections.simulator.matching import OrderStatus, OrderType, Side
from connections.simulator.tape import Tape

NOW = 1_800_000_000_000
SYMBOL = "BTCUSDT"
D = Decimal


class Desk:
    """Alice, Bob and Charlie with 10,000 USDT each, and a mark price that the test sets."""

    def __init__(self) -> None:
        self.mark = D(50_000)
        self.bank = MarginBank(lambda _symbol: self.mark)
        self.exchange = Exchange(lambda: NOW, self.bank)
        self.exchange.list_market(PERPETUALS[SYMBOL], Tape.blank(SYMBOL, D(50_000), NOW))
        self.accounts = [Account(name, uid, fees=Fees(D(0), D("0.001"))) for uid, name in enumerate("abc")]
        self.alice, self.bob, self.charlie = self.accounts
        for account in self.accounts:
            self.bank.add(account)
            self.exchange.transfer(account, "USDT", D(10_000))
        self._placed = 0

    def place(self, account: Account, side: Side, quantity: str, price: str, *, reduce_only: bool = False) -> object:
        self._placed += 1
        return self.exchange.place(
            account,
            Ticket(
                SYMBOL, side, OrderType.LIMIT, D(quantity), f"c-{self._placed}", D(price), reduce_only=reduce_only
            ),
        )

    def trade(self, buyer: Account, seller: Account, quantity: str, price: str) -> None:
        """The seller rests, the buyer takes."""
        self.place(seller, Side.SELL, quantity, price)
        self.place(buyer, Side.BUY, quantity, price)

    def holding(self, account: Account) -> Holding:
        return self.bank.margin_of(account).holdings[SYMBOL]

    def figures(self, account: Account) -> Figures:
        return self.bank.figures(account, "USDT")


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_trade_moves_both_positions_and_only_the_fee_leaves_a_wallet(desk: Desk) -> None:
    desk.trade(desk.alice, desk.bob, "0.1", "50000")

    assert (desk.holding(desk.alice).quantity, desk.holding(desk.bob).quantity) == (D("0.1"), D("-0.1"))
    assert (desk.figures(desk.alice).wallet, desk.figures(desk.bob).wallet) == (D(9995), D(10_000))


def test_adding_averages_the_entry_and_closing_realises_against_it(desk: Desk) -> None:
    desk.trade(desk.alice, desk.bob, "0.1", "50000")
    desk.trade(desk.alice, desk.bob, "0.1", "51000")
    assert desk.holding(desk.alice).entry_price == D(50_500)

    desk.trade(desk.charlie, desk.alice, "0.1", "52000")
    assert (desk.holding(desk.alice).quantity, desk.holding(desk.alice).entry_price) == (D("0.1"), D(50_500))
    assert (desk.alice.fills[-1].realized, desk.holding(desk.alice).realized) == (D(150), D(150))


def test_selling_more_than_is_held_turns_the_position_at_the_trades_price(desk: Desk) -> None:
    desk.trade(desk.alice, desk.bob, "0.1", "50000")
    desk.trade(desk.charlie, desk.alice, "0.3", "49000")

    assert (desk.holding(desk.alice).quantity, desk.holding(desk.alice).entry_price) == (D("-0.2"), D(49_000))
    assert desk.alice.fills[-1].realized == D(-100)


def test_margin_follows_leverage_and_orders_count_by_how_far_they_could_take_the_position(desk: Desk) -> None:
    desk.trade(desk.alice, desk.bob, "0.1", "50000")
    assert desk.figures(desk.alice).position_margin == D(250)

    desk.place(desk.alice, Side.SELL, "0.25", "55000")
    assert desk.figures(desk.alice).order_margin == D("187.5")  # from 5000 long to 8750 short is 3750 more
    desk.place(desk.alice, Side.BUY, "0.1", "40000")
    assert desk.figures(desk.alice).order_margin == D(200)

    desk.bank.set_leverage(desk.alice, SYMBOL, 10, "USDT")
    assert (desk.figures(desk.alice).position_margin, desk.figures(desk.alice).order_margin) == (D(500), D(400))


def test_an_order_past_the_margin_is_refused_and_leaves_nothing(desk: Desk) -> None:
    desk.place(desk.alice, Side.BUY, "3.9", "50000")
    with pytest.raises(InsufficientBalance):
        desk.place(desk.alice, Side.BUY, "0.2", "50000")

    assert len(desk.alice.open_orders) == 1
    desk.place(desk.alice, Side.SELL, "3.9", "51000")  # the other side costs only what it adds


def test_a_loss_on_paper_lowers_what_is_available_but_closing_is_always_allowed(desk: Desk) -> None:
    desk.trade(desk.alice, desk.bob, "2", "50000")
    desk.mark = D(45_500)
    assert desk.figures(desk.alice).available < 0
    with pytest.raises(InsufficientBalance):
        desk.place(desk.alice, Side.BUY, "0.1", "40000")

    desk.place(desk.alice, Side.SELL, "2", "48000")
    assert desk.alice.open_on(SYMBOL)


def test_leverage_that_the_position_or_the_wallet_doesnt_bear_is_refused(desk: Desk) -> None:
    desk.trade(desk.alice, desk.bob, "3.5", "50000")
    with pytest.raises(LeverageInUse):
        desk.bank.set_leverage(desk.alice, SYMBOL, 10, "USDT")
    assert desk.bank.margin_of(desk.alice).leverage[SYMBOL] == 20

    desk.bank.set_leverage(desk.alice, SYMBOL, 125, "USDT")
    with pytest.raises(PositionTooLarge):
        desk.place(desk.alice, Side.BUY, "3", "50000")


def test_reduce_only_needs_a_position_is_cut_to_it_and_goes_when_it_shrinks(desk: Desk) -> None:
    with pytest.raises(ReduceOnlyRejected):
        desk.place(desk.alice, Side.SELL, "0.1", "60000", reduce_only=True)
    desk.trade(desk.alice, desk.bob, "0.1", "50000")
    with pytest.raises(ReduceOnlyRejected):
        desk.place(desk.alice, Side.BUY, "0.1", "40000", reduce_only=True)

    desk.place(desk.alice, Side.SELL, "5", "60000", reduce_only=True)
    (resting,) = desk.alice.open_on(SYMBOL)
    assert (resting.quantity, desk.figures(desk.alice).order_margin) == (D("0.1"), D(0))
    with pytest.raises(ReduceOnlyRejected):
        desk.place(desk.alice, Side.SELL, "0.1", "61000", reduce_only=True)

    desk.trade(desk.charlie, desk.alice, "0.06", "50000")
    assert resting.status is OrderStatus.EXPIRED


def test_funding_goes_from_long_to_short(desk: Desk) -> None:
    desk.trade(desk.alice, desk.bob, "0.1", "50000")
    before = desk.figures(desk.alice).wallet

    paid = desk.bank.fund(SYMBOL, "USDT", D("0.0001"), NOW)

    assert [(account.api_key, amount) for account, amount in paid] == [("a", D("-0.5")), ("b", D("0.5"))]
    assert desk.figures(desk.alice).wallet == before - D("0.5")
    assert desk.bank.margin_of(desk.bob).income[-1].kind == "FUNDING_FEE"


def test_at_the_liquidation_price_the_margin_is_just_what_must_be_maintained(desk: Desk) -> None:
    desk.trade(desk.alice, desk.bob, "2", "50000")
    for account in (desk.alice, desk.bob):
        desk.mark = D(50_000)
        desk.mark = desk.bank.liquidation_price(account, SYMBOL, "USDT")
        figures = desk.figures(account)
        assert figures.wallet + figures.unrealized == pytest.approx(figures.maintenance, abs=D("0.01"))


_trades = st.lists(
    st.tuples(
        st.permutations([0, 1, 2]),
        st.integers(1, 30).map(lambda lots: D(lots) / 1000),
        st.integers(480, 520).map(lambda hundreds: D(hundreds) * 100),
    ),
    max_size=12,
)


@given(trades=_trades)
def test_nothing_appears_and_nothing_vanishes(trades: list[tuple[list[int], Decimal, Decimal]]) -> None:
    desk = Desk()
    for (buyer, seller, _), quantity, price in trades:
        desk.trade(desk.accounts[buyer], desk.accounts[seller], str(quantity), str(price))
        desk.bank.fund(SYMBOL, "USDT", D("0.0003"), NOW)

    wallets = sum(account.balances["USDT"].free for account in desk.accounts)
    assert wallets + desk.bank.fees["USDT"] + desk.bank.house["USDT"] == D(30_000)
    assert sum(desk.holding(account).quantity for account in desk.accounts) == 0
    for account in desk.accounts:
        bought = sum(fill.quantity if fill.is_buyer else -fill.quantity for fill in account.fills)
        assert desk.holding(account).quantity == bought
