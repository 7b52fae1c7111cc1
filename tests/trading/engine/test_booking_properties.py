"""Accept 6.3: whatever order the reports of many orders come in, however late and often, the end is the same as that
of the ordered ones; money is conserved; reservations net to zero; positions are what their trades add up to."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connections.gateways import Fill, OrderReport, OrderType, ReportStatus, Side, SymbolRules, TimeInForce
from connections.models import Connection
from desproject.lib.money import ZERO
from tests.trading.engine.test_booking import ALICE, NOW
from trading.engine import booking, corrections
from trading.engine.state import Account, LiveOrder, TenantState
from trading.models import Balance, Order, Reservation, Trade
from trading.order_states import OrderStatus
from trading.positions import PositionState, apply_fill
from trading.rebuilding import rebuilt

SPOT, CONTRACT = "BTC/USDT", "BTC/USDT:USDT"
STEP, MOST = Decimal("0.00001"), Decimal(1000)
RULES = {symbol: SymbolRules(symbol, "BTC", "USDT", STEP, STEP, STEP, ZERO, ZERO) for symbol in (SPOT, CONTRACT)}
ENDS = (ReportStatus.CANCELLED, ReportStatus.EXPIRED)


@dataclass(frozen=True)
class Life:
    """What happens to one order at the exchange. ``end`` is None where its last fill fills it."""

    side: Side
    fills: tuple[tuple[int, int, int, str], ...]  # quantity, price, fee (all in small units), fee asset
    end: ReportStatus | None


fills = st.tuples(
    st.integers(1, 50), st.integers(90, 110), st.integers(-3, 20), st.sampled_from(["BTC", "USDT", "BNB"])
)
lives = st.builds(
    Life, st.sampled_from(list(Side)), st.lists(fills, min_size=1, max_size=4).map(tuple),
    st.sampled_from([None, *ENDS]),
)  # fmt: skip


def reports_of(number: int, life: Life, symbol: str) -> list[OrderReport]:
    """In their order: taken, each fill by itself, the end."""
    filled, told = ZERO, []
    whole = sum((Decimal(quantity) for quantity, *_ in life.fills), ZERO) / 100 + (1 if life.end else 0)

    def tell(status: ReportStatus, *with_fills: Fill) -> None:
        told.append(
            OrderReport(
                f"d{number}", f"x{number}", symbol, life.side, OrderType.LIMIT, TimeInForce.GTC, status, whole,
                Decimal(120), filled, NOW, with_fills,
            )
        )  # fmt: skip

    tell(ReportStatus.WORKING)
    for index, (quantity, price, fee, asset) in enumerate(life.fills):
        # The orders' fills take turns, so that they interleave in time.
        moment = NOW + timedelta(milliseconds=1 + 10 * index + number)
        filled += Decimal(quantity) / 100
        is_last = index == len(life.fills) - 1 and life.end is None
        tell(
            ReportStatus.FILLED if is_last else ReportStatus.PARTIALLY_FILLED,
            Fill(
                f"{number}-{index}", f"x{number}", symbol, life.side, Decimal(quantity) / 100, Decimal(price),
                Decimal(fee) / 10_000, asset, "taker", moment,
            ),
        )  # fmt: skip
    if life.end is not None:
        tell(life.end)
    return told


class Book:
    """A tenant's memory with these orders pending, told of reports one by one."""

    def __init__(self, orders: Sequence[Life], symbol: str) -> None:
        self.account = Account(Connection(user_id=ALICE, exchange="binance_spot", mode="simulator"))
        self.state = TenantState(ALICE, {self.account.connection.pk: self.account})
        self.symbol = symbol
        self.trades: list[Trade] = []
        for asset in ("USDT", "BTC", "BNB"):
            self.account.balances[asset] = Balance(
                user_id=ALICE, connection_id=self.account.connection.pk, asset=asset, total=MOST, as_of=NOW
            )
        self.live = {f"d{number}": self._open(number, life) for number, life in enumerate(orders)}

    def _open(self, number: int, life: Life) -> LiveOrder:
        whole = reports_of(number, life, self.symbol)[0].quantity
        order = Order(
            id=UUID(int=number + 1), user_id=ALICE, connection_id=self.account.connection.pk, symbol=self.symbol,
            side=life.side, type=OrderType.LIMIT, time_in_force=TimeInForce.GTC, quantity=whole, price=Decimal(120),
            status=OrderStatus.PENDING, client_order_id=f"d{number}", created_at=NOW,
        )  # fmt: skip
        asset, amount = ("USDT", whole * 120) if life.side == Side.BUY or ":" in self.symbol else ("BTC", whole)
        live = LiveOrder(
            order, None, Reservation(order_id=order.pk, user_id=ALICE, asset=asset, amount=amount, remaining=amount)
        )
        self.state.remember(live)
        return live

    def tell(self, report: OrderReport) -> None:
        change = booking.book(
            self.state, self.account, self.live[report.client_order_id], report, RULES[self.symbol], cause="stream",
            now=NOW,
        )  # fmt: skip
        change.apply(self.state)
        self.trades += change.trades

    def end(self) -> tuple[object, ...]:
        """Everything that must not depend on the order of the reports."""
        orders = [
            (live.order.status, live.order.filled_quantity, live.order.average_price, live.order.fee, live.is_over)
            for live in self.live.values()
        ]
        held = {asset: self.state.reserved(self.account.connection.pk, asset) for asset in ("USDT", "BTC")}
        coins = {asset: row.total for asset, row in self.account.balances.items() if ":" not in self.symbol}
        counts = {key: row.trade_count for key, row in self.account.metrics.items()}
        return orders, held, coins, counts, len(self.trades)


