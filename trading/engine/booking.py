"""Booking what an exchange reports: pure functions from a tenant's state and a report to the rows that change.

Reports come late, twice, out of order, by stream and by REST. The result is the same: a fill is booked once by its
trade id, statuses only move forward, and a reservation is released once, when the order has ended and everything that
was reported as filled is booked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from audit.models import AuditLog
from audit.record import entry
from connections.gateways import AccountSnapshot, Fill, OrderReport, ReportStatus, Side, SymbolRules
from desproject.lib.money import ZERO, plain, settle
from risk.models import RiskMetrics
from trading.engine.committer import WriteSet
from trading.engine.state import Account, LiveOrder, TenantState, changed
from trading.models import (
    CLIENT_ID_LENGTH,
    Balance,
    Order,
    OrderEvent,
    Position,
    Reservation,
    StrategyInstance,
    Trade,
)
from trading.order_states import TERMINAL, OrderStatus, check_move
from trading.positions import PositionState, apply_fill, is_on_margin

_STATUS = {
    ReportStatus.WORKING: OrderStatus.SUBMITTED,
    ReportStatus.PARTIALLY_FILLED: OrderStatus.PARTIALLY_FILLED,
    ReportStatus.FILLED: OrderStatus.FILLED,
    ReportStatus.CANCELLED: OrderStatus.CANCELLED,
    ReportStatus.REJECTED: OrderStatus.REJECTED,
    ReportStatus.EXPIRED: OrderStatus.EXPIRED,
}
_RANK = {OrderStatus.SUBMITTED: 1, OrderStatus.PARTIALLY_FILLED: 2}
_ENDED = 3
# The code of an order that ended because the exchange doesn't know it any more.
NOT_AT_EXCHANGE = "NOT_AT_EXCHANGE"
# The exchange hasn't told a balance yet.
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Booking:
    """Rows of one report, not yet committed; ``apply`` puts them into the state after the commit."""

    live: LiveOrder
    account: Account
    order: Order
    reservation: Reservation | None
    trades: list[Trade]
    events: list[OrderEvent]
    position: Position | None
    balances: dict[str, Balance]
    # The newest fill that moved a balance, by asset.
    moved_at: dict[str, datetime]
    # Of each day that the fills are of, which may be two: what was told late may be from before midnight.
    metrics: dict[tuple[date, str], RiskMetrics]
    instance: StrategyInstance | None

    @property
    def is_empty(self) -> bool:
        return self.order is self.live.order and not self.trades and self.reservation is self.live.reservation

    def write(self, writes: WriteSet) -> None:
        """Adds the rows to a write set."""
        if self.order is not self.live.order:
            writes.update(self.order, *_ORDER_FIELDS)
        writes.create(*self.trades, *self.events)
        if self.reservation is not None and self.reservation is not self.live.reservation:
            writes.update(self.reservation, "remaining", "released_at")
        if self.position is not None:
            writes.save(self.position, "side", "quantity", "average_price", "realized_pnl", "other_fees")
        for balance in self.balances.values():
            writes.save(balance, "total", "locked", "as_of")
        for metrics in self.metrics.values():
            writes.save(metrics, "trade_count", "realized_pnl", "loss", "peak_pnl", "max_drawdown")
        if self.instance is not None:
            writes.update(self.instance, "held_quantity")
        writes.create(*self._audit())

    def _audit(self) -> list[AuditLog]:
        return [
            entry(
                f"order.{event.to_status}",
                user_id=self.order.user_id,
                resource_type="order",
                resource_id=self.order.pk,
                details={"from": event.from_status, "filled": plain(self.order.filled_quantity), "cause": event.cause},
                at=event.at,
            )
            for event in self.events
        ]

    def apply(self, state: TenantState) -> None:
        """Makes the committed rows the state."""
        self.live.order = self.order
        self.live.reservation = self.reservation
        for trade in self.trades:
            self.live.fills[trade.exchange_trade_id] = (trade.quantity, trade.price)
        if self.position is not None:
            self.account.positions[self.position.symbol] = self.position
        self.account.balances.update(self.balances)
        for asset, moment in self.moved_at.items():
            self.account.moved_at[asset] = max(moment, self.account.moved_at.get(asset, _NEVER))
        self.account.metrics.update(self.metrics)
        if self.instance is not None and self.instance.pk in state.instances:
            state.instances[self.instance.pk] = self.instance
        state.remember(self.live)


_ORDER_FIELDS = (
    "status",
    "filled_quantity",
    "reported_quantity",
    "average_price",
    "fee",
    "exchange_order_id",
    "reject_code",
    "reject_reason",
    "acknowledged_at",
    "client_order_id",
)


def book(
    state: TenantState,
    account: Account,
    live: LiveOrder,
    report: OrderReport,
    rules: SymbolRules,
    *,
    cause: str,
    now: datetime,
) -> Booking:
    """What a report changes. A report that tells nothing new gives an empty booking."""
    fills = [fill for fill in _unique(report.fills) if fill.exchange_trade_id not in live.fills]
    order = _with_report(live, report, fills, now)
    events = []
    if order.status != live.order.status:
        check_move(OrderStatus(live.order.status), OrderStatus(order.status))
        events.append(
            OrderEvent(
                user_id=state.user_id,
                order_id=order.pk,
                from_status=live.order.status,
                to_status=order.status,
                cause=live.cancelled_for if order.status == OrderStatus.CANCELLED and live.cancelled_for else cause,
                at=now,
            )
        )
    booking = Booking(live, account, order, live.reservation, [], events, None, {}, {}, {}, None)
    for fill in fills:
        _book_fill(booking, state, fill, rules)
    booking.reservation = _reservation_after(live, order, fills, now)
    return booking


def with_status(
    state: TenantState,
    account: Account,
    live: LiveOrder,
    status: OrderStatus,
    *,
    cause: str,
    now: datetime,
    code: str = "",
    reason: str = "",
) -> Booking:
    """A move that we decide without a report of the exchange (rejected, expired, unknown, cancelled before sending)."""
    check_move(OrderStatus(live.order.status), status)
    order = changed(live.order, status=status, reject_code=code[:64], reject_reason=reason[:300])
    event = OrderEvent(
        user_id=state.user_id, order_id=order.pk, from_status=live.order.status, to_status=status, cause=cause, at=now
    )
    return Booking(
        live, account, order, _reservation_after(live, order, [], now), [], [event], None, {}, {}, {}, None
    )


def denied(state: TenantState, account: Account, live: LiveOrder, *, now: datetime) -> Booking:
    """The end of an order that the exchange doesn't know any more, with the fills that are booked; what it once
    reported beyond them will never be told."""
    order = changed(live.order, reported_quantity=live.order.filled_quantity)
    events = []
    if live.is_open:
        check_move(OrderStatus(order.status), OrderStatus.EXPIRED)
        order.status, order.reject_code = OrderStatus.EXPIRED, NOT_AT_EXCHANGE
        order.reject_reason = "the exchange doesn't know the order any more"
        events.append(
            OrderEvent(
                user_id=state.user_id,
                order_id=order.pk,
                from_status=live.order.status,
                to_status=order.status,
                cause="denied",
                at=now,
            )
        )
    reservation = _reservation_after(live, order, [], now)
    return Booking(live, account, order, reservation, [], events, None, {}, {}, {}, None)


def book_balances(state: TenantState, account: Account, snapshot: AccountSnapshot) -> dict[str, Balance]:
    """Balances by a snapshot of the exchange; one older than what is known, fills included, changes nothing."""
    told = {balance.asset: (balance.free + balance.locked, balance.locked) for balance in snapshot.balances}
    if snapshot.complete:
        told = dict.fromkeys(account.balances, (ZERO, ZERO)) | told
    rows = {}
    for asset, (total, locked) in told.items():
        known = account.balances.get(asset)
        if known is None:
            if total:
                rows[asset] = _balance(state, account, asset, total, locked, snapshot.as_of)
        elif snapshot.as_of >= max(known.as_of, account.moved_at.get(asset, _NEVER)):
            rows[asset] = changed(known, total=total, locked=locked, as_of=snapshot.as_of)
    return rows


def _unique(fills: Sequence[Fill]) -> list[Fill]:
    by_id = {fill.exchange_trade_id: fill for fill in fills}
    return sorted(by_id.values(), key=lambda fill: (fill.executed_at, fill.exchange_trade_id))


def _with_report(live: LiveOrder, report: OrderReport, fills: Sequence[Fill], now: datetime) -> Order:
    """The order as it is after the report; the same object when nothing is new."""
    order = live.order
    status = _status_after(order, report)
    booked = {**live.fills, **{fill.exchange_trade_id: (fill.quantity, fill.price) for fill in fills}}
    filled = sum((quantity for quantity, _ in booked.values()), ZERO)
    reported = max(order.reported_quantity, report.filled_quantity, filled)
    same = (
        status == order.status
        and not fills
        and reported == order.reported_quantity
        and (order.exchange_order_id or not report.exchange_order_id)
        and order.acknowledged_at is not None
    )
    if same:
        return order
    return changed(
        order,
        status=status,
        filled_quantity=filled,
        reported_quantity=reported,
        average_price=_average(booked, filled),
        fee=_fees(order.fee, fills),
        exchange_order_id=order.exchange_order_id or report.exchange_order_id,
        client_order_id=(report.client_order_id or order.client_order_id)[:CLIENT_ID_LENGTH],
        reject_reason=(report.reject_reason or order.reject_reason)[:300],
        acknowledged_at=order.acknowledged_at or now,
    )


def _status_after(order: Order, report: OrderReport) -> OrderStatus:
    """Statuses only move forward: what an older report says of an earlier state is ignored."""
    current, told = OrderStatus(order.status), _STATUS[report.status]
    given_up = not order.exchange_order_id or order.reject_code == NOT_AT_EXCHANGE
    adopted = current == OrderStatus.EXPIRED and given_up and told != OrderStatus.EXPIRED
    if current in TERMINAL and not adopted:
        return current
    has_filled = current == OrderStatus.PARTIALLY_FILLED or max(order.reported_quantity, report.filled_quantity) > 0
    if has_filled and told == OrderStatus.SUBMITTED:
        told = OrderStatus.PARTIALLY_FILLED
    elif has_filled and told == OrderStatus.REJECTED:
        told = OrderStatus.CANCELLED  # what has traded wasn't rejected: the exchange ended the rest
    if not adopted and _RANK.get(told, _ENDED) <= _RANK.get(current, 0):
        return current
    if adopted and told == OrderStatus.REJECTED:
        return current
    return told


def _average(booked: dict[str, tuple[Decimal, Decimal]], filled: Decimal) -> Decimal | None:
    if not filled:
        return None
    return settle(sum((quantity * price for quantity, price in booked.values()), ZERO) / filled)


def _fees(fees: dict[str, str], fills: Sequence[Fill]) -> dict[str, str]:
    total = {asset: Decimal(amount) for asset, amount in fees.items()}
    for fill in fills:
        if fill.fee:
            total[fill.fee_asset] = total.get(fill.fee_asset, ZERO) + fill.fee
    return {asset: plain(amount) for asset, amount in total.items()}


def _book_fill(booking: Booking, state: TenantState, fill: Fill, rules: SymbolRules) -> None:
    account, order = booking.account, booking.order
    position = booking.position or _position(state, account, order)
    before = PositionState(
        position.quantity,
        position.average_price,
        position.realized_pnl,
        {asset: Decimal(amount) for asset, amount in position.other_fees.items()},
    )
    after, realized = apply_fill(
        before, fill.side, fill.quantity, fill.price, fill.fee, fill.fee_asset, rules.base, rules.quote,
        on_margin=is_on_margin(order.symbol),
    )  # fmt: skip
    booking.position = changed(
        position,
        side="short" if after.quantity < 0 else "long",
        quantity=after.quantity,
        average_price=after.average_price,
        realized_pnl=after.realized_pnl,
        other_fees={asset: plain(amount) for asset, amount in after.other_fees.items()},
    )
    booking.trades.append(_trade(state, account, order, fill, realized))
    _move_balances(booking, state, fill, rules, realized)
    day = (fill.executed_at.date(), rules.quote)
    booking.metrics[day] = _metrics_after(booking, state, day, realized)
    _move_instance(booking, state, fill, rules)


def _position(state: TenantState, account: Account, order: Order) -> Position:
    known = account.positions.get(order.symbol)
    return known or Position(user_id=state.user_id, connection_id=account.connection.pk, symbol=order.symbol)


def _trade(state: TenantState, account: Account, order: Order, fill: Fill, realized: Decimal) -> Trade:
    return Trade(
        user_id=state.user_id,
        connection_id=account.connection.pk,
        order_id=order.pk,
        exchange_trade_id=fill.exchange_trade_id,
        symbol=order.symbol,
        side=fill.side,
        quantity=fill.quantity,
        price=fill.price,
        fee=fill.fee,
        fee_asset=fill.fee_asset,
        realized_pnl=realized,
        liquidity=fill.liquidity,
        executed_at=fill.executed_at,
    )


def _deltas(fill: Fill, rules: SymbolRules, symbol: str, realized: Decimal) -> dict[str, Decimal]:
    """By how much a fill moves each asset. On margin only what it realised, which has the fee in quote taken off."""
    fee_asset = fill.fee_asset or rules.quote
    if is_on_margin(symbol):
        return {rules.quote: realized} | ({fee_asset: -fill.fee} if fee_asset != rules.quote else {})
    sign = 1 if fill.side == Side.BUY else -1
    deltas = {rules.base: sign * fill.quantity, rules.quote: -sign * settle(fill.quantity * fill.price)}
    deltas[fee_asset] = deltas.get(fee_asset, ZERO) - fill.fee
    return deltas


def _move_balances(
    booking: Booking, state: TenantState, fill: Fill, rules: SymbolRules, realized: Decimal
) -> None:
    """A fill moves the balances at once, unless the exchange's own figure already holds it."""
    for asset, delta in _deltas(fill, rules, booking.order.symbol, realized).items():
        known = booking.balances.get(asset) or booking.account.balances.get(asset)
        if known is None:
            known = _balance(state, booking.account, asset, ZERO, ZERO, _NEVER)
        if fill.executed_at > known.as_of:
            booking.balances[asset] = changed(known, total=known.total + delta)
            booking.moved_at[asset] = max(fill.executed_at, booking.moved_at.get(asset, _NEVER))


