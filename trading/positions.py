"""Positions at average cost, exact: pure functions from a state and a fill to the next state (ORD-10).

Fees: in the base asset they lower what a purchase brings (or are taken from what is held) and count as a loss at the
fill's price; in the quote asset they count as a loss; in other assets they are only summed up, by asset. A sale of more
than DES has bought has no known cost: what is in excess realises nothing and the position stays at zero.
On margin (perpetual contracts) a position is of either sign: a fill against it closes at the average price and realises
the difference, what goes beyond opens the other side at the fill's price; the base asset itself never changes hands.
All results are cut to 18 decimals, so a position rebuilt from its trades is the same to the last digit.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from connections.gateways import Side
from desproject.lib.money import ZERO, exact, settle


@dataclass(frozen=True, slots=True)
class PositionState:
    """What is held (base asset; below 0 for a short position), its average price and the realised P&L (quote asset,
    fees taken off)."""

    quantity: Decimal = ZERO
    average_price: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    other_fees: Mapping[str, Decimal] = field(default_factory=dict)


class FillLike(Protocol):
    """What of a fill matters here; trades and the gateways' fills both have it."""

    @property
    def side(self) -> str: ...
    @property
    def quantity(self) -> Decimal: ...
    @property
    def price(self) -> Decimal: ...
    @property
    def fee(self) -> Decimal: ...
    @property
    def fee_asset(self) -> str: ...


def apply_fill(
    state: PositionState,
    side: Side,
    quantity: Decimal,
    price: Decimal,
    fee: Decimal,
    fee_asset: str,
    base: str,
    quote: str,
    *,
    on_margin: bool = False,
) -> tuple[PositionState, Decimal]:
    """The state after a fill, and what that fill realised (quote asset). A negative fee is a rebate."""
    if on_margin:
        signed = quantity if Side(side) == Side.BUY else -quantity
        others = _other_fees(state, fee, fee_asset, quote)
        return _on_margin(state, signed, price, fee if fee_asset == quote else ZERO, others)
    base_fee = fee if fee_asset == base else ZERO
    quote_fee = fee if fee_asset == quote else ZERO
    with exact():
        if Side(side) == Side.BUY:
            held, average = _bought(state, quantity - base_fee, price)
            gained = ZERO
        else:
            held, average, gained = _sold(state, quantity + base_fee, price)
        realized = settle(gained - base_fee * price - quote_fee)
        total = settle(state.realized_pnl + realized)
    return PositionState(held, average, total, _other_fees(state, fee, fee_asset, base, quote)), realized


def rebuild(fills: Iterable[FillLike], base: str, quote: str, *, on_margin: bool = False) -> PositionState:
    """The state that fills lead to, in their order."""
    state = PositionState()
    for fill in fills:
        state, _ = apply_fill(
            state, Side(fill.side), fill.quantity, fill.price, fill.fee, fill.fee_asset, base, quote,
            on_margin=on_margin,
        )  # fmt: skip
    return state


def is_on_margin(symbol: str) -> bool:
    """Whether a symbol is a perpetual contract, ``BTC/USDT:USDT``: its last part is the asset that it settles in."""
    return ":" in symbol


def unrealized(state: PositionState, mark: Decimal) -> Decimal:
    """What selling everything at ``mark`` would realise, before fees (quote asset)."""
    with exact():
        return settle((mark - state.average_price) * state.quantity)


def _bought(state: PositionState, quantity: Decimal, price: Decimal) -> tuple[Decimal, Decimal]:
    if quantity <= 0:  # a fee as large as the fill
        held = settle(max(state.quantity + quantity, ZERO))
        return held, state.average_price if held else ZERO
    held = settle(state.quantity + quantity)
    if not held:
        return ZERO, ZERO
    return held, settle((state.quantity * state.average_price + quantity * price) / held)


def _sold(state: PositionState, quantity: Decimal, price: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    known = min(quantity, state.quantity)
    held = settle(state.quantity - known)
    return held, state.average_price if held else ZERO, known * (price - state.average_price)


def _on_margin(
    state: PositionState, signed: Decimal, price: Decimal, fee: Decimal, other_fees: Mapping[str, Decimal]
) -> tuple[PositionState, Decimal]:
    """A fill of ``signed`` base, bought above 0 and sold below."""
    before = state.quantity
    with exact():
        held = settle(before + signed)
        if before * signed >= 0:
            gained = ZERO
            average = settle((before * state.average_price + signed * price) / held) if held else ZERO
        else:
            closed = min(abs(before), abs(signed)) * (1 if before > 0 else -1)
            gained = closed * (price - state.average_price)
            turned = before * held < 0
            average = price if turned else state.average_price if held else ZERO
        realized = settle(gained - fee)
        total = settle(state.realized_pnl + realized)
    return PositionState(held, average, total, other_fees), realized


def _other_fees(state: PositionState, fee: Decimal, fee_asset: str, *counted: str) -> Mapping[str, Decimal]:
    if not fee or fee_asset in counted:
        return state.other_fees
    with exact():
        return {**state.other_fees, fee_asset: settle(state.other_fees.get(fee_asset, ZERO) + fee)}
