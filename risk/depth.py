"""What a market order does to an order book, worked out from the levels that it would take (RSK-4).

``levels`` are (price, size) of one side, best price first; prices rise for what a purchase takes, and fall for a sale.
"""

from collections.abc import Sequence
from decimal import Decimal

from desproject.lib.money import ZERO

Levels = Sequence[tuple[Decimal, Decimal]]


def total(levels: Levels) -> Decimal:
    """How much could be taken in all."""
    return sum((size for _, size in levels), ZERO)


def slippage(levels: Levels, quantity: Decimal) -> Decimal | None:
    """By which part of the best price the average one is worse; None when there isn't so much to take."""
    left, paid = quantity, ZERO
    for price, size in levels:
        taken = min(left, size)
        paid += taken * price
        left -= taken
        if not left:
            best = levels[0][0]
            return abs(paid / quantity - best) / best
    return None


def safe_quantity(levels: Levels, most: Decimal) -> Decimal:
    """The most that can be taken so that the slippage stays within ``most``; all there is, where all does."""
    if not levels:
        return ZERO
    best = levels[0][0]
    # What the average price may be away from the best, in the quote asset, times what is taken: a budget that levels
    # beyond the allowed average use up, and those before it add to.
    allowed, taken, budget = best * most, ZERO, ZERO
    for price, size in levels:
        beyond = abs(price - best) - allowed
        if beyond > 0 and beyond * size > budget:
            return taken + budget / beyond
        taken += size
        budget -= beyond * size
    return taken
