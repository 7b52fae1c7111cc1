"""Positions on margin that differ from the exchange's and that no fill explains: opened before the account was bound,
or by what the exchange doesn't list any more. They are corrected by trades of no order, so that every position is
still what its trades add up to.

What a correction closes, it closes at the average price, and realises nothing; what it opens gets the price by which
the average becomes the exchange's. Balances come from the exchange itself and aren't moved.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from connections.gateways import Side
from desproject.lib.money import ZERO, exact, settle
from trading.engine import news
from trading.engine.desk import Desk
from trading.engine.state import Account, changed
from trading.engine.tenant import Tenant
from trading.models import Position, Trade
from trading.positions import PositionState, apply_fill

# How the ids of such trades begin: the exchange doesn't know them.
PREFIX = "correction-"
_TICK = timedelta(microseconds=1)


def steps(held: Decimal, average: Decimal, target: Decimal, entry: Decimal) -> list[tuple[Side, Decimal, Decimal]]:
    """(side, quantity, price) of the trades that lead from what is held at an average to the target at its entry."""
    if held == target:
        return []
    side = Side.BUY if target > held else Side.SELL
    if held * target < 0:
        return [(side, abs(held), average), (side, abs(target), entry)]
    if abs(target) < abs(held):
        return [(side, abs(target - held), average)]
    with exact():
        price = settle((entry * target - average * held) / (target - held))
    return [(side, abs(target - held), price if price > 0 else entry)]


async def correct(desk: Desk, tenant: Tenant, account: Account, symbol: str, target: Decimal, entry: Decimal) -> None:
    """Makes our position of the symbol the exchange's, in one transaction."""
    base, _, quote = symbol.partition(":")[0].partition("/")
    row = account.positions.get(symbol) or Position(
        user_id=tenant.user_id, connection_id=account.connection.pk, symbol=symbol
    )
    state = PositionState(row.quantity, row.average_price, row.realized_pnl)
    trades: list[Trade] = []
    for side, quantity, price in steps(row.quantity, row.average_price, target, entry):
        state, realized = apply_fill(state, side, quantity, price, ZERO, "", base, quote, on_margin=True)
        moment = desk.clock.now() + len(trades) * _TICK
        trades.append(_trade(tenant, account, symbol, side, quantity, price, realized, moment))
    after = changed(
        row,
        side="short" if state.quantity < 0 else "long",
        quantity=state.quantity,
        average_price=state.average_price,
        realized_pnl=state.realized_pnl,
    )
    await _commit(desk, tenant, after, trades)
    account.positions[symbol] = after
    news.tell_trades(desk, tenant.user_id, trades, after)


async def _commit(desk: Desk, tenant: Tenant, position: Position, trades: Sequence[Trade]) -> None:
    writes = tenant.write_set()
    writes.create(*trades)
    writes.save(position, "side", "quantity", "average_price", "realized_pnl", "other_fees")
    await desk.committer.commit(writes)


def _trade(
    tenant: Tenant,
    account: Account,
    symbol: str,
    side: Side,
    quantity: Decimal,
    price: Decimal,
    realized: Decimal,
    moment: datetime,
) -> Trade:
    return Trade(
        user_id=tenant.user_id,
        connection_id=account.connection.pk,
        exchange_trade_id=f"{PREFIX}{uuid4().hex}",
        symbol=symbol,
        side=side,
        quantity=quantity,
        price=price,
        realized_pnl=realized,
        executed_at=moment,
    )