def shuffled(orders: Sequence[Life], symbol: str, seed: int) -> list[OrderReport]:
    """Every report at least once, in any order."""
    told = [report for number, life in enumerate(orders) for report in reports_of(number, life, symbol)]
    shuffler = random.Random(seed)
    told += shuffler.choices(told, k=4)
    shuffler.shuffle(told)
    return told


@pytest.mark.parametrize("symbol", [SPOT, CONTRACT])
@settings(max_examples=80, deadline=None)
@given(orders=st.lists(lives, min_size=1, max_size=4), seed=st.integers(0, 10**9))
def test_any_sequence_of_reports_ends_as_the_ordered_one(symbol: str, orders: list[Life], seed: int) -> None:
    ordered, mixed = Book(orders, symbol), Book(orders, symbol)
    for number, life in enumerate(orders):
        for report in reports_of(number, life, symbol):
            ordered.tell(report)
    for report in shuffled(orders, symbol, seed):
        mixed.tell(report)
    assert mixed.end() == ordered.end()
    for book in (ordered, mixed):
        assert all(live.reservation.remaining == 0 for live in book.live.values() if live.reservation)
        assert not book.state.unfinished
        position = book.account.positions[symbol]
        state = rebuilt(book.trades, symbol)
        assert (position.quantity, position.average_price, position.realized_pnl) == (
            state.quantity, state.average_price, state.realized_pnl
        )  # fmt: skip
        assert {asset: Decimal(amount) for asset, amount in position.other_fees.items()} == state.other_fees
    if symbol == CONTRACT:
        assert mixed.account.positions[symbol].quantity == ordered.account.positions[symbol].quantity


@settings(max_examples=80, deadline=None)
@given(orders=st.lists(lives, min_size=1, max_size=4), seed=st.integers(0, 10**9))
def test_money_is_conserved(orders: list[Life], seed: int) -> None:
    """What was spent, got and paid as fees is exactly what the balances moved by."""
    book = Book(orders, SPOT)
    for report in shuffled(orders, SPOT, seed):
        book.tell(report)
    expected: dict[str, Decimal] = defaultdict(lambda: MOST)
    for life in orders:
        sign = 1 if life.side == Side.BUY else -1
        for quantity, price, fee, asset in life.fills:
            expected["BTC"] += sign * Decimal(quantity) / 100
            expected["USDT"] -= sign * Decimal(quantity) / 100 * price
            expected[asset] -= Decimal(fee) / 10_000
    assert {asset: row.total for asset, row in book.account.balances.items()} == {
        asset: expected[asset] for asset in ("USDT", "BTC", "BNB")
    }


amounts = st.integers(-500, 500).map(lambda units: Decimal(units) / 100)
prices = st.integers(1, 10**6).map(lambda units: Decimal(units) / 100)


@given(held=amounts, average=prices, target=amounts, entry=prices)
def test_a_correction_leads_to_the_exchanges_position_and_realises_nothing(
    held: Decimal, average: Decimal, target: Decimal, entry: Decimal
) -> None:
    state = PositionState(held, average if held else ZERO)
    for side, quantity, price in corrections.steps(held, state.average_price, target, entry):
        assert quantity > 0
        assert price >= 0
        state, realized = apply_fill(state, side, quantity, price, ZERO, "", "BTC", "USDT", on_margin=True)
        assert realized == 0
    assert state.quantity == target
    opens_anew = target and held * target <= 0
    if opens_anew:
        assert state.average_price == entry
