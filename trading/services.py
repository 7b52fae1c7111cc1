"""What users may do to their trading: rows written with their audit entry, and the engine woken after the commit.

Every function works inside the user's tenant scope, which the caller (a view, a command) has opened.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from accounts import disclosure
from accounts.models import User
from accounts.rate_limits import check_order
from accounts.tenancy import shard_of
from audit.record import record
from connections import paper, symbols
from connections.exchanges import venue
from connections.gateways import Side
from connections.models import Connection, ConnectionStatus, Mode
from connections.services import KeyDisabled
from desproject.lib.bus import Wake, wake
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.errors import Conflict, InvalidInput, NotFound
from desproject.lib.money import ZERO, plain
from trading import arbitrage_checks, dry_run, order_checks, order_queue, selectors
from trading.bars import TIMEFRAMES
from trading.exits import parse_exits
from trading.models import (
    ArbitrageFire,
    Command,
    CommandKind,
    FireStatus,
    InstanceMode,
    InstanceStatus,
    Order,
    StrategyInstance,
)
from trading.order_life import end_of, never_rests
from trading.order_states import OPEN, TERMINAL, UNSENT, OrderStatus
from trading.order_types import TRIGGERED, Lifetime, OrderKind
from trading.sizing import parse_sizing
from trading.strategies import parse_params, strategy

# Where an instance trades what.
_PLACE = frozenset({"connection", "connection_b", "symbol", "mode"})


class IdempotencyConflict(Conflict):
    """The same Idempotency-Key came with another body."""

    code = "IDEMPOTENCY_KEY_REUSED"


def place_order(
    *,
    user: User,
    connection: Connection,
    symbol: str,
    side: Side,
    type: str,
    quantity: Decimal,
    price: Decimal | None = None,
    stop_price: Decimal | None = None,
    trail_rate: Decimal | None = None,
    oco_with: UUID | None = None,
    time_in_force: str = Lifetime.GTC,
    expires_at: datetime | None = None,
    timeout_seconds: int | None = None,
    reduce_only: bool = False,
    idempotency_key: str | None = None,
    request_hash: str = "",
) -> Order:
    """Accepts an order: a durable row in ``new``, which the engine decides on.

    Raises InvalidInput, Conflict, RateLimited where its connection gets more of them than it may, and QueueFull.
    """
    if idempotency_key and (known := _order_of(idempotency_key, request_hash)) is not None:
        return known  # whatever has changed since: what it waits with may have ended, its time may be over
    now = SYSTEM_CLOCK.now()
    order = Order(
        user=user,
        connection=connection,
        symbol=symbol,
        side=side,
        type=type,
        time_in_force=time_in_force,
        expires_at=expires_at,
        timeout_seconds=timeout_seconds,
        quantity=quantity,
        price=price,
        stop_price=stop_price,
        trail_rate=trail_rate,
        reduce_only=reduce_only,
        idempotency_key=idempotency_key,
        request_hash=request_hash,
        paper=connection.is_paper,
    )
    _check_symbol(symbol)
    order_checks.check(order, now)
    if oco_with is not None:
        order.oco_group = _group(order, oco_with)
    order.expires_at = end_of(Lifetime(time_in_force), expires_at, now)
    if connection.is_deleted:
        raise NotFound("no such connection")
    _check_disclosure(user, connection)
    check_order(user.pk, connection.pk)
    order_queue.take_place()
    try:
        with transaction.atomic():
            order.save(force_insert=True)
            record(
                "order.requested",
                user_id=user.pk,
                resource_type="order",
                resource_id=order.pk,
                details={"symbol": symbol, "side": side, "type": type, "quantity": str(quantity)},
            )
            _wake_after_commit(user, "order")
    except IntegrityError:
        if idempotency_key and (known := _order_of(idempotency_key, request_hash)) is not None:
            return known
        raise
    return order


def _group(order: Order, oco_with: UUID) -> UUID:
    """The group of the order that a new one is to wait with. Raises NotFound, InvalidInput."""
    other = selectors.order(oco_with)
    same = ("connection_id", "symbol", "side", "quantity")
    fits = other.status in UNSENT and other.triggered_at is None and {order.type, other.type} <= TRIGGERED
    if not fits or any(getattr(order, name) != getattr(other, name) for name in same):
        reason = "must be an order that waits for its trigger, of the same connection, symbol, side and quantity"
        raise InvalidInput("the orders can't cancel each other", fields={"oco_with": [reason]})
    return UUID(str(other.oco_group or other.pk))


def _order_of(idempotency_key: str, request_hash: str) -> Order | None:
    """The order that came under this key, if any. Raises IdempotencyConflict where it is another one."""
    order: Order | None = Order.objects.filter(idempotency_key=idempotency_key).first()
    if order is not None and order.request_hash != request_hash:
        raise IdempotencyConflict("this Idempotency-Key was already used for another order")
    return order


def replace_order(
    *,
    user: User,
    order: Order,
    quantity: Decimal | None = None,
    price: Decimal | None = None,
    stop_price: Decimal | None = None,
    trail_rate: Decimal | None = None,
) -> Order:
    """Cancels a resting or waiting order and takes in another one for its place, with what is given changed.

    ``quantity`` is that of both together: what of the first is filled before it ends is taken off. The engine sends the
    second one after the first has ended for sure. Raises InvalidInput, RateLimited, and Conflict for an order that
    has ended, is being replaced, never rests, or waits together with another one.
    """
    _check_replaceable(order)
    fresh = Order(
        user=user,
        connection=order.connection,
        instance_id=order.instance_id,
        symbol=order.symbol,
        side=order.side,
        type=order.type,
        time_in_force=order.time_in_force,
        timeout_seconds=order.timeout_seconds,
        quantity=order.quantity if quantity is None else quantity,
        price=order.price if price is None else price,
        stop_price=None if order.type == OrderKind.TRAILING_STOP else order.stop_price,
        trail_rate=order.trail_rate if trail_rate is None else trail_rate,
        reduce_only=order.reduce_only,
        replaces=order.pk,
        paper=order.paper,
    )
    if stop_price is not None:
        fresh.stop_price = stop_price
    if order.time_in_force == Lifetime.GTD:
        fresh.expires_at = order.expires_at
    now = SYSTEM_CLOCK.now()
    order_checks.check(fresh, now)
    if fresh.quantity <= order.filled_quantity:
        raise InvalidInput("too little", fields={"quantity": [f"{plain(order.filled_quantity)} of it are filled"]})
    fresh.expires_at = end_of(Lifetime(order.time_in_force), fresh.expires_at, now)
    check_order(user.pk, order.connection_id)
    order_queue.take_place()
    try:
        with transaction.atomic():
            fresh.save(force_insert=True)
            Command.objects.create(user=user, kind=CommandKind.CANCEL, order=order)
            record(
                "order.replace_requested",
                user_id=user.pk,
                resource_type="order",
                resource_id=order.pk,
                details={"by": str(fresh.pk), "quantity": str(fresh.quantity), "price": str(fresh.price or "")},
            )
            _wake_after_commit(user, "order")
    except IntegrityError:
        raise Conflict("the order is being replaced already", code="ORDER_REPLACED") from None
    return fresh


def _check_replaceable(order: Order) -> None:
    if OrderStatus(order.status) in TERMINAL:
        raise Conflict(f"the order is already {order.status}", code="ORDER_ENDED")
    waits = order.type in TRIGGERED and order.triggered_at is None
    if not waits and never_rests(order):
        raise Conflict("an order that never rests can't be replaced", code="ORDER_NEVER_RESTS")
    if order.oco_group is not None or Order.objects.filter(oco_group=order.pk).exists():
        raise Conflict("the order waits together with another one: cancel both", code="ORDER_GROUPED")


def cancel_order(*, user: User, order: Order) -> Command:
    """Asks for an order to be cancelled. Raises Conflict when it has ended already."""
    if OrderStatus(order.status) in TERMINAL:
        raise Conflict(f"the order is already {order.status}", code="ORDER_ENDED")
    with transaction.atomic():
        command: Command = Command.objects.create(user=user, kind=CommandKind.CANCEL, order=order)
        record("order.cancel_requested", user_id=user.pk, resource_type="order", resource_id=order.pk)
        _wake_after_commit(user, "command")
    return command


def request_reconciliation(*, user: User, connection: Connection) -> Command:
    """Asks for an account to be compared with its exchange; one request at a time waits. Raises KeyDisabled."""
    if connection.status == ConnectionStatus.DISABLED:
        raise KeyDisabled("this key is disabled: replace it by a new one")
    with transaction.atomic():
        wanted = {"user": user, "kind": CommandKind.RECONCILE, "connection": connection}
        waiting: Command | None = Command.objects.filter(**wanted, done_at__isnull=True).first()
        command = waiting or Command.objects.create(**wanted)
        record(
            "connection.reconcile_requested", user_id=user.pk, resource_type="connection", resource_id=connection.pk
        )
        _wake_after_commit(user, "command")
    return command


def create_instance(
    *,
    user: User,
    connection: Connection,
    name: str,
    strategy: str,
    symbol: str,
    timeframe: str,
    params: dict[str, Any],
    sizing: dict[str, Any],
    exits: dict[str, Any] | None = None,
    mode: str = InstanceMode.LIVE,
    connection_b: Connection | None = None,
) -> StrategyInstance:
    """A new strategy instance, stopped. Raises InvalidInput by field."""
    instance = StrategyInstance(
        user=user,
        connection=connection,
        connection_b=connection_b,
        name=name,
        strategy=strategy,
        symbol=symbol,
        timeframe=timeframe,
        params=params,
        sizing=sizing,
        exits=exits or {},
        mode=mode,
    )
    _check_instance(instance)
    arbitrage_checks.require_listed(instance)
    with transaction.atomic():
        instance.save(force_insert=True)
        _record(user, instance, "created")
    return instance


def update_instance(*, user: User, instance: StrategyInstance, **changes: Any) -> StrategyInstance:
    """Changes a stopped instance. Raises Conflict while it runs, or holds what the change would take for something
    else; InvalidInput by field."""
    if instance.status == InstanceStatus.RUNNING and set(changes) - {"name"}:
        raise Conflict("stop the strategy before changing it", code="INSTANCE_RUNNING")
    was_paper = instance.mode == InstanceMode.PAPER
    moves = any(name in _PLACE and getattr(instance, name) != value for name, value in changes.items())
    for name, value in changes.items():
        setattr(instance, name, value)
    _check_instance(instance)
    if moves:
        arbitrage_checks.require_listed(instance)
    with transaction.atomic():
        fields = [*changes, "updated_at"]
        if moves:
            # The engine holds the row shared while it commits an order: none slips in after the check.
            User.objects.select_for_update().get(pk=user.pk)
            _require_empty(instance, may_hold=was_paper)
        if moves and was_paper:  # what it held on paper stays behind in the paper account
            instance.held_quantity, instance.state = ZERO, {}
            fields += ["held_quantity", "state"]
        instance.save(update_fields=fields)
        _record(user, instance, "changed")
        _wake_after_commit(user, "instance")
    return instance


def _require_empty(instance: StrategyInstance, *, may_hold: bool) -> None:
    """What an instance holds is counted in the base asset of its symbol, on its connection. Raises Conflict."""
    held = not may_hold and StrategyInstance.objects.values_list("held_quantity", flat=True).get(pk=instance.pk)
    unsettled = ArbitrageFire.objects.filter(instance=instance).exclude(status=FireStatus.SETTLED)
    if held or unsettled.exists() or Order.objects.filter(instance=instance, status__in=OPEN).exists():
        raise Conflict("it holds something, or has open orders: sell and cancel that first", code="INSTANCE_HOLDS")


def delete_instance(*, user: User, instance: StrategyInstance) -> None:
    """Takes an instance away; its orders stay. Raises Conflict while it runs."""
    if instance.status == InstanceStatus.RUNNING:
        raise Conflict("stop the strategy before deleting it", code="INSTANCE_RUNNING")
    if ArbitrageFire.objects.filter(instance=instance).exclude(status=FireStatus.SETTLED).exists():
        raise Conflict("its last arbitrage isn't settled yet: wait until both sides are even", code="FIRE_UNSETTLED")
    with transaction.atomic():
        instance.is_deleted = True
        instance.save(update_fields=["is_deleted", "updated_at"])
        _record(user, instance, "deleted")
        _wake_after_commit(user, "instance")


def start_instance(*, user: User, instance: StrategyInstance) -> StrategyInstance:
    """Lets an instance trade. Raises Conflict when its connection is gone, DryRunNeeded."""
    for connection in filter(None, (instance.connection, instance.connection_b)):
        if connection.is_deleted:
            raise Conflict("the strategy's connection was deleted", code="CONNECTION_DELETED")
        if instance.mode == InstanceMode.LIVE:
            _check_disclosure(user, connection)
    _check_instance(instance)
    dry_run.require_dry_run(instance)
    with transaction.atomic():
        if instance.mode == InstanceMode.PAPER:
            for connection in filter(None, (instance.connection, instance.connection_b)):
                paper.ensure_account(user, connection)
        return _set_status(user, instance, InstanceStatus.RUNNING, "started")


def pause_instance(*, user: User, instance: StrategyInstance) -> StrategyInstance:
    """No new signals; what it holds stays. Raises Conflict unless it runs."""
    if instance.status != InstanceStatus.RUNNING:
        raise Conflict("only a running strategy can be paused", code="INSTANCE_NOT_RUNNING")
    return _set_status(user, instance, InstanceStatus.PAUSED, "paused")


def stop_instance(*, user: User, instance: StrategyInstance) -> StrategyInstance:
    """Ends an instance's trading; what it holds stays. Stopping a stopped one changes nothing."""
    return _set_status(user, instance, InstanceStatus.STOPPED, "stopped")


