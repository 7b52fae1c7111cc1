"""What the exchange tells of a tenant's account by its stream, checked for gaps: after one it is asked."""

from uuid import UUID

from connections.events import AnyUserEvent, BalancesTold, OrderTold, StreamTold
from connections.gateways import (
    AccountSnapshot,
    AssetBalance,
    Fill,
    OrderReport,
    OrderType,
    ReportStatus,
    Side,
    TimeInForce,
)
from desproject.lib.clock import from_millis
from trading.engine import adoption, balances, reconciliation, sending
from trading.engine.desk import Desk
from trading.engine.state import Account
from trading.engine.tenant import Tenant


async def on_event(desk: Desk, tenant: Tenant, event: AnyUserEvent) -> None:
    """One event of one account's stream."""
    account = tenant.state.accounts.get(event.connection_id)
    if account is None:
        return
    _check_sequence(account, event)
    account.heard_at = desk.clock.monotonic()
    if isinstance(event, StreamTold):
        if not event.up:
            account.missed_events()
            account.heard_at = float("-inf")
    elif isinstance(event, OrderTold):
        await _on_order(desk, tenant, account, _report(event))
    elif isinstance(event, BalancesTold):
        await _on_balances(desk, tenant, account, event)
    if not account.entries_open:
        reconciliation.catch_up(desk, tenant, account)


def _check_sequence(account: Account, event: AnyUserEvent) -> None:
    """A new epoch or a jump means that events were missed: no entries until the exchange was asked."""
    beat = isinstance(event, StreamTold)
    if event.epoch < account.stream_epoch:
        return
    known = account.stream_sequence if event.epoch == account.stream_epoch else None
    expected = known if beat else (None if known is None else known + 1)
    if event.sequence != expected and not (known is not None and event.sequence <= known):
        account.missed_events()
    if event.epoch > account.stream_epoch or event.sequence > account.stream_sequence:
        account.stream_epoch, account.stream_sequence = event.epoch, event.sequence


async def on_report(desk: Desk, tenant: Tenant, connection_id: UUID, report: OrderReport) -> None:
    """What happened to an order of a paper account."""
    account = tenant.state.accounts.get(connection_id)
    if account is not None:
        await _on_order(desk, tenant, account, report)


async def _on_order(desk: Desk, tenant: Tenant, account: Account, report: OrderReport) -> None:
    live = await adoption.order_of(desk, tenant, account, report)
    if live is not None:
        await sending.book_report(desk, tenant, account, live, report, cause="stream")


async def _on_balances(desk: Desk, tenant: Tenant, account: Account, event: BalancesTold) -> None:
    told = tuple(AssetBalance(asset, free, locked) for asset, free, locked in event.balances)
    snapshot = AccountSnapshot(told, from_millis(event.as_of_ms), complete=False)
    await balances.book_snapshot(desk, tenant, account, snapshot)


def _report(event: OrderTold) -> OrderReport:
    side = Side(event.side)
    fills: tuple[Fill, ...] = ()
    if (fill := event.fill) is not None:
        fills = (
            Fill(
                fill.exchange_trade_id,
                event.exchange_order_id,
                event.symbol,
                side,
                fill.quantity,
                fill.price,
                fill.fee,
                fill.fee_asset,
                fill.liquidity,
                from_millis(fill.executed_ms),
            ),
        )
    return OrderReport(
        event.client_order_id,
        event.exchange_order_id,
        event.symbol,
        side,
        OrderType(event.type),
        TimeInForce(event.time_in_force),
        ReportStatus(event.status),
        event.quantity,
        event.price,
        event.filled_quantity,
        from_millis(event.reported_ms),
        fills,
        event.reject_reason,
    )
