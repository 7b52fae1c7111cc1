"""What apps below this one ask about trading: they can't import it, so it registers its answers when it starts."""

from functools import partial
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from accounts import listeners as account_listeners
from accounts.models import User
from accounts.tenancy import shard_of
from connections import demand, usage
from connections.models import Connection
from desproject.lib.bus import Wake, wake
from desproject.lib.clock import SYSTEM_CLOCK
from risk import listeners, targets
from risk.models import KillLevel
from trading import strategies
from trading.demand import wanted
from trading.engine_count import ensure_engines
from trading.models import ArbitrageFire, FireStatus, InstanceMode, InstanceStatus, Order, Reservation, StrategyInstance
from trading.order_states import OPEN
from trading.outside.registry import outside_strategies
from trading.push import push_recheck, push_switch


def connect() -> None:
    """Registers the answers."""
    strategies.register(outside_strategies)
    usage.register(who_needs)
    demand.register(wanted)
    demand.on_beat(ensure_engines)
    targets.register(KillLevel.STRATEGY, has_instance)
    listeners.register(push_switch)
    account_listeners.on_sessions_ended(push_recheck)
    account_listeners.on_deleted(stop_trading)


def stop_trading(user: User) -> None:
    """A deleted user's strategies end with them. Their engine, woken at once, cancels what is open: it sees that the
    user may trade no more."""
    StrategyInstance.objects.filter(
        is_deleted=False, status__in=[InstanceStatus.RUNNING, InstanceStatus.PAUSED]
    ).update(status=InstanceStatus.STOPPED, status_reason="the user was deleted", updated_at=SYSTEM_CLOCK.now())
    transaction.on_commit(partial(wake, Wake(shard_of(user.pk), user.pk, "kill")))


def has_instance(target_id: UUID) -> bool:
    """Whether the tenant has this strategy instance."""
    return bool(StrategyInstance.objects.filter(pk=target_id, is_deleted=False).exists())


def who_needs(connection_id: UUID) -> str:
    """What of the tenant's trading still works with a connection; empty when nothing does."""
    # A paper account is traded on by the instances that are on paper at the connection that it stands in for.
    paper_of = Connection.objects.filter(pk=connection_id).values_list("paper_of", flat=True).first()
    sides = Q(connection=connection_id) | Q(connection_b=connection_id)
    if paper_of is not None:
        sides |= Q(mode=InstanceMode.PAPER) & (Q(connection=paper_of) | Q(connection_b=paper_of))
    busy = StrategyInstance.objects.filter(
        sides,
        is_deleted=False,
        status__in=[InstanceStatus.RUNNING, InstanceStatus.PAUSED],
    )
    if (instance := busy.first()) is not None:
        return f'the strategy "{instance.name}" is {instance.status} on this connection'
    either_side = Q(buy_connection=connection_id) | Q(sell_connection=connection_id)
    if ArbitrageFire.objects.filter(either_side).exclude(status=FireStatus.SETTLED).exists():
        return "an arbitrage on this connection isn't settled yet"
    if Order.objects.filter(connection=connection_id, status__in=OPEN).exists():
        return "orders are open on this connection"
    # An order that ended may still have fills to come: its reservation shows it.
    if Reservation.objects.filter(connection=connection_id, released_at__isnull=True).exists():
        return "fills are still to come on this connection"
    return ""
