"""Selling what is held under a kill switch that asks for it: tried again until nothing but dust is left, and after a
restart too, for it follows from the switches in force and not from the moment of pressing."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import structlog

from connections.gateways import NothingHappened
from desproject.lib.errors import DomainError
from risk.models import KillLevel, KillSwitch
from trading.engine import decisions
from trading.engine.desk import Desk
from trading.engine.plans import NotReady
from trading.engine.state import Account
from trading.engine.tenant import Tenant
from trading.models import StrategyInstance
from trading.order_states import OrderStatus
from trading.positions import is_on_margin

log = structlog.get_logger(__name__)

# An exchange that refuses isn't asked every second.
_PAUSE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class _Holding:
    """Something to sell: what a strategy instance holds, or the rest of a position."""

    account: Account
    symbol: str
    quantity: Decimal
    instance: StrategyInstance | None


async def flatten(desk: Desk, tenant: Tenant) -> None:
    """Sells at market what the active switches with ``flatten`` cover; open orders of the symbol end first."""
    for switch in tenant.state.switches:
        if not switch.flatten:
            continue
        for holding in _holdings(tenant, switch):
            await _sell(desk, tenant, holding)


def _holdings(tenant: Tenant, switch: KillSwitch) -> list[_Holding]:
    found: list[_Holding] = []
    for instance in tenant.state.instances.values():
        account = tenant.state.accounts.get(instance.connection_id)
        covered = switch.target_id == instance.pk or _covers(switch, tenant.user_id, instance.connection_id)
        if account is not None and covered and instance.held_quantity:
            found.append(_Holding(account, instance.symbol, instance.held_quantity, instance))
    for key, account in tenant.state.accounts.items():
        if _covers(switch, tenant.user_id, key):
            found += [_rest(tenant, account, symbol) for symbol in account.positions]
    # Only on margin something can be owed; below 0 elsewhere is a reckoning, nothing to buy back.
    return [holding for holding in found if holding.quantity > 0 or (holding.quantity and is_on_margin(holding.symbol))]


def _rest(tenant: Tenant, account: Account, symbol: str) -> _Holding:
    """What of a position no strategy instance holds."""
    of_instances = sum(
        instance.held_quantity
        for instance in tenant.state.instances.values()
        if instance.connection_id == account.connection.pk and instance.symbol == symbol
    )
    return _Holding(account, symbol, account.positions[symbol].quantity - of_instances, None)


def _covers(switch: KillSwitch, user_id: UUID, connection_id: UUID) -> bool:
    return switch.level == KillLevel.SYSTEM or switch.target_id in (user_id, connection_id)


async def _sell(desk: Desk, tenant: Tenant, holding: _Holding) -> None:
    account, symbol = holding.account, holding.symbol
    key = (symbol, holding.instance.pk if holding.instance else None)
    is_busy = any(
        live.order.symbol == symbol and live.order.status != OrderStatus.WAITING
        for live in tenant.state.open_orders(account.connection.pk)
    )
    if is_busy or not account.is_known or desk.clock.monotonic() < account.flatten_after.get(key, 0):
        return
    try:
        await decisions.flatten(desk, tenant, account, symbol, holding.quantity, holding.instance)
    except (NotReady, NothingHappened) as error:
        log.info("flattening_waits", symbol=symbol, code=error.code)
        return
    except DomainError as error:
        log.warning("not_flattened", symbol=symbol, code=error.code, fields=error.fields)
    account.flatten_after[key] = desk.clock.monotonic() + _PAUSE_SECONDS
