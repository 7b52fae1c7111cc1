"""What apps below this one ask about trading: they can't import it, so it registers its answers when it starts."""

from uuid import UUID

from connections import demand, usage
from risk import targets
from risk.models import KillLevel
from trading.demand import wanted
from trading.engine_count import ensure_engines
from trading.models import InstanceStatus, Order, Reservation, StrategyInstance
from trading.order_states import OPEN


def connect() -> None:
    """Registers the answers."""
    usage.register(who_needs)
    demand.register(wanted)
    demand.on_beat(ensure_engines)
    targets.register(KillLevel.STRATEGY, has_instance)


def has_instance(target_id: UUID) -> bool:
    """Whether the tenant has this strategy instance."""
    return bool(StrategyInstance.objects.filter(pk=target_id, is_deleted=False).exists())


def who_needs(connection_id: UUID) -> str:
    """What of the tenant's trading still works with a connection; empty when nothing does."""
    busy = StrategyInstance.objects.filter(
        connection=connection_id, is_deleted=False, status__in=[InstanceStatus.RUNNING, InstanceStatus.PAUSED]
    )
    if (instance := busy.first()) is not None:
        return f'the strategy "{instance.name}" is {instance.status} on this connection'
    if Order.objects.filter(connection=connection_id, status__in=OPEN).exists():
        return "orders are open on this connection"
    # An order that ended may still have fills to come: its reservation shows it.
    if Reservation.objects.filter(connection=connection_id, released_at__isnull=True).exists():
        return "fills are still to come on this connection"
    return ""
