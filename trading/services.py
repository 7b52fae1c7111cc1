"""What users may do to their trading: rows written with their audit entry, and the engine woken after the commit.

Every function works inside the user's tenant scope, which the caller (a view, a command) has opened.
"""

import re
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.tenancy import shard_of
from audit.record import record
from connections.gateways import OrderType, Side, TimeInForce
from connections.models import Connection, Mode
from desproject.lib.bus import Wake, wake
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.errors import Conflict, InvalidInput, NotFound
from trading.bars import TIMEFRAMES
from trading.models import Command, CommandKind, InstanceMode, InstanceStatus, Order, StrategyInstance
from trading.order_states import TERMINAL, OrderStatus
from trading.sizing import parse_sizing
from trading.strategies import parse_params, strategy

_SYMBOL = re.compile(r"[A-Z0-9]{1,20}/[A-Z0-9]{1,20}(:[A-Z0-9]{1,20})?")


class IdempotencyConflict(Conflict):
    """The same Idempotency-Key came with another body."""

    code = "IDEMPOTENCY_KEY_REUSED"


def place_order(
    *,
    user: User,
    connection: Connection,
    symbol: str,
    side: Side,
    type: OrderType,
    quantity: Decimal,
    price: Decimal | None = None,
    time_in_force: TimeInForce = TimeInForce.GTC,
    reduce_only: bool = False,
    idempotency_key: str | None = None,
    request_hash: str = "",
) -> Order:
    """Accepts an order: a durable row in ``new``, which the engine decides on. Raises InvalidInput, Conflict."""
    _check_symbol(symbol)
    _check_order(type, quantity, price)
    if connection.is_deleted:
        raise NotFound("no such connection")
    order = Order(
        user=user,
        connection=connection,
        symbol=symbol,
        side=side,
        type=type,
        time_in_force=time_in_force,
        quantity=quantity,
        price=price,
        reduce_only=reduce_only,
        idempotency_key=idempotency_key,
        request_hash=request_hash,
    )
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
        return _same_order(idempotency_key, request_hash)
    return order


def _same_order(idempotency_key: str | None, request_hash: str) -> Order:
    found = Order.objects.filter(idempotency_key=idempotency_key) if idempotency_key else Order.objects.none()
    order: Order | None = found.first()
    if order is None or order.request_hash != request_hash:
        raise IdempotencyConflict("this Idempotency-Key was already used for another order")
    return order


def _check_order(type: OrderType, quantity: Decimal, price: Decimal | None) -> None:
    fields: dict[str, list[str]] = {}
    if quantity <= 0:
        fields["quantity"] = ["must be more than 0"]
    if type == OrderType.MARKET and price is not None:
        fields["price"] = ["a market order takes no price"]
    if type != OrderType.MARKET and (price is None or price <= 0):
        fields["price"] = [f"a {type} order needs a price above 0"]
    if fields:
        raise InvalidInput("the order can't be accepted", fields=fields)


def cancel_order(*, user: User, order: Order) -> Command:
    """Asks for an order to be cancelled. Raises Conflict when it has ended already."""
    if OrderStatus(order.status) in TERMINAL:
        raise Conflict(f"the order is already {order.status}", code="ORDER_ENDED")
    with transaction.atomic():
        command: Command = Command.objects.create(user=user, kind=CommandKind.CANCEL, order=order)
        record("order.cancel_requested", user_id=user.pk, resource_type="order", resource_id=order.pk)
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
    mode: str = InstanceMode.LIVE,
) -> StrategyInstance:
    """A new strategy instance, stopped. Raises InvalidInput by field."""
    instance = StrategyInstance(
        user=user,
        connection=connection,
        name=name,
        strategy=strategy,
        symbol=symbol,
        timeframe=timeframe,
        params=params,
        sizing=sizing,
        mode=mode,
    )
    _check_instance(instance)
    with transaction.atomic():
        instance.save(force_insert=True)
        _record(user, instance, "created")
    return instance


def update_instance(*, user: User, instance: StrategyInstance, **changes: Any) -> StrategyInstance:
    """Changes a stopped instance. Raises Conflict while it runs, InvalidInput by field."""
    if instance.status == InstanceStatus.RUNNING and set(changes) - {"name"}:
        raise Conflict("stop the strategy before changing it", code="INSTANCE_RUNNING")
    for name, value in changes.items():
        setattr(instance, name, value)
    _check_instance(instance)
    with transaction.atomic():
        instance.save(update_fields=[*changes, "updated_at"])
        _record(user, instance, "changed")
        _wake_after_commit(user, "instance")
    return instance


def delete_instance(*, user: User, instance: StrategyInstance) -> None:
    """Takes an instance away; its orders stay. Raises Conflict while it runs."""
    if instance.status == InstanceStatus.RUNNING:
        raise Conflict("stop the strategy before deleting it", code="INSTANCE_RUNNING")
    with transaction.atomic():
        instance.is_deleted = True
        instance.save(update_fields=["is_deleted", "updated_at"])
        _record(user, instance, "deleted")
        _wake_after_commit(user, "instance")


def start_instance(*, user: User, instance: StrategyInstance) -> StrategyInstance:
    """Lets an instance trade. Raises Conflict when its connection is gone or unhealthy."""
    if instance.connection.is_deleted:
        raise Conflict("the strategy's connection was deleted", code="CONNECTION_DELETED")
    _check_instance(instance)
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
    if instance.mode == InstanceMode.PAPER or instance.connection.mode == Mode.PAPER:
        raise InvalidInput("paper trading is not there yet", fields={"mode": ["must be live"]})
    _nested("params", parse_params, instance.strategy, instance.params)
    _nested("sizing", parse_sizing, instance.sizing)


def _nested(name: str, parse: Any, *args: Any) -> None:
    """Errors inside a nested object are named by their path, for example ``params.period``."""
    try:
        parse(*args)
    except InvalidInput as error:
        fields = {f"{name}.{inner}": texts for inner, texts in error.fields.items()} or {name: [error.message]}
        raise InvalidInput(error.message, fields=fields) from None


def _check_symbol(symbol: str) -> None:
    if not _SYMBOL.fullmatch(symbol):
        raise InvalidInput("not a symbol", fields={"symbol": ["must look like BTC/USDT"]})


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
