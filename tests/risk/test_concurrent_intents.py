"""However many intents come before the exchange answers, no limit is ever exceeded."""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connections.gateways import OrderType, Side
from desproject.lib.money import ZERO
from risk.engine import Allow, Intent, RiskState, evaluate
from risk.policy import Limits
from risk.rules import rules

SYMBOLS = ("BTC/USDT", "ETH/USDT")


@dataclass
class Ledger:
    """A connection whose orders all rest until told otherwise; one price for both symbols, so worths don't drift."""

    cash: Decimal
    price: Decimal
    held: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(SYMBOLS, ZERO))
    pending: list[Intent] = field(default_factory=list)

    def pending_of(self, side: Side, symbol: str | None = None) -> Decimal:
        return sum(
            (each.quantity for each in self.pending if each.side == side and symbol in (None, each.symbol)), ZERO
        )

    def free_cash(self) -> Decimal:
        return self.cash - self.pending_of(Side.BUY) * self.price

    def free_coins(self, symbol: str) -> Decimal:
        return self.held[symbol] - self.pending_of(Side.SELL, symbol)

    def exposure(self) -> Decimal:
        return (sum(self.held.values(), ZERO) + self.pending_of(Side.BUY)) * self.price

    def position(self, symbol: str) -> Decimal:
        return (self.held[symbol] + self.pending_of(Side.BUY, symbol)) * self.price

    def state(self, intent: Intent) -> RiskState:
        buys = intent.side == Side.BUY
        return RiskState(
            available=self.free_cash() if buys else self.free_coins(intent.symbol),
            position_quantity=self.held[intent.symbol],
            position_worth=self.held[intent.symbol] * self.price,
            pending_buy_quantity=self.pending_of(Side.BUY, intent.symbol),
            exposure=self.exposure(),
            open_orders=len(self.pending),
        )

    def fill(self, index: int) -> None:
        if self.pending:
            done = self.pending.pop(index % len(self.pending))
            sign = 1 if done.side == Side.BUY else -1
            self.held[done.symbol] += sign * done.quantity
            self.cash -= sign * done.quantity * self.price

    def cancel(self, index: int) -> None:
        if self.pending:
            self.pending.pop(index % len(self.pending))


amounts = st.integers(1, 10**6).map(lambda units: Decimal(units).scaleb(-2))
# Orders small against most limits, so that many are let through before one of the limits is met.
small = st.integers(1, 100).map(Decimal)
wishes = st.tuples(st.just("place"), st.sampled_from(SYMBOLS), st.sampled_from([Side.BUY, Side.BUY, Side.SELL]), small)
NO_LIMIT = Decimal(10**6)
bound = st.integers(50, 300).map(Decimal)
# One limit is tight in each case, or two.
tight_limits = st.fixed_dictionaries(
    {}, optional={"max_order_size": small, "max_position_size": bound, "max_exposure": bound, "cash": bound}
)
answers = st.tuples(st.sampled_from(["fill", "cancel"]), st.integers(0, 20))
limits = st.builds(
    Limits, max_order_size=amounts, max_position_size=amounts, max_exposure=amounts, max_open_orders=st.integers(0, 6)
)


@given(
    tight=tight_limits,
    most_open=st.integers(1, 30),
    price=st.sampled_from([Decimal("0.25"), Decimal(3), Decimal(80)]),
    happenings=st.lists(wishes | answers, min_size=10, max_size=50),
)
def test_no_limit_is_ever_exceeded(
    tight: dict[str, Decimal], most_open: int, price: Decimal, happenings: list[tuple[Any, ...]]
) -> None:
    ledger = Ledger(tight.pop("cash", NO_LIMIT), price)
    size, position, exposure = (
        tight.get(name, NO_LIMIT) for name in ("max_order_size", "max_position_size", "max_exposure")
    )
    limits = Limits(
        max_order_size=size, max_position_size=position, max_exposure=exposure, max_open_orders=most_open
    )
    for kind, *what in happenings:
        if kind == "place":
            symbol, side, worth = what
            quantity = worth if side == Side.SELL else (worth / price).quantize(Decimal("0.00000001"))
            intent = Intent(symbol, symbol.split("/")[0], "USDT", side, OrderType.LIMIT, quantity, price)
            if isinstance(evaluate(intent, ledger.state(intent), limits, rules()), Allow):
                ledger.pending.append(intent)
                assert intent.notional <= size
        else:
            getattr(ledger, kind)(*what)
        assert ledger.free_cash() >= 0
        assert ledger.exposure() <= exposure
        assert len(ledger.pending) <= most_open
        for symbol in SYMBOLS:
            assert ledger.free_coins(symbol) >= 0
            assert ledger.position(symbol) <= position


@given(cash=amounts, limits=limits, worth=amounts)
def test_what_every_limit_has_room_for_is_allowed(cash: Decimal, limits: Limits, worth: Decimal) -> None:
    intent = Intent("BTC/USDT", "BTC", "USDT", Side.BUY, OrderType.LIMIT, worth, Decimal(1))
    room = min(cash, limits.max_order_size, limits.max_position_size, limits.max_exposure)  # type: ignore[type-var]
    fits = worth <= room and limits.max_open_orders != 0  # type: ignore[operator]
    assert isinstance(evaluate(intent, RiskState(available=cash), limits, rules()), Allow) == fits


@given(worth=amounts, limits=limits, loss=amounts)
def test_an_exit_is_only_ever_denied_for_what_is_not_there(worth: Decimal, limits: Limits, loss: Decimal) -> None:
    intent = Intent("BTC/USDT", "BTC", "USDT", Side.SELL, OrderType.MARKET, worth, Decimal(1), is_exit=True)
    state = RiskState(available=worth, exposure=worth, realized_today=-loss, open_orders=99)
    tight = replace(limits, max_daily_loss=Decimal(0))
    assert isinstance(evaluate(intent, state, tight, rules()), Allow)
    assert not isinstance(evaluate(intent, replace(state, available=ZERO), tight, rules()), Allow)
