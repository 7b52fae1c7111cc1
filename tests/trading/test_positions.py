"""Average-cost accounting, to the last decimal."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connections.gateways import Side
from desproject.lib.money import ZERO, exact, settle
from trading.models import Trade
from trading.positions import PositionState, apply_fill, rebuild, unrealized

BUY, SELL = Side.BUY, Side.SELL


@dataclass(frozen=True)
class AFill:
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal = ZERO
    fee_asset: str = "USDT"


def fill(side: Side, quantity: str, price: str, fee: str = "0", fee_asset: str = "USDT") -> AFill:
    return AFill(side, Decimal(quantity), Decimal(price), Decimal(fee), fee_asset)


def booked(state: PositionState, one: AFill) -> tuple[PositionState, Decimal]:
    return apply_fill(state, one.side, one.quantity, one.price, one.fee, one.fee_asset, "BTC", "USDT")


def after(*fills: AFill) -> PositionState:
    return rebuild(fills, "BTC", "USDT")


def test_a_purchase_has_its_price_as_average() -> None:
    state, realized = booked(PositionState(), fill(BUY, "2", "100"))
    assert [state.quantity, state.average_price, state.realized_pnl, realized] == [2, 100, 0, 0]


def test_two_purchases_are_averaged_by_quantity() -> None:
    state = after(fill(BUY, "1", "100"), fill(BUY, "3", "200"))
    assert [state.quantity, state.average_price] == [4, 175]


def test_a_sale_realises_against_the_average_and_leaves_it() -> None:
    state, realized = booked(after(fill(BUY, "4", "175")), fill(SELL, "1", "200"))
    assert realized == 25
    assert [state.quantity, state.average_price, state.realized_pnl] == [3, 175, 25]


def test_selling_all_ends_with_nothing_held() -> None:
    state = after(fill(BUY, "2", "100"), fill(SELL, "2", "90"))
    assert [state.quantity, state.average_price, state.realized_pnl] == [0, 0, -20]


def test_a_new_purchase_after_selling_all_starts_a_new_average() -> None:
    state = after(fill(BUY, "2", "100"), fill(SELL, "2", "90"), fill(BUY, "1", "50"))
    assert [state.quantity, state.average_price, state.realized_pnl] == [1, 50, -20]


def test_a_quote_fee_is_a_loss() -> None:
    state, realized = booked(PositionState(), fill(BUY, "2", "100", "0.2", "USDT"))
    assert realized == Decimal("-0.2")
    assert [state.quantity, state.average_price] == [2, 100]


def test_a_base_fee_lowers_what_a_purchase_brings_and_is_a_loss_at_its_price() -> None:
    state, realized = booked(PositionState(), fill(BUY, "2", "100", "0.002", "BTC"))
    assert realized == Decimal("-0.2")
    assert [state.quantity, state.average_price] == [Decimal("1.998"), 100]


def test_a_base_fee_on_a_sale_is_taken_from_what_is_held() -> None:
    state, realized = booked(after(fill(BUY, "2", "100")), fill(SELL, "1", "150", "0.01", "BTC"))
    # 1.01 left at a cost of 101, 150 came in.
    assert realized == 49
    assert state.quantity == Decimal("0.99")


def test_a_fee_in_another_asset_is_summed_apart() -> None:
    state = after(fill(BUY, "1", "100", "0.001", "BNB"), fill(SELL, "1", "110", "0.002", "BNB"))
    assert state.other_fees == {"BNB": Decimal("0.003")}
    assert state.realized_pnl == 10


def test_a_rebate_is_a_gain() -> None:
    _, realized = booked(PositionState(), fill(BUY, "1", "100", "-0.01", "USDT"))
    assert realized == Decimal("0.01")


def test_selling_what_des_never_bought_realises_nothing() -> None:
    state, realized = booked(PositionState(), fill(SELL, "5", "100", "0.5", "USDT"))
    assert realized == Decimal("-0.5")
    assert [state.quantity, state.average_price] == [0, 0]


def test_selling_more_than_des_bought_realises_only_the_known_part() -> None:
    state, realized = booked(after(fill(BUY, "1", "100")), fill(SELL, "3", "110"))
    assert [realized, state.quantity] == [10, 0]


def test_a_fee_as_large_as_the_purchase_leaves_nothing() -> None:
    state, realized = booked(PositionState(), fill(BUY, "1", "100", "1", "BTC"))
    assert [state.quantity, state.average_price, realized] == [0, 0, -100]


def test_unrealized_is_the_distance_of_the_mark() -> None:
    state = after(fill(BUY, "2", "100"))
    assert unrealized(state, Decimal("90")) == -20
    assert unrealized(PositionState(), Decimal("90")) == 0


def test_the_state_before_is_left_alone() -> None:
    before = PositionState(Decimal(1), Decimal(100), ZERO, {"BNB": Decimal(1)})
    booked(before, fill(BUY, "1", "100", "1", "BNB"))
    assert before.other_fees == {"BNB": 1}


def test_a_third_is_cut_after_eighteen_decimals() -> None:
    state = after(fill(BUY, "1", "1"), fill(BUY, "2", "2"))
    assert state.average_price == Decimal("1.666666666666666666")


def test_the_largest_amounts_keep_every_digit() -> None:
    quantity, price = Decimal("1234567890123456789.123456789012345678"), Decimal("8.000000000000000001")
    state, realized = booked(after(AFill(BUY, quantity, Decimal("7"))), AFill(SELL, quantity, price))
    with exact():
        assert realized == settle(quantity * (price - 7))
    assert state.quantity == 0


def amounts(largest: int, places: int = 8) -> st.SearchStrategy[Decimal]:
    return st.integers(1, largest * 10**places).map(lambda units: Decimal(units).scaleb(-places))


@st.composite
def fills(draw: st.DrawFn) -> AFill:
    quantity, price = draw(amounts(10**4)), draw(amounts(10**5))
    rate = Decimal(draw(st.integers(-5, 50))).scaleb(-4)
    asset = draw(st.sampled_from(["BTC", "USDT", "BNB"]))
    fee = settle(rate * quantity * (price if asset == "USDT" else 1))
    return AFill(draw(st.sampled_from([BUY, SELL])), quantity, price, fee, asset)


def covered(all_fills: Sequence[AFill]) -> list[AFill]:
    """The fills without sales of more than is held."""
    state, kept = PositionState(), []
    for one in all_fills:
        base_fee = one.fee if one.fee_asset == "BTC" else ZERO
        if one.side == BUY or one.quantity + base_fee <= state.quantity:
            state, _ = booked(state, one)
            kept.append(one)
    return kept


@given(st.lists(fills(), max_size=30))
def test_money_is_conserved(all_fills: list[AFill]) -> None:
    """Cash that moved, plus what is held at its cost, is what was realised."""
    kept = covered(all_fills)
    state = rebuild(kept, "BTC", "USDT")
    cash = base = held_most = ZERO
    with exact():
        for one in kept:
            sign = -1 if one.side == BUY else 1
            cash += sign * one.quantity * one.price - (one.fee if one.fee_asset == "USDT" else ZERO)
            base -= sign * one.quantity + (one.fee if one.fee_asset == "BTC" else ZERO)
            held_most = max(held_most, base)
        # Each fill may cut one unit of the last decimal off the average (times what is held), and off the P&L.
        lost = len(kept) * (held_most + 1) * Decimal("1e-18")
        assert base == state.quantity
        assert abs(cash + state.quantity * state.average_price - state.realized_pnl) <= lost


@given(st.lists(fills(), max_size=30))
def test_rebuilt_is_what_came_fill_by_fill(all_fills: list[AFill]) -> None:
    state, total = PositionState(), ZERO
    for one in all_fills:
        state, realized = booked(state, one)
        total += realized
        assert state.quantity >= 0
        assert [state.average_price == 0] == [state.quantity == 0]
    assert rebuild(all_fills, "BTC", "USDT") == state
    assert state.realized_pnl == total


@given(st.lists(fills(), max_size=10))
def test_every_result_fits_the_columns(all_fills: list[AFill]) -> None:
    state = after(*all_fills)
    for amount in (state.quantity, state.average_price, state.realized_pnl, *state.other_fees.values()):
        assert settle(amount) == amount


@given(st.lists(fills(), max_size=10), amounts(10**5))
def test_selling_at_the_mark_realises_what_was_unrealised(all_fills: list[AFill], mark: Decimal) -> None:
    state = after(*all_fills)
    if state.quantity:
        _, realized = booked(state, AFill(SELL, state.quantity, mark))
        assert realized == unrealized(state, mark)


@pytest.mark.parametrize(("side", "held"), [("buy", 2), ("sell", 0)])
def test_sides_from_the_database_are_plain_text(side: str, held: int) -> None:
    state = rebuild([fill(BUY, "1", "100"), Trade(side=side, quantity=Decimal(1), price=Decimal(100))], "BTC", "USDT")
    assert state.quantity == held


# On margin.


def on_margin(*fills: AFill) -> PositionState:
    return rebuild(fills, "BTC", "USDT", on_margin=True)


def test_a_short_position_earns_when_it_is_bought_back_cheaper() -> None:
    short = on_margin(fill(SELL, "2", "100"))
    closed = on_margin(fill(SELL, "2", "100"), fill(BUY, "2", "90"))

    assert [short.quantity, short.average_price, short.realized_pnl] == [-2, 100, 0]
    assert unrealized(short, Decimal(90)) == 20
    assert [closed.quantity, closed.average_price, closed.realized_pnl] == [0, 0, 20]


def test_what_goes_beyond_the_position_opens_the_other_side_at_the_fills_price() -> None:
    state = on_margin(fill(BUY, "1", "100"), fill(BUY, "1", "110"), fill(SELL, "5", "120"))

    assert [state.quantity, state.average_price, state.realized_pnl] == [-3, 120, 30]


def test_on_margin_fees_never_touch_the_quantity() -> None:
    state = on_margin(
        fill(BUY, "1", "100", fee="0.5", fee_asset="USDT"), fill(SELL, "1", "100", fee="0.01", fee_asset="BNB")
    )

    assert [state.quantity, state.realized_pnl] == [0, Decimal("-0.5")]
    assert state.other_fees == {"BNB": Decimal("0.01")}


@given(st.lists(st.tuples(st.sampled_from([BUY, SELL]), st.integers(1, 9), st.integers(90, 110)), max_size=12))
def test_on_margin_profit_and_what_is_on_paper_add_up_to_the_money_that_moved(
    rows: list[tuple[Side, int, int]],
) -> None:
    state = on_margin(*(fill(side, str(quantity), str(price)) for side, quantity, price in rows))

    signed = [(quantity if side == BUY else -quantity, price) for side, quantity, price in rows]
    worth_now = sum(quantity * (100 - price) for quantity, price in signed)
    total = state.realized_pnl + unrealized(state, Decimal(100))
    assert state.quantity == sum(quantity for quantity, _ in signed)
    assert abs(total - worth_now) < Decimal("1e-12")
