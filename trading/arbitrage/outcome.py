"""What became of a fire, from the fills of its orders: what stands on one side alone, what was won, what a hedge
cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from connections.gateways import Side
from desproject.lib.money import ZERO, exact, settle


@dataclass(frozen=True, slots=True)
class Filled:
    """What an order of a fire traded. ``quote_fee`` and ``base_fee`` are what it paid of either asset."""

    side: Side
    is_hedge: bool
    quantity: Decimal
    worth: Decimal
    quote_fee: Decimal = ZERO
    base_fee: Decimal = ZERO

    @property
    def flow(self) -> Decimal:
        """What it brought of the quote asset, fees taken off; below zero for a purchase. A fee in base is worth its
        price."""
        signed = self.worth if self.side == Side.SELL else -self.worth
        base_fee = self.base_fee * self.worth / self.quantity if self.quantity else ZERO
        return signed - self.quote_fee - base_fee


@dataclass(frozen=True, slots=True)
class Outcome:
    """Quantities in base, amounts in quote. ``exposure`` is above zero where more was bought than sold."""

    bought: Decimal
    sold: Decimal
    exposure: Decimal
    profit: Decimal
    exposure_cost: Decimal


def outcome(orders: Sequence[Filled]) -> Outcome:
    """Sums up. What looks as if it were still held, but was paid as fees in base, is no exposure."""
    with exact():
        bought = sum((each.quantity for each in orders if each.side == Side.BUY), ZERO)
        sold = sum((each.quantity for each in orders if each.side == Side.SELL), ZERO)
        base_fees = sum((each.base_fee for each in orders), ZERO)
        exposure = bought - sold
        if 0 < exposure <= base_fees:
            exposure = ZERO
        profit = sum((each.flow for each in orders), ZERO)
        return Outcome(bought, sold, exposure, settle(profit), settle(_matched(orders) - profit))


def _matched(orders: Sequence[Filled]) -> Decimal:
    """What the part that both legs filled wins by itself."""
    legs = {each.side: each for each in orders if not each.is_hedge}
    buy, sell = legs.get(Side.BUY), legs.get(Side.SELL)
    if buy is None or sell is None or not buy.quantity or not sell.quantity:
        return ZERO
    matched = min(buy.quantity, sell.quantity)
    return matched * (buy.flow / buy.quantity + sell.flow / sell.quantity)
