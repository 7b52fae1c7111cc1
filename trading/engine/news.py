"""What the user's browsers are told after a commit: the same shapes as the API answers."""

from typing import Any

from trading import serializers
from trading.engine.booking import Booking
from trading.engine.desk import Desk
from trading.engine.state import Account, LiveOrder, TenantState
from trading.models import Balance, Signal


def tell_order(desk: Desk, live: LiveOrder) -> None:
    desk.tell(live.order.user_id, "order", _data(serializers.OrderSerializer(live.order)))


def tell_signal(desk: Desk, signal: Signal) -> None:
    desk.tell(signal.user_id, "signal", _data(serializers.SignalSerializer(signal)))


def tell_booking(desk: Desk, state: TenantState, booking: Booking) -> None:
    """News of everything that a booking changed."""
    tell_order(desk, booking.live)
    for trade in booking.trades:
        desk.tell(state.user_id, "trade", _data(serializers.TradeSerializer(trade)))
    if booking.position is not None:
        desk.tell(state.user_id, "position", _data(serializers.PositionSerializer(booking.position)))


def tell_balance(desk: Desk, state: TenantState, account: Account, row: Balance) -> None:
    """The balance with what open orders hold of it."""
    reserved = {(account.connection.pk, row.asset): state.reserved(account.connection.pk, row.asset)}
    desk.tell(state.user_id, "balance", _data(serializers.BalanceSerializer(row, context={"reserved": reserved})))


def _data(serializer: Any) -> dict[str, Any]:
    return dict(serializer.data)
