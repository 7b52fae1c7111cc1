"""The figures that risk looks at, from what the engine holds in memory. No I/O."""

from decimal import Decimal
from uuid import UUID

from django.conf import settings

from connections.gateways import Side
from desproject.lib.money import ZERO, settle
from risk.engine import RiskState
from trading.engine import plans
from trading.engine.desk import Desk
from trading.engine.plans import Plan
from trading.engine.state import Account, LiveOrder, TenantState
from trading.positions import is_on_margin
from trading.quotes import bitcoin_in, quote_of

# Kept back of what an entry may spend (RSK-1).
_RESERVE_RATE = Decimal(settings.CONFIG.balance_reserve_rate)


def of_plan(desk: Desk, state: TenantState, plan: Plan) -> RiskState:
    account, symbol, quote = plan.account, plan.order.symbol, plan.rules.quote
    key = account.connection.pk
    opened = [live for live in state.open_orders(key) if live.order.pk != plan.order.pk]
    adding = [live for live in opened if _adds(live)]
    position = account.positions.get(symbol)
    held = abs(position.quantity) if position else ZERO
    today = desk.clock.now().date()
    metrics = account.metrics.get((today, quote))
    return RiskState(
        available=available(
            state,
            account,
            plans.spent_asset(plan),
            is_exit=plan.is_exit,
            tied_up=_tied_up(desk, account, quote),
            besides=plan.order.oco_group or plan.order.pk,
        ),
        position_quantity=held,
        position_worth=held * plan.reference_price,
        pending_buy_quantity=sum((live.remaining for live in adding if live.order.symbol == symbol), ZERO),
        exposure=_exposure(desk, account, quote)
        + sum((_pending_worth(desk, account, live) for live in adding if quote_of(live.order.symbol) == quote), ZERO),
        realized_today=metrics.realized_pnl if metrics else ZERO,
        drawdown_today=metrics.peak_pnl - metrics.realized_pnl if metrics else ZERO,
        trades_today=sum(row.trade_count for (day, _), row in account.metrics.items() if day == today),
        open_orders=len(opened),
        kill_switch="" if plan.flattens else state.killed(key, plan.order.instance_id),
        depth=desk.depth(account.connection.feed, symbol, Side(plan.order.side)),
        bitcoin_price=desk.price(account.connection.feed, bitcoin_in(symbol), Side(plan.order.side)),
    )


def _adds(live: LiveOrder) -> bool:
    """Whether an open order can add to what is held."""
    return not live.order.reduce_only if is_on_margin(live.order.symbol) else live.order.side == Side.BUY


def _pending_worth(desk: Desk, account: Account, live: LiveOrder) -> Decimal:
    """What an open order would add: on margin much more than what is reserved for it."""
    reserved = live.reservation.remaining if live.reservation else ZERO
    if not is_on_margin(live.order.symbol):
        return reserved
    price = live.order.price or desk.price(account.connection.feed, live.order.symbol, Side(live.order.side))
    return live.remaining * price if price else reserved


def _tied_up(desk: Desk, account: Account, asset: str) -> Decimal:
    """What positions on margin keep of an asset: their margin at the average price, and their losses on paper."""
    tied = ZERO
    for symbol, position in account.positions.items():
        if is_on_margin(symbol) and quote_of(symbol) == asset and position.quantity:
            mark = desk.price(account.connection.feed, symbol, Side.SELL) or position.average_price
            worth = abs(position.quantity) * position.average_price
            lost = position.quantity * (position.average_price - mark)
            tied += settle(worth / account.leverage.get(symbol, 1)) + max(lost, ZERO)
    return tied


def available(
    state: TenantState,
    account: Account,
    asset: str,
    *,
    is_exit: bool,
    tied_up: Decimal = ZERO,
    besides: UUID | None = None,
) -> Decimal:
    """What may still be spent: total less reservations (but that of the order ``besides``) and what positions tie up,
    less what orders placed elsewhere lock, less the reserve that entries keep back."""
    balance = account.balances.get(asset)
    if balance is None:
        return ZERO
    reserved = state.reserved(account.connection.pk, asset, besides) + tied_up
    foreign = max(balance.locked - reserved, ZERO)
    reserve = ZERO if is_exit else balance.total * _RESERVE_RATE
    left: Decimal = balance.total - reserved - foreign - reserve
    return max(left, ZERO)


def _exposure(desk: Desk, account: Account, quote: str) -> Decimal:
    """Worth of the connection's positions, long or short, that are quoted in this asset, at the bid where one is
    known."""
    total = ZERO
    for symbol, position in account.positions.items():
        if position.quantity and quote_of(symbol) == quote:
            mark = desk.price(account.connection.feed, symbol, Side.SELL) or position.average_price
            total += abs(position.quantity) * mark
    return total
