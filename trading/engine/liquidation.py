"""How far positions on margin are from being liquidated, by the exchange's own price for it, and an alarm when near.

The exchange knows what ties up margin besides our positions; so its price is asked for, when a position has changed and
every ``_ASK_SECONDS``, and held against the market's price in every sweep between.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from uuid import UUID

import structlog
from django.conf import settings

from audit.record import entry
from connections.gateways import AccountPosition, Side
from connections.models import ConnectionStatus
from desproject.lib.errors import DomainError
from desproject.lib.money import floor_to, plain
from trading.engine.desk import Desk
from trading.engine.state import Account, changed
from trading.engine.tenant import Tenant
from trading.models import Position
from trading.positions import is_on_margin

log = structlog.get_logger(__name__)

NEAR = "risk.liquidation_near"
_ASK_SECONDS = 30.0
# A position that is being built changes with every fill.
_SHORTEST_SECONDS = 2.0
_SHOWN = Decimal("0.0001")
_NEAR = Decimal(settings.CONFIG.liquidation_distance)


def watch(desk: Desk, tenant: Tenant) -> None:
    """Looks at every account with positions on margin; called by each sweep."""
    for account in tenant.state.accounts.values():
        held = {symbol: row.quantity for symbol, row in account.positions.items() if is_on_margin(symbol)}
        if not held or account.connection.status == ConnectionStatus.DISABLED:
            continue
        if any(held.values()) or account.margin.told:
            _ask_if_due(desk, tenant, account, held)
        tenant.post(partial(_check, desk, tenant, account.connection.pk), key=("liquidation", account.connection.pk))


def distance(position: Position, price: Decimal) -> Decimal | None:
    """The part of the price by which it may still move; below 0 past it. None where nothing would liquidate it."""
    if position.liquidation_price is None or not position.quantity or not price:
        return None
    away: Decimal = price - position.liquidation_price
    part: Decimal = away / price
    return part if position.quantity > 0 else -part


def _ask_if_due(desk: Desk, tenant: Tenant, account: Account, held: dict[str, Decimal]) -> None:
    margin, now = account.margin, desk.clock.monotonic()
    is_other = {symbol: quantity for symbol, quantity in held.items() if quantity} != margin.told
    if not margin.is_asking and now - margin.asked_at > (_SHORTEST_SECONDS if is_other else _ASK_SECONDS):
        margin.is_asking, margin.asked_at = True, now
        desk.spawn(_ask(desk, tenant, account), f"positions-{account.connection.pk}")


async def _ask(desk: Desk, tenant: Tenant, account: Account) -> None:
    try:
        told = await (await desk.gateway(tenant, account)).positions()
    except DomainError as error:
        log.info("positions_not_told", connection_id=str(account.connection.pk), error=error.code)
        return
    finally:
        account.margin.is_asking = False
    tenant.post(partial(_take, desk, tenant, account.connection.pk, told))


async def _take(desk: Desk, tenant: Tenant, connection_id: UUID, told: Sequence[AccountPosition]) -> None:
    account = tenant.state.accounts.get(connection_id)
    if account is None:
        return
    by_symbol = {row.symbol: row for row in told}
    account.margin.told = {symbol: row.quantity for symbol, row in by_symbol.items() if row.quantity}
    rows = []
    for symbol, row in account.positions.items():
        found = by_symbol.get(symbol)
        values = (found.leverage, found.liquidation_price) if found is not None else (None, None)
        if is_on_margin(symbol) and (row.leverage, row.liquidation_price) != values:
            rows.append(changed(row, leverage=values[0], liquidation_price=values[1]))
    if not rows:
        return
    writes = tenant.write_set()
    for row in rows:
        writes.update(row, "leverage", "liquidation_price")
    await desk.committer.commit(writes)
    for row in rows:
        account.positions[row.symbol] = row


async def _check(desk: Desk, tenant: Tenant, connection_id: UUID) -> None:
    """Raises the alarm once for as long as a position is near."""
    account = tenant.state.accounts.get(connection_id)
    if account is None:
        return
    near, writes = set(), tenant.write_set()
    for symbol, row in account.positions.items():
        price = desk.price(account.connection.feed, symbol, Side.SELL)
        if price is None or (left := distance(row, price)) is None or left >= _NEAR:
            continue
        near.add(symbol)
        if symbol not in account.margin.near:
            log.warning("liquidation_near", connection_id=str(connection_id), symbol=symbol, distance=str(left))
            desk.figures["liquidations_near"] += 1
            details = {
                "symbol": symbol, "price": plain(price), "liquidation_price": plain(row.liquidation_price),
                "distance": plain(floor_to(left, _SHOWN)),
            }  # fmt: skip
            writes.create(
                entry(
                    NEAR, user_id=tenant.user_id, resource_type="connection", resource_id=connection_id,
                    details=details, at=desk.clock.now(),
                )
            )  # fmt: skip
    if writes.creates:
        await desk.committer.commit(writes)
    account.margin.near = near
