"""Admin pages of trading: all read-only, because only the engine writes these rows."""

from typing import Any, ClassVar

from django.contrib import admin

from accounts.admin_pages import ReadOnlyAdmin
from trading.models import (
    Balance,
    Bar,
    Command,
    Order,
    OrderAttempt,
    OrderEvent,
    Position,
    Reservation,
    Signal,
    StrategyInstance,
    Trade,
)


class _TenantsRows(ReadOnlyAdmin):
    list_select_related: ClassVar[Any] = ("user",)
    ordering: ClassVar = ("-created_at",)


@admin.register(StrategyInstance)
class StrategyInstanceAdmin(_TenantsRows):
    list_display: ClassVar = ("name", "user", "strategy", "symbol", "timeframe", "status", "held_quantity")
    list_filter: ClassVar = ("strategy", "status", "is_deleted")
    search_fields: ClassVar = ("user__email", "name", "symbol")


@admin.register(Signal)
class SignalAdmin(_TenantsRows):
    list_display: ClassVar = ("decided_at", "user", "instance", "action", "price", "decision", "reason")
    list_select_related: ClassVar = ("user", "instance")
    list_filter: ClassVar = ("decision",)


@admin.register(Order)
class OrderAdmin(_TenantsRows):
    list_display: ClassVar = (
        "created_at", "user", "symbol", "side", "type", "quantity", "price", "status", "filled_quantity",
    )
    list_filter: ClassVar = ("status", "side", "type")
    search_fields: ClassVar = ("user__email", "symbol", "client_order_id", "exchange_order_id")


@admin.register(OrderAttempt)
class OrderAttemptAdmin(_TenantsRows):
    list_display: ClassVar = ("client_order_id", "user", "number", "shard", "epoch", "outcome", "latency_ms", "error")
    list_filter: ClassVar = ("outcome",)
    search_fields: ClassVar = ("client_order_id",)


@admin.register(OrderEvent)
class OrderEventAdmin(_TenantsRows):
    list_display: ClassVar = ("at", "user", "order", "from_status", "to_status", "cause")
    list_select_related: ClassVar = ("user", "order")


@admin.register(Trade)
class TradeAdmin(_TenantsRows):
    list_display: ClassVar = ("executed_at", "user", "symbol", "side", "quantity", "price", "fee", "realized_pnl")
    search_fields: ClassVar = ("user__email", "symbol", "exchange_trade_id")


@admin.register(Position)
class PositionAdmin(_TenantsRows):
    list_display: ClassVar = ("symbol", "user", "connection", "quantity", "average_price", "realized_pnl")
    list_select_related: ClassVar = ("user", "connection")


@admin.register(Balance)
class BalanceAdmin(_TenantsRows):
    list_display: ClassVar = ("asset", "user", "connection", "total", "locked", "as_of")
    list_select_related: ClassVar = ("user", "connection")


@admin.register(Reservation)
class ReservationAdmin(_TenantsRows):
    list_display: ClassVar = ("order", "user", "asset", "amount", "remaining", "released_at")
    list_select_related: ClassVar = ("user", "order")


@admin.register(Command)
class CommandAdmin(_TenantsRows):
    list_display: ClassVar = ("kind", "user", "order", "connection", "created_at", "done_at", "result")
    list_select_related: ClassVar = ("user", "order", "connection")


@admin.register(Bar)
class BarAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("feed", "symbol", "timeframe", "opened_at", "open", "high", "low", "close", "volume")
    list_filter: ClassVar = ("feed", "timeframe")
