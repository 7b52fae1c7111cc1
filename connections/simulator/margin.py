"""Positions on margin: an account's wallet, what its positions and open orders tie up, funding and leverage.

One position a symbol, long above 0 and short below (one-way mode); profit, fees and funding are in the quote asset.

| figure | is |
|---|---|
| position margin | worth at the mark price / leverage |
| order margin | by how much the open orders of one side could grow the position's worth, / leverage; the worse side |
| available | wallet + unrealised profit - position margin - order margin |
| maintenance | worth at the mark price x the bracket's rate - what that rate is too much for the lower brackets |

Simplified, and so said: all positions share one wallet, also those set to isolated (their liquidation price is told as
if they had only their own margin), and so all of an account's are liquidated together; a reduce-only order is cut to
what the position leaves for it when it is placed, and expires when the position later leaves less.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from connections.simulator.accounts import Account, Accounts, Fees, Fill, InsufficientBalance, TradeStamp
from connections.simulator.instruments import Instrument
from connections.simulator.matching import ZERO, Match, Order, OrderBook, Side

_UNIT = Decimal("1e-8")
DEFAULT_LEVERAGE = 20
LIQUIDATION_FEE = Decimal("0.0125")


class ReduceOnlyRejected(Exception):
    """There is no position that the reduce-only order could make smaller."""


class PositionTooLarge(Exception):
    """The position's worth would exceed what its leverage allows."""


class LeverageInUse(Exception):
    """With so little leverage the account would not cover what it has."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """Positions worth up to `cap`: the most leverage, the rate of maintenance, and what that rate is too much."""

    cap: Decimal
    max_leverage: int
    rate: Decimal
    too_much: Decimal


BRACKETS = (
    Bracket(Decimal(300_000), 125, Decimal("0.004"), ZERO),
    Bracket(Decimal(3_000_000), 50, Decimal("0.01"), Decimal(1800)),
    Bracket(Decimal(30_000_000), 20, Decimal("0.025"), Decimal(46_800)),
    Bracket(Decimal(300_000_000), 5, Decimal("0.1"), Decimal(2_296_800)),
)
MAX_LEVERAGE = BRACKETS[0].max_leverage


def bracket_of(worth: Decimal) -> Bracket:
    return next((found for found in BRACKETS if worth <= found.cap), BRACKETS[-1])


def cap_of(leverage: int) -> Decimal:
    """The largest worth of a position at a leverage."""
    return max(found.cap for found in BRACKETS if found.max_leverage >= leverage)


@dataclass(slots=True)
class Holding:
    """A position, and what closing parts of it has earned so far."""

    quantity: Decimal = ZERO
    entry_price: Decimal = ZERO
    realized: Decimal = ZERO
    updated_ms: int = 0

    def unrealized(self, mark: Decimal) -> Decimal:
        return cut(self.quantity * (mark - self.entry_price))


@dataclass(frozen=True, slots=True)
class Income:
    """Money that came (above 0) or went for a reason other than a transfer."""

    income_id: int
    kind: str  # REALIZED_PNL, COMMISSION, FUNDING_FEE
    symbol: str
    asset: str
    amount: Decimal
    time_ms: int
    trade_id: int = 0


@dataclass(slots=True)
class Margin:
    """What an account has beside its wallet."""

    holdings: dict[str, Holding] = field(default_factory=lambda: defaultdict(Holding))
    leverage: dict[str, int] = field(default_factory=lambda: defaultdict(lambda: DEFAULT_LEVERAGE))
    isolated: set[str] = field(default_factory=set)
    income: list[Income] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Figures:
    """An account's state in one asset."""

    wallet: Decimal
    unrealized: Decimal
    position_margin: Decimal
    order_margin: Decimal
    maintenance: Decimal

    @property
    def available(self) -> Decimal:
        return self.wallet + self.unrealized - self.position_margin - self.order_margin