def _balance(
    state: TenantState, account: Account, asset: str, total: Decimal, locked: Decimal, as_of: datetime
) -> Balance:
    return Balance(
        user_id=state.user_id, connection_id=account.connection.pk, asset=asset, total=total, locked=locked, as_of=as_of
    )


def _metrics_after(
    booking: Booking, state: TenantState, day: tuple[date, str], realized: Decimal
) -> RiskMetrics:
    row = booking.metrics.get(day) or booking.account.metrics.get(day)
    if row is None:
        row = RiskMetrics(
            user_id=state.user_id, connection_id=booking.account.connection.pk, date=day[0], quote_asset=day[1]
        )
    pnl = row.realized_pnl + realized
    peak = max(row.peak_pnl, pnl)
    return changed(
        row,
        trade_count=row.trade_count + 1,
        realized_pnl=pnl,
        loss=row.loss + max(-realized, ZERO),
        peak_pnl=peak,
        max_drawdown=max(row.max_drawdown, peak - pnl),
    )


def _move_instance(booking: Booking, state: TenantState, fill: Fill, rules: SymbolRules) -> None:
    """What the strategy instance holds changes by its own fills, base fees taken off."""
    if booking.order.instance_id is None:
        return
    row = booking.instance or state.instances.get(booking.order.instance_id)
    if row is None or row.connection_b_id is not None:  # deleted meanwhile; an arbitrage holds nothing for itself
        return
    if row.connection_id != booking.account.connection.pk:  # of before it went from paper to live, or back
        return
    base_fee = fill.fee if fill.fee_asset == rules.base else ZERO
    delta = fill.quantity - base_fee if fill.side == Side.BUY else -(fill.quantity + base_fee)
    booking.instance = changed(row, held_quantity=max(row.held_quantity + delta, ZERO))


def _reservation_after(live: LiveOrder, order: Order, fills: Sequence[Fill], now: datetime) -> Reservation | None:
    row = live.reservation
    if row is None or row.released_at is not None:
        return row
    if OrderStatus(order.status) in TERMINAL and order.filled_quantity >= order.reported_quantity:
        return changed(row, remaining=ZERO, released_at=now)
    if not fills:
        return row
    if is_on_margin(order.symbol):
        return changed(row, remaining=settle(row.amount * (order.quantity - order.filled_quantity) / order.quantity))
    used = sum((fill.quantity * (fill.price if fill.side == Side.BUY else 1) for fill in fills), ZERO)
    return changed(row, remaining=max(row.remaining - settle(used), ZERO))