def _set_status(user: User, instance: StrategyInstance, status: InstanceStatus, event: str) -> StrategyInstance:
    with transaction.atomic():
        instance.status = status
        instance.status_reason = ""
        if status == InstanceStatus.RUNNING:
            instance.started_at = SYSTEM_CLOCK.now()
        # Only these: the engine writes the others.
        instance.save(update_fields=["status", "status_reason", "started_at", "updated_at"])
        _record(user, instance, event)
        _wake_after_commit(user, "instance")
    return instance


def _check_instance(instance: StrategyInstance) -> None:
    _check_symbol(instance.symbol)
    strategy(instance.strategy)
    if instance.timeframe not in TIMEFRAMES:
        raise InvalidInput("no such timeframe", fields={"timeframe": [f"must be one of {', '.join(TIMEFRAMES)}"]})
    if instance.mode == InstanceMode.LIVE and instance.connection.is_paper:
        raise InvalidInput("a paper account is never live", fields={"mode": ["must be paper on a paper account"]})
    _nested("exits", parse_exits, instance.exits)
    instance.exits = {name: value for name, value in instance.exits.items() if value is not None}
    arbitrage_checks.check_sides(instance)
    _check_timeframe(instance)
    _nested("params", parse_params, instance.strategy, instance.params)
    _nested("sizing", parse_sizing, instance.sizing)