class MarginBank(Accounts):
    """See connections.simulator.exchange.Clearing. `mark` tells a symbol's mark price."""

    usual_fees = Fees(maker=Decimal("0.0002"), taker=Decimal("0.0005"))

    def __init__(self, mark: Callable[[str], Decimal]) -> None:
        super().__init__()
        self.mark = mark
        self._margins: dict[str, Margin] = defaultdict(Margin)
        self._next_income_id = 1

    def margin_of(self, account: Account) -> Margin:
        return self._margins[account.api_key]

    # reading

    def figures(self, account: Account, asset: str) -> Figures:
        unrealized = position_margin = order_margin = maintenance = ZERO
        margin = self.margin_of(account)
        symbols = {symbol for symbol, holding in margin.holdings.items() if holding.quantity}
        for symbol in sorted(symbols | {order.symbol for order in account.open_orders.values()}):
            if symbol.endswith(asset):
                unrealized += margin.holdings[symbol].unrealized(self.mark(symbol))
                position_margin += self.position_margin(account, symbol)
                order_margin += self._order_margin(account, symbol)
                maintenance += self.maintenance(account, symbol)
        return Figures(account.balances[asset].free, unrealized, position_margin, order_margin, maintenance)

    def worth(self, account: Account, symbol: str) -> Decimal:
        """At the mark price, below 0 for a short position."""
        return self.margin_of(account).holdings[symbol].quantity * self.mark(symbol)

    def position_margin(self, account: Account, symbol: str) -> Decimal:
        return cut(abs(self.worth(account, symbol)) / self.margin_of(account).leverage[symbol])

    def maintenance(self, account: Account, symbol: str) -> Decimal:
        worth = abs(self.worth(account, symbol))
        bracket = bracket_of(worth)
        return cut(worth * bracket.rate - bracket.too_much)

    def liquidation_price(self, account: Account, symbol: str, asset: str) -> Decimal:
        """Where the margin would no longer be enough, all else as it is; 0 where no price is that bad."""
        margin = self.margin_of(account)
        holding = margin.holdings[symbol]
        if not holding.quantity:
            return ZERO
        bracket = bracket_of(abs(self.worth(account, symbol)))
        if symbol in margin.isolated:
            backing = abs(holding.quantity) * holding.entry_price / margin.leverage[symbol]
        else:
            whole = self.figures(account, asset)
            own = holding.unrealized(self.mark(symbol))
            others = whole.maintenance - self.maintenance(account, symbol)
            backing = whole.wallet + (whole.unrealized - own) - others
        # backing + q * (price - entry) = |q| * price * rate - too_much, solved for the price
        rate = abs(holding.quantity) * bracket.rate - holding.quantity
        price = (backing + bracket.too_much - holding.quantity * holding.entry_price) / rate
        return max(cut(price), ZERO)

    # Clearing

    def admit(self, account: Account, order: Order, instrument: Instrument, book: OrderBook) -> None:
        """Raises ReduceOnlyRejected, PositionTooLarge, InsufficientBalance."""
        if order.reduce_only:
            self._cut_to_position(account, order)
            return
        got, cost = book.cost(order.side, order.quantity) if order.price is None else (ZERO, ZERO)
        price = order.price or (cost / got if got else self.mark(order.symbol))
        before = self._order_margin(account, order.symbol)
        after = self._order_margin(account, order.symbol, order.side, price * order.quantity)
        if after <= before:
            return
        leverage = self.margin_of(account).leverage[order.symbol]
        if after * leverage + abs(self.worth(account, order.symbol)) > cap_of(leverage):
            raise PositionTooLarge
        if self.figures(account, instrument.quote).available < after - before:
            raise InsufficientBalance

    def admit_triggered(self, account: Account, order: Order, instrument: Instrument, book: OrderBook) -> None:
        """Here what waits for a stop price is no order yet."""

    def relock(self, account: Account, order: Order, instrument: Instrument) -> None:
        """Nothing is locked by itself: the margin of open orders follows from what is open."""

    def settle(self, match: Match, order: Order, instrument: Instrument, trade: TradeStamp, is_maker: bool) -> Fill:
        """The wallet gets what closing earned, less the fee."""
        account = self.accounts[order.owner]
        holding = self.margin_of(account).holdings[order.symbol]
        signed = match.quantity if order.side is Side.BUY else -match.quantity
        realized = _move(holding, signed, match.price)
        holding.updated_ms = trade.time_ms
        rate = account.fees.maker if is_maker else account.fees.taker
        fee = (match.quote * rate).quantize(_UNIT, rounding=ROUND_DOWN)
        fill = Fill(
            trade.trade_id, order.order_id, order.symbol, match.price, match.quantity, match.quote, fee,
            instrument.quote, order.side is Side.BUY, is_maker, trade.time_ms, realized,
        )  # fmt: skip
        account.balances[instrument.quote].free += realized - fee
        self.fees[instrument.quote] += fee
        self.house[instrument.quote] -= realized
        account.add_fill(fill)
        if realized:
            self._earn(account, "REALIZED_PNL", order.symbol, instrument.quote, realized, trade)
        self._earn(account, "COMMISSION", order.symbol, instrument.quote, -fee, trade)
        return fill

    def settle_house(self, match: Match, side: Side, instrument: Instrument) -> None:
        """The house takes the other side of every profit, when it is made."""

    def unbacked(self, account: Account, symbol: str) -> list[Order]:
        quantity = self.margin_of(account).holdings[symbol].quantity
        return [
            order
            for order in account.open_on(symbol)
            if order.reduce_only and order.remaining > _reducible(quantity, order.side)
        ]

    def assets_moved(self, order: Order, instrument: Instrument, fill: Fill | None) -> list[str]:
        return [instrument.quote] if fill is not None else []

    # what users set

    def set_leverage(self, account: Account, symbol: str, leverage: int, asset: str) -> None:
        """Raises PositionTooLarge, LeverageInUse."""
        margin = self.margin_of(account)
        if abs(self.worth(account, symbol)) > cap_of(leverage):
            raise PositionTooLarge
        before = margin.leverage[symbol]
        margin.leverage[symbol] = leverage
        if leverage < before and self.figures(account, asset).available < 0:
            margin.leverage[symbol] = before
            raise LeverageInUse

    # liquidation

    def exhausted(self, asset: str) -> list[Account]:
        """Accounts with positions whose wallet and unrealised profit no longer exceed what these must keep."""
        found = []
        for account in self.accounts.values():
            figures = self.figures(account, asset) if self.held(account, asset) else None
            if figures is not None and figures.wallet + figures.unrealized <= figures.maintenance:
                found.append(account)
        return found

    def held(self, account: Account, asset: str) -> dict[str, Decimal]:
        """The account's positions that settle in an asset: quantity by symbol."""
        holdings = self.margin_of(account).holdings.items()
        return {symbol: each.quantity for symbol, each in holdings if each.quantity and symbol.endswith(asset)}

    def clear(self, account: Account, asset: str, worth: Decimal, now_ms: int) -> Decimal:
        """After a liquidation of so much worth: the insurance fund, which is the house's, takes its fee as far as there
        is money for it, or pays what is missing. What the wallet got."""
        balance = account.balances[asset]
        change = max(cut(-worth * LIQUIDATION_FEE), -balance.free) if balance.free > 0 else -balance.free
        if change:
            balance.free += change
            self.house[asset] -= change
            self._record(account, "INSURANCE_CLEAR", "", asset, change, now_ms)
        return change

    # funding

    def fund(self, symbol: str, asset: str, rate: Decimal, now_ms: int) -> list[tuple[Account, Decimal]]:
        """Longs pay the shorts' side (the house between them) at a rate above 0; who got or paid what."""
        paid: list[tuple[Account, Decimal]] = []
        for account in self.accounts.values():
            amount = cut(-self.worth(account, symbol) * rate)
            if amount:
                account.balances[asset].free += amount
                self.house[asset] -= amount
                self._record(account, "FUNDING_FEE", symbol, asset, amount, now_ms)
                paid.append((account, amount))
        return paid

    # inside

    def _cut_to_position(self, account: Account, order: Order) -> None:
        quantity = self.margin_of(account).holdings[order.symbol].quantity
        others = [other for other in account.open_on(order.symbol) if other.reduce_only and other.side is order.side]
        left = _reducible(quantity, order.side) - sum((other.remaining for other in others), ZERO)
        if left <= 0:
            raise ReduceOnlyRejected
        order.quantity = min(order.quantity, left)

    def _order_margin(
        self, account: Account, symbol: str, side: Side | None = None, more: Decimal = ZERO
    ) -> Decimal:
        """Of the open orders, and of one that would spend `more`."""
        sums = {Side.BUY: ZERO, Side.SELL: ZERO}
        for order in account.open_on(symbol):
            if not order.reduce_only and order.price is not None:
                sums[order.side] += order.price * order.remaining
        if side is not None:
            sums[side] += more
        worth = self.worth(account, symbol)
        worst = max(abs(worth + sums[Side.BUY]), abs(worth - sums[Side.SELL]), abs(worth))
        return cut((worst - abs(worth)) / self.margin_of(account).leverage[symbol])

    def _earn(
        self, account: Account, kind: str, symbol: str, asset: str, amount: Decimal, trade: TradeStamp
    ) -> None:
        self._record(account, kind, symbol, asset, amount, trade.time_ms, trade.trade_id)

    def _record(
        self, account: Account, kind: str, symbol: str, asset: str, amount: Decimal, now_ms: int, trade_id: int = 0
    ) -> None:
        income = Income(self._next_income_id, kind, symbol, asset, amount, now_ms, trade_id)
        self._next_income_id += 1
        self.margin_of(account).income.append(income)


def cut(value: Decimal) -> Decimal:
    """To the eight decimals that amounts have."""
    return value.quantize(_UNIT, rounding=ROUND_HALF_EVEN)


def _reducible(quantity: Decimal, side: Side) -> Decimal:
    """How much an order of this side can take off a position."""
    return max(-quantity if side is Side.BUY else quantity, ZERO)


def _move(holding: Holding, signed: Decimal, price: Decimal) -> Decimal:
    """Moves a position by a trade; what it realised."""
    before = holding.quantity
    after = before + signed
    if before * signed >= 0:
        holding.entry_price = cut((abs(before) * holding.entry_price + abs(signed) * price) / abs(after))
        holding.quantity = after
        return ZERO
    closed = min(abs(before), abs(signed))
    direction = 1 if before > 0 else -1
    realized = cut(closed * direction * (price - holding.entry_price))
    holding.realized += realized
    holding.quantity = after
    if before * after <= 0:
        holding.entry_price = price if after else ZERO
    return realized
