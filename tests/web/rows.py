"""Rows of every kind for one user, as the engine and the API would have written them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from accounts.models import Device, User
from accounts.tenancy import tenant_scope
from audit.record import record
from connections.custody import seal_credentials
from connections.gateways import Credentials
from connections.models import Connection
from desproject.lib.clock import SYSTEM_CLOCK
from risk.models import KillSwitch, RiskEvent, RiskMetrics, RiskPolicy
from trading.models import (
    ArbitrageFire,
    ArbitrageLeg,
    Balance,
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

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Owned:
    """What one user has: one of each."""

    user: User
    connection: Connection
    instance: StrategyInstance
    signal: Signal
    order: Order
    trade: Trade
    fire: ArbitrageFire
    policy: RiskPolicy
    switch: KillSwitch
    event: RiskEvent
    device: Device

    @property
    def ids(self) -> set[str]:
        rows = (
            self.connection, self.instance, self.signal, self.order, self.trade, self.fire, self.policy, self.switch,
            self.user, self.event, self.device,
        )
        return {str(row.pk) for row in rows}


def make_connection(user: User, credentials: Credentials, name: str = "spot", **values: Any) -> Connection:
    row = Connection(
        user=user, name=name, exchange="binance_spot", mode=values.pop("mode", "simulator"), key_version=1, **values
    )
    seal_credentials(
        credentials, user_id=user.pk, connection_id=row.pk, exchange=row.exchange
    ).store_in(row)
    with tenant_scope(user.pk):
        row.save()
    return row


def make_instance(connection: Connection, **values: Any) -> StrategyInstance:
    defaults: dict[str, Any] = {
        "name": "dip buyer", "strategy": "rsi", "symbol": "BTC/USDT", "timeframe": "1m",
        "params": {"period": 14}, "sizing": {"type": "quote_amount", "amount": "100"},
    }
    with tenant_scope(connection.user_id):
        return StrategyInstance.objects.create(  # type: ignore[no-any-return]
            user_id=connection.user_id, connection=connection, **{**defaults, **values}
        )


def make_order(connection: Connection, **values: Any) -> Order:
    defaults: dict[str, Any] = {
        "symbol": "BTC/USDT", "side": "buy", "type": "limit", "time_in_force": "gtc", "quantity": Decimal("0.5"),
        "price": Decimal("50000.10"), "status": "submitted",
    }
    with tenant_scope(connection.user_id):
        return Order.objects.create(  # type: ignore[no-any-return]
            user_id=connection.user_id, connection=connection, **{**defaults, **values}
        )


def make_everything(user: User, credentials: Credentials) -> Owned:
    """One row of every tenant-owned kind."""
    connection = make_connection(user, credentials)
    instance = make_instance(connection)
    with tenant_scope(user.pk):
        signal = Signal.objects.create(
            user=user, instance=instance, event_key=f"bar:{user.pk.hex}"[:60], action="enter",
            price=Decimal(50000), decision="ordered", observed_at=AT, decided_at=AT,
        )
        order = make_order(connection, instance=instance, signal=signal, client_order_id=f"des-{user.pk.hex[:20]}")
        trade = _make_fill(user, connection, order)
        fire = ArbitrageFire.objects.create(
            user=user, instance=instance, signal=signal, symbol="BTC/USDT", quote_asset="USDT",
            buy_connection=connection, sell_connection=connection, quantity=Decimal("0.5"), status="settled",
            expected_buy_price=Decimal(50000), expected_sell_price=Decimal(50100), expected_profit=Decimal(5),
        )
        ArbitrageLeg.objects.create(user=user, fire=fire, order=order, role="buy")
        policy = RiskPolicy.objects.create(user=user, level="user", target_id=user.pk, max_order_size=Decimal(1000))
        RiskMetrics.objects.create(user=user, connection=connection, date=AT.date(), quote_asset="USDT")
        switch = KillSwitch.objects.create(
            user=user, level="connection", target_id=connection.pk, reason="a test", pressed_by=user
        )
        event = RiskEvent.objects.create(
            user=user, year=2026, number=user.pk.int % 10**9, type="R3.2", severity="medium",
            description="a price much worse than expected", occurred_at=AT,
        )
        PaperRun.objects.create(
            user=user, instance=instance, fingerprint="f" * 64, started_at=AT, seen_at=AT + timedelta(minutes=10)
        )
        DryRunLift.objects.create(user=user, instance=instance, fingerprint="f" * 64, reason="a test")
        record("connection.created", user_id=user.pk, resource_type="connection", resource_id=connection.pk)
    device = Device.objects.create(user=user, name="phone", refresh_jti=uuid4(), last_used_at=SYSTEM_CLOCK.now())
    return Owned(user, connection, instance, signal, order, trade, fire, policy, switch, event, device)


def _make_fill(user: User, connection: Connection, order: Order) -> Trade:
    OrderAttempt.objects.create(
        user=user, client_order_id=order.client_order_id, order=order, connection=connection, shard=1, epoch=1,
        send_deadline=AT,
    )
    OrderEvent.objects.create(user=user, order=order, from_status="new", to_status="pending", cause="signal", at=AT)
    Command.objects.create(user=user, kind="reconcile", connection=connection)
    Reservation.objects.create(
        user=user, order=order, connection=connection, asset="USDT", amount=Decimal(100), remaining=Decimal("60.5")
    )
    Position.objects.create(
        user=user, connection=connection, symbol="BTC/USDT", quantity=Decimal("0.1"), average_price=Decimal(49000)
    )
    Balance.objects.create(
        user=user, connection=connection, asset="USDT", total=Decimal("1000.25"), locked=Decimal("60.5"), as_of=AT
    )
    Reconciliation.objects.create(
        user=user, connection=connection, cause="gap", at=AT, orders_checked=1,
        differences=[{"kind": "balance", "subject": "USDT", "exchange": "1000.25", "here": "1000"}],
    )
    EquityPoint.objects.create(user=user, connection=connection, asset="USDT", at=AT, value=Decimal("5900.25"))
    return Trade.objects.create(  # type: ignore[no-any-return]
        user=user, connection=connection, order=order, exchange_trade_id=str(UUID(int=user.pk.int))[:30],
        symbol="BTC/USDT", side="buy", quantity=Decimal("0.1"), price=Decimal(49000), fee=Decimal("0.0001"),
        fee_asset="BTC", executed_at=AT,
    )
