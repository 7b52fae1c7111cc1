"""Admin pages of trading: all read-only, because only the engine writes these rows."""

from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.forms import ActionForm

from accounts.admin_pages import ReadOnlyAdmin
from accounts.journal import record
from accounts.models import User
from accounts.tenancy import tenant_scope
from connections.admin import ConnectionAdmin
from connections.models import Connection
from desproject.lib.errors import DomainError
from trading import dry_run
from trading.leak_drill import answer_leak
from trading.models import (
    ArbitrageFire,
    ArbitrageLeg,
    Balance,
    Bar,
    Command,
    DryRunLift,
    EquityPoint,
    Order,
    OrderAttempt,
    OrderEvent,
    PaperRun,
    Position,
    Reconciliation,
    Reservation,
    Signal,
    StrategyInstance,
    Trade,
)


@admin.action(description="Keys leaked: disable them, cancel their orders")
def disable_leaked_keys(_: ConnectionAdmin, request: HttpRequest, rows: "QuerySet[Connection]") -> None:
    """For each one's owner, who lifts the kill switch and brings a new key."""
    living = list(rows.filter(is_deleted=False).select_related("user"))
    for row in living:
        with tenant_scope(row.user_id):
            answer_leak(user=row.user, connection=row)
        record("admin.key_disabled", user_id=request.user.pk, resource_type="connection", resource_id=row.pk)
    messages.success(request, f"{len(living)} keys are disabled")


# An action of trading's on a page of the app below.
ConnectionAdmin.actions = [disable_leaked_keys]


class _TenantsRows(ReadOnlyAdmin):
    list_select_related: ClassVar[Any] = ("user",)
    ordering: ClassVar = ("-created_at",)


class _ReasonForm(ActionForm):  # type: ignore[misc]  # unfold ships no types
    """Beside the choice of an action."""

    reason = forms.CharField(max_length=300, required=False, label="Reason")


@admin.action(description="Lift the dry run: may be started live (give a reason)")
def lift_dry_runs(_: ReadOnlyAdmin, request: HttpRequest, rows: "QuerySet[StrategyInstance]") -> None:
    """For the present configuration of each."""
    reason = request.POST.get("reason", "").strip()
    if not reason:
        messages.error(request, "Give a reason beside the action: it is kept.")
        return
    administrator = cast(User, request.user)
    for row in list(rows):
        try:
            dry_run.lift(administrator=administrator, instance_id=row.pk, reason=reason[:300])
        except DomainError as error:
            messages.warning(request, f"{row.name}: {error.message}")
        else:
            messages.success(request, f"{row.name} may be started live")


@admin.register(StrategyInstance)
class StrategyInstanceAdmin(_TenantsRows):
    list_display: ClassVar = ("name", "user", "strategy", "symbol", "timeframe", "mode", "status", "held_quantity")
    list_filter: ClassVar = ("strategy", "mode", "status", "is_deleted")
    action_form = _ReasonForm
    actions: ClassVar = [lift_dry_runs]
    search_fields: ClassVar = ("user__email", "name", "symbol")


@admin.register(PaperRun)
class PaperRunAdmin(_TenantsRows):
    list_display: ClassVar = ("instance", "user", "started_at", "seen_at", "fingerprint")
    list_select_related: ClassVar = ("user", "instance")


@admin.register(DryRunLift)
class DryRunLiftAdmin(_TenantsRows):
    list_display: ClassVar = ("instance", "user", "reason", "lifted_by", "created_at")
    list_select_related: ClassVar = ("user", "instance", "lifted_by")


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


@admin.register(ArbitrageFire)
class ArbitrageFireAdmin(_TenantsRows):
    list_display: ClassVar = (
        "created_at", "user", "instance", "symbol", "status", "quantity", "expected_profit", "profit",
        "exposed_quantity", "exposure_cost",
    )
    list_select_related: ClassVar = ("user", "instance")
    list_filter: ClassVar = ("status",)
    search_fields: ClassVar = ("user__email", "symbol")


@admin.register(ArbitrageLeg)
class ArbitrageLegAdmin(_TenantsRows):
    list_display: ClassVar = ("role", "user", "fire", "order")
    list_select_related: ClassVar = ("user", "fire", "order")


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


@admin.register(EquityPoint)
class EquityPointAdmin(_TenantsRows):
    list_display: ClassVar = ("at", "user", "connection", "asset", "value")
    ordering: ClassVar = ("-at",)


@admin.register(Reconciliation)
class ReconciliationAdmin(_TenantsRows):
    list_display: ClassVar = ("at", "user", "connection", "cause", "orders_checked", "differences")
    list_select_related: ClassVar = ("user", "connection")
    ordering: ClassVar = ("-at",)


@admin.register(Command)
class CommandAdmin(_TenantsRows):
    list_display: ClassVar = ("kind", "user", "order", "connection", "created_at", "done_at", "result")
    list_select_related: ClassVar = ("user", "order", "connection")


@admin.register(Bar)
class BarAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ("feed", "symbol", "timeframe", "opened_at", "open", "high", "low", "close", "volume")
    list_filter: ClassVar = ("feed", "timeframe")
