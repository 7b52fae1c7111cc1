"""What became of a fire: exposure, profit, and what a hedge cost."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from connections.gateways import Side
from trading.arbitrage.outcome import Filled, outcome

FEE = Decimal("0.0005")


def filled(side: Side, quantity: str, price: int, *, is_hedge: bool = False, base_fee: str = "0") -> Filled:
    worth = Decimal(quantity) * price
    quote_fee = Decimal(0) if Decimal(base_fee) else worth * FEE
    return Filled(side, is_hedge, Decimal(quantity), worth, quote_fee, Decimal(base_fee))


amounts = st.decimals("0.00000001", 10, places=8).map(str)
prices = st.integers(1, 200_000_000)


@given(st.lists(st.builds(filled, st.sampled_from(list(Side)), amounts, prices, is_hedge=st.booleans()), max_size=8))
def test_the_profit_is_what_all_fills_brought(orders: list[Filled]) -> None:
    found = outcome(orders)
    brought = sum((each.worth if each.side == Side.SELL else -each.worth) - each.quote_fee for each in orders)
    assert abs(found.profit - brought) < Decimal("1e-17")
    assert found.exposure == found.bought - found.sold


def test_two_full_legs_leave_nothing_and_cost_nothing() -> None:
    found = outcome([filled(Side.BUY, "0.01", 100_000_000), filled(Side.SELL, "0.01", 101_000_000)])
    assert found.exposure == found.exposure_cost == 0
    assert found.profit == 10_000 - 500 - 505


def test_a_hedge_of_all_costs_what_it_lost() -> None:
    found = outcome([
        filled(Side.BUY, "0.01", 100_000_000), filled(Side.SELL, "0.01", 99_000_000, is_hedge=True),
    ])  # fmt: skip
    assert found.exposure == 0
    assert found.profit == -found.exposure_cost == -10_000 - 500 - 495


def test_of_a_partial_fill_only_the_rest_counts_as_exposure() -> None:
    legs = [filled(Side.BUY, "0.01", 100_000_000), filled(Side.SELL, "0.004", 101_000_000)]
    assert outcome(legs).exposure == Decimal("0.006")
    done = outcome([*legs, filled(Side.SELL, "0.006", 100_000_000, is_hedge=True)])
    assert done.exposure == 0
    # 0.006 bought at 100 million and sold for the same: both fees.
    assert done.exposure_cost == 600


def test_more_sold_than_bought_is_below_zero() -> None:
    assert outcome([filled(Side.SELL, "0.01", 1)]).exposure == Decimal("-0.01")


def test_what_was_paid_as_fee_in_base_is_no_exposure() -> None:
    """Binance takes a purchase's fee of what was bought: selling less by that much leaves nothing."""
    bought = filled(Side.BUY, "0.01", 60_000, base_fee="0.00001")
    assert outcome([bought, filled(Side.SELL, "0.00999", 60_000, is_hedge=True)]).exposure == 0
    assert outcome([bought, filled(Side.SELL, "0.0099", 60_000, is_hedge=True)]).exposure == Decimal("0.0001")
