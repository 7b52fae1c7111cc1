"""What the user's browsers are told after a commit: the same shapes as the API answers, made when they are sent."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any
from uuid import UUID

from trading import serializers
from trading.engine.booking import Booking
from trading.engine.desk import Desk
from trading.engine.state import Account, LiveOrder, TenantState
from trading.models import Balance, Position, Signal, StrategyInstance, Trade
from trading.push import News


def tell_order(desk: Desk, live: LiveOrder) -> None:
    row = live.order
    desk.tell(row.user_id, News.ORDER, partial(_shaped, serializers.OrderSerializer, row), row.pk)


def tell_signal(desk: Desk, signal: Signal) -> None:
    desk.tell(signal.user_id, News.SIGNAL, partial(_shaped, serializers.SignalSerializer, signal), signal.pk)


def tell_status(desk: Desk, instance: StrategyInstance) -> None:
    """A strategy instance was paused or stopped by the engine."""
    told = {"id": str(instance.pk), "status": str(instance.status), "status_reason": instance.status_reason}
    desk.tell(instance.user_id, News.INSTANCE, partial(dict, told))


def tell_booking(desk: Desk, state: TenantState, booking: Booking) -> None:
    """News of everything that a booking changed."""
    tell_order(desk, booking.live)
    tell_trades(desk, state.user_id, booking.trades, booking.position)


def tell_trades(desk: Desk, user_id: UUID, trades: Sequence[Trade], position: Position | None) -> None:
    """News of trades, and of the position that they led to."""
    for trade in trades:
        desk.tell(user_id, News.TRADE, partial(_shaped, serializers.TradeSerializer, trade), trade.pk)
    if position is not None:
        desk.tell(
            user_id, News.POSITION, partial(_shaped, serializers.PositionSerializer, position), position.pk
        )


def tell_balance(desk: Desk, state: TenantState, account: Account, row: Balance) -> None:
    """The balance with what open orders hold of it."""

    def shape() -> dict[str, Any]:
        reserved = {(account.connection.pk, row.asset): state.reserved(account.connection.pk, row.asset)}
        return dict(serializers.BalanceSerializer(row, context={"reserved": reserved}).data)

    desk.tell(state.user_id, News.BALANCE, shape, row.pk)


def _shaped(serializer: Callable[[], Any], row: Any) -> dict[str, Any]:
    return dict(_ready(serializer).to_representation(row))


@cache
def _ready(serializer: Callable[[], Any]) -> Any:
    """One of each kind: a serializer builds all its fields anew, which takes longer than using them."""
    return serializer()