def _check_timeframe(instance: StrategyInstance) -> None:
    """Its first bars are asked of the venue: a timeframe that the venue lacks would never get warm. A pair looks at
    books."""
    known = venue(instance.connection.exchange).timeframes
    if instance.connection_b_id is None and instance.timeframe not in known:
        reason = f"this exchange has no such candles: must be one of {', '.join(known)}"
        raise InvalidInput("no such timeframe", fields={"timeframe": [reason]})


def _check_disclosure(user: User, connection: Connection) -> None:
    """Raises DisclosureRequired: real money moves only for who has accepted the risk disclosure (ACC-9)."""
    if connection.mode == Mode.LIVE:
        disclosure.require_accepted(user)


def _nested(name: str, parse: Any, *args: Any) -> None:
    """Errors inside a nested object are named by their path, for example ``params.period``."""
    try:
        parse(*args)
    except InvalidInput as error:
        fields = {f"{name}.{inner}": texts for inner, texts in error.fields.items()} or {name: [error.message]}
        raise InvalidInput(error.message, fields=fields) from None


def _check_symbol(symbol: str) -> None:
    if not symbols.PATTERN.fullmatch(symbol):
        raise InvalidInput("not a symbol", fields={"symbol": [symbols.SHAPE]})


def _record(user: User, instance: StrategyInstance, event: str) -> None:
    record(
        f"strategy.{event}",
        user_id=user.pk,
        resource_type="strategy_instance",
        resource_id=instance.pk,
        details={"name": instance.name, "strategy": instance.strategy, "symbol": instance.symbol},
    )


def _wake_after_commit(user: User, what: str) -> None:
    transaction.on_commit(lambda: wake(Wake(shard_of(user.pk), user.pk, what)))
