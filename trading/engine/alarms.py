"""What a fill may reveal: a price much worse than expected, a day's loss at its limit. Written with the fill itself."""

from decimal import Decimal

import structlog
from django.conf import settings

from audit.record import entry
from connections.gateways import Side
from desproject.lib.money import ZERO, floor_to, plain
from trading.engine.booking import Booking
from trading.engine.committer import WriteSet
from trading.engine.desk import Desk
from trading.engine.state import TenantState, changed
from trading.models import InstanceStatus, Order, StrategyInstance
from trading.quotes import quote_of

log = structlog.get_logger(__name__)

SLIPPAGE = "risk.slippage"
DAILY_LOSS = "risk.daily_loss"
_SHOWN = Decimal("0.000001")
_MOST_SLIPPAGE = Decimal(settings.CONFIG.slippage_pause_rate)


def add(desk: Desk, state: TenantState, writes: WriteSet, change: Booking) -> StrategyInstance | None:
    """Adds the alarms that a booking raises to what it writes. Returns the strategy instance that it pauses, if any.

    Each comes with the fill that crosses the line, so it is raised once, whatever is told twice.
    """
    if not change.trades:
        return None
    _add_daily_loss(desk, state, writes, change)
    after = slipped(change.order)
    if after <= _MOST_SLIPPAGE or slipped(change.live.order) > _MOST_SLIPPAGE:
        return None
    order = change.order
    log.warning("order_slipped", order_id=str(order.pk), symbol=order.symbol, part=str(after))
    desk.figures["slipped"] += 1
    details = {
        "symbol": order.symbol, "expected": plain(order.expected_price), "actual": plain(order.average_price),
        "slippage": plain(floor_to(after, _SHOWN)), "instance": str(order.instance_id or ""),
    }  # fmt: skip
    writes.create(
        entry(
            SLIPPAGE, user_id=order.user_id, resource_type="order", resource_id=order.pk, details=details,
            at=desk.clock.now(),
        )
    )  # fmt: skip
    return _pause(state, writes, change, after)


def slipped(order: Order) -> Decimal:
    """By which part of the expected price the average one is worse; below 0 when it is better."""
    if order.expected_price is None or order.average_price is None:
        return ZERO
    worse: Decimal = order.average_price - order.expected_price
    part: Decimal = worse / order.expected_price
    return part if order.side == Side.BUY else -part


def _pause(state: TenantState, writes: WriteSet, change: Booking, part: Decimal) -> StrategyInstance | None:
    """Whoever looks into it starts the instance again. What it holds, it may still be made to sell."""
    key = change.order.instance_id
    row = change.instance or (state.instances.get(key) if key else None)
    if row is None or row.status != InstanceStatus.RUNNING:
        return None
    shown = plain(floor_to(part * 100, _SHOWN))
    reason = f"an order filled {shown} % worse than expected: {change.order.pk}"
    change.instance = changed(row, status=InstanceStatus.PAUSED, status_reason=reason)
    writes.update(change.instance, "status", "status_reason")
    return change.instance


def _add_daily_loss(desk: Desk, state: TenantState, writes: WriteSet, change: Booking) -> None:
    """The rule of that name denies entries from now on; here the owner is told so."""
    limit = state.limits(change.account.connection.pk, None).max_daily_loss
    if limit is None:
        return
    for key, metrics in change.metrics.items():
        known = change.account.metrics.get(key)
        before, after = known.realized_pnl if known else ZERO, metrics.realized_pnl
        if after >= 0 or after > -limit or (before < 0 and before <= -limit):
            continue
        desk.figures["daily_losses"] += 1
        details = {
            "limit": plain(limit), "loss": plain(-after), "asset": quote_of(change.order.symbol),
            "date": str(metrics.date),
        }  # fmt: skip
        writes.create(
            entry(
                DAILY_LOSS, user_id=state.user_id, resource_type="connection",
                resource_id=change.account.connection.pk, details=details, at=desk.clock.now(),
            )
        )  # fmt: skip
