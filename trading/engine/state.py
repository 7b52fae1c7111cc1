"""What an engine knows of a tenant, in memory: a copy of committed rows, replaced only after a commit."""

import asyncio
import copy
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from django.db.models import Model

from accounts.models import User
from accounts.tenancy import everyone, tenant_scope
from connections.gateways import SymbolRules
from connections.models import Connection
from desproject.lib.clock import Clock
from desproject.lib.money import ZERO
from risk.models import KillLevel, KillSwitch, PolicyLevel, RiskMetrics, RiskPolicy
from risk.policy import Limits, effective
from trading.engine.pace import Pace
from trading.engine.pairs import Pairs, read_pairs
from trading.exits import Attached
from trading.models import (
    Balance,
    InstanceMode,
    InstanceStatus,
    Order,
    OrderAttempt,
    Position,
    Reservation,
    StrategyInstance,
    Trade,
)
from trading.order_states import OPEN, TERMINAL, OrderStatus

# Ended orders are remembered for late reports; older ones are read from the database when one comes.
_REMEMBERED = 500

Row = TypeVar("Row", bound=Model)


def changed(row: Row, **values: object) -> Row:
    """A copy of the row with other values: the original stays what was last committed."""
    # As Django copies a model, without the way through pickling.
    twin: Row = type(row).__new__(type(row))
    twin.__dict__.update(row.__dict__)
    twin._state = copy.copy(row._state)
    if "fields_cache" in row._state.__dict__:
        twin._state.fields_cache = row._state.fields_cache.copy()
    for name, value in values.items():
        setattr(twin, name, value)
    return twin


@dataclass(slots=True)
class LiveOrder:
    """An order with what hangs on it. ``fills`` maps exchange trade id to (quantity, price) of booked trades."""

    order: Order
    attempt: OrderAttempt | None = None
    reservation: Reservation | None = None
    fills: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    # When the signal that it came from was decided, for the metrics; not known any more after a restart.
    decided_at: datetime | None = None
    # The exchange gets one try: a leg of an arbitrage is of no use later.
    tries_once: bool = False
    # The answer to the newest attempt is in the tenant's mailbox: nobody need ask the exchange for it.
    answer_waits: bool = False
    # Set when it is to be cancelled while nothing was heard of it yet: no further attempt is made.
    unwanted: asyncio.Event = field(default_factory=asyncio.Event)
    # Why we cancel it, where nobody asked for that.
    cancelled_for: str = ""

    @property
    def is_open(self) -> bool:
        return self.order.status in OPEN

    @property
    def is_whole(self) -> bool:
        """Ended, and every fill that the exchange reported is booked."""
        return not self.is_open and self.order.filled_quantity >= self.order.reported_quantity

    @property
    def is_over(self) -> bool:
        """Whole, and nothing is reserved for it any more."""
        return self.is_whole and (self.reservation is None or self.reservation.released_at is not None)

    def rows(self) -> list[Model]:
        """What hangs on the order: its attempt and its reservation."""
        return [row for row in (self.attempt, self.reservation) if row is not None]

    @property
    def remaining(self) -> Decimal:
        left: Decimal = self.order.quantity - self.order.filled_quantity
        return left


@dataclass(slots=True)
class MarginWatch:
    """What the exchange last told of an account's positions on margin (trading/engine/liquidation.py)."""

    told: dict[str, Decimal] = field(default_factory=dict)
    asked_at: float = float("-inf")
    is_asking: bool = False
    # Those whose alarm was raised.
    near: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Account:
    """One connection's state. ``entries_open`` is false until the exchange was asked what was missed."""

    connection: Connection
    balances: dict[str, Balance] = field(default_factory=dict)
    # The newest fill that moved a balance, by asset: an older figure of the exchange doesn't hold it.
    moved_at: dict[str, datetime] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    metrics: dict[tuple[date, str], RiskMetrics] = field(default_factory=dict)
    # The days whose metrics were read from the database: a fill of another day needs them read first.
    metric_days: set[date] = field(default_factory=set)
    rules: dict[str, SymbolRules] = field(default_factory=dict)
    # By how much a contract's margin is multiplied, as the exchange last said; asked anew after every gap.
    leverage: dict[str, int] = field(default_factory=dict)
    entries_open: bool = False
    # The exchange has told its balances since we own the account: before, nothing can be decided, exits neither.
    is_known: bool = False
    stream_epoch: int = 0
    stream_sequence: int = 0
    # Counts the times that events were missed: a catch-up that began before the last one doesn't cover it.
    gaps: int = 0
    # Monotonic times: of the last sign of life of the account's stream, of when its working orders were last asked
    # for, and of when all of it was last compared with the exchange.
    heard_at: float = float("-inf")
    asked_at: float = float("-inf")
    compared_at: float = float("-inf")
    # What the last comparison found and the next one must confirm: how often the exchange denied an order, and
    # positions (theirs, ours) that differ.
    denials: dict[UUID, int] = field(default_factory=dict)
    drifts: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    # Assets that moved while orders were under way, and since when: what our orders' fills don't explain, somebody
    # else traded.
    unexplained: dict[str, datetime] = field(default_factory=dict)
    # Somebody asked for a comparison.
    was_asked: bool = False
    # When flattening may be tried again, by (symbol, strategy instance).
    flatten_after: dict[tuple[str, UUID | None], float] = field(default_factory=dict)
    # Monotonic time of the next health check; None until it was spread.
    check_at: float | None = None
    pace: Pace = field(default_factory=Pace)
    margin: MarginWatch = field(default_factory=MarginWatch)

    def missed_events(self) -> None:
        """No entries until the exchange was asked what was missed."""
        self.entries_open = False
        self.gaps += 1


@dataclass(slots=True)
class TenantState:
    """Everything of one user that decisions need."""

    user_id: UUID
    accounts: dict[UUID, Account] = field(default_factory=dict)
    orders: "OrderedDict[UUID, LiveOrder]" = field(default_factory=OrderedDict)
    # Of those, the ones that aren't over: decisions look at nothing else.
    unfinished: dict[UUID, LiveOrder] = field(default_factory=dict)
    # Of these, the ones that wait for their trigger.
    waiting: dict[UUID, LiveOrder] = field(default_factory=dict)
    client_ids: dict[str, UUID] = field(default_factory=dict)
    instances: dict[UUID, StrategyInstance] = field(default_factory=dict)
    policies: list[RiskPolicy] = field(default_factory=list)
    switches: list[KillSwitch] = field(default_factory=list)
    pairs: Pairs = field(default_factory=Pairs)
    # What is decided a moment later: signals by (instance, event key), orders by (id, what they wait for).
    deferred: set[tuple[UUID, str]] = field(default_factory=set)
    # The stops of what instances hold, and when (monotonic) the next exit for one may be tried (attached.py).
    attached: dict[UUID, Attached] = field(default_factory=dict)
    exit_after: dict[UUID, float] = field(default_factory=dict)
    # Deactivated or deleted users trade no more, as if under a kill switch.
    is_barred: bool = False

    def remember(self, live: LiveOrder) -> None:
        """Takes an order in, or notes what became of it; forgets the oldest whole ones past the bound."""
        self.orders[live.order.pk] = live
        if live.is_over:
            self.unfinished.pop(live.order.pk, None)
        else:
            self.unfinished[live.order.pk] = live
        if live.order.status == OrderStatus.WAITING:
            self.waiting[live.order.pk] = live
        else:
            self.waiting.pop(live.order.pk, None)
        if live.attempt is not None:
            self.client_ids[live.attempt.client_order_id] = live.order.pk
        if len(self.orders) > _REMEMBERED:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        for key, live in list(self.orders.items()):
            if len(self.orders) <= _REMEMBERED:
                return
            if live.is_over:
                del self.orders[key]
                self.client_ids = {client: order for client, order in self.client_ids.items() if order != key}

    def open_orders(self, connection_id: UUID | None = None) -> list[LiveOrder]:
        return [
            live
            for live in self.unfinished.values()
            if live.is_open and connection_id in (None, live.order.connection_id)
        ]

    def running(self) -> list[StrategyInstance]:
        return [row for row in self.instances.values() if row.status == InstanceStatus.RUNNING]

    def busy_instance(self, instance_id: UUID) -> bool:
        """Whether an order of this strategy instance is still under way, or its fills are still to come."""
        return any(live.order.instance_id == instance_id and not live.is_whole for live in self.unfinished.values())

    def reserved(self, connection_id: UUID, asset: str, besides: UUID | None = None) -> Decimal:
        """What open orders hold of an asset, the order ``besides`` left out."""
        return sum(
            (
                live.reservation.remaining
                for live in self.unfinished.values()
                if live.reservation is not None
                and live.reservation.released_at is None
                and live.reservation.asset == asset
                and live.order.connection_id == connection_id
                and live.order.pk != besides
            ),
            ZERO,
        )

    def limits(self, connection_id: UUID, instance_id: UUID | None) -> Limits:
        """The limits in force: strategy, then connection, then user, then global."""

        def find(level: PolicyLevel, target: UUID | None) -> RiskPolicy | None:
            return next((p for p in self.policies if p.level == level and p.target_id == target), None)

        paper_of = self._paper_of(connection_id)
        of_connection = find(PolicyLevel.CONNECTION, connection_id) or find(PolicyLevel.CONNECTION, paper_of)

        return effective(
            [
                find(PolicyLevel.STRATEGY, instance_id),
                of_connection,
                find(PolicyLevel.USER, self.user_id),
            ]
        )

    def killed(self, connection_id: UUID, instance_id: UUID | None) -> str:
        """Why nothing new may be sent for this target; empty when it may."""
        if self.is_barred:
            return "the user is deactivated"
        for switch in self.switches:
            targets = (self.user_id, connection_id, instance_id, self._paper_of(connection_id))
            if switch.level == KillLevel.SYSTEM or switch.target_id in targets:
                return f"{switch.level} kill switch: {switch.reason}"
        return ""

    def _paper_of(self, connection_id: UUID) -> UUID | None:
        """The connection that a paper account stands in for: its limits and kill switches hold on paper too."""
        account = self.accounts.get(connection_id)
        return account.connection.paper_of_id if account is not None else None


def load(user_id: UUID, clock: Clock) -> TenantState:
    """Reads a tenant from the database (in a database thread)."""
    with tenant_scope(user_id):
        state = TenantState(user_id)
        for row in Connection.objects.filter(is_deleted=False):
            state.accounts[row.pk] = Account(row)
        _load_accounts(state, clock)
        _load_orders(state)
        state.pairs = read_pairs()
    take_settings(state, read_settings(user_id))
    return state


@dataclass(frozen=True, slots=True)
class UserSettings:
    """What others than the engine write."""

    connections: dict[UUID, Connection]
    instances: dict[UUID, StrategyInstance]
    policies: list[RiskPolicy]
    switches: list[KillSwitch]
    is_barred: bool


def read_settings(user_id: UUID) -> UserSettings:
    """Reads connections, instances, policies and kill switches (in a database thread: no state is touched there)."""
    with tenant_scope(user_id):
        connections = {row.pk: row for row in Connection.objects.filter(is_deleted=False)}
        rows = _on_their_accounts(StrategyInstance.objects.filter(is_deleted=False), connections)
        instances = {row.pk: row for row in rows}
        policies = list(RiskPolicy.objects.all())
        switches = list(KillSwitch.objects.filter(lifted_at__isnull=True).exclude(level=KillLevel.SYSTEM))
    with everyone():
        switches += KillSwitch.objects.filter(lifted_at__isnull=True, level=KillLevel.SYSTEM)
    is_barred = not User.objects.filter(pk=user_id, is_active=True, is_deleted=False).exists()
    return UserSettings(connections, instances, policies, switches, is_barred)


def _on_their_accounts(
    rows: Iterable[StrategyInstance], connections: Mapping[UUID, Connection]
) -> Iterator[StrategyInstance]:
    """Here an instance on paper is bound to the paper accounts of its connections, so that nothing below can take it
    for one that is live. One whose paper account isn't there (any more) isn't either."""
    twins = {row.paper_of_id: key for key, row in connections.items() if row.paper_of_id}
    twins |= {key: key for key, row in connections.items() if row.is_paper}
    for row in rows:
        if row.mode == InstanceMode.PAPER:
            if row.connection_id not in twins or (row.connection_b_id and row.connection_b_id not in twins):
                continue
            row.connection_id = twins[row.connection_id]
            row.connection_b_id = twins[row.connection_b_id] if row.connection_b_id else None
        yield row


def take_settings(state: TenantState, settings: UserSettings) -> None:
    """Makes what was read the state."""
    accounts = {}
    for key, row in settings.connections.items():
        accounts[key] = state.accounts.get(key) or Account(row)
        accounts[key].connection = row
    state.accounts, state.instances = accounts, settings.instances
    state.policies, state.switches, state.is_barred = settings.policies, settings.switches, settings.is_barred


def _load_accounts(state: TenantState, clock: Clock) -> None:
    for balance in Balance.objects.all():
        if account := state.accounts.get(balance.connection_id):
            account.balances[balance.asset] = balance
    for position in Position.objects.all():
        if account := state.accounts.get(position.connection_id):
            account.positions[position.symbol] = position
    today = clock.now().date()
    for metrics in RiskMetrics.objects.filter(date=today):
        if account := state.accounts.get(metrics.connection_id):
            account.metrics[metrics.date, metrics.quote_asset] = metrics
    for account in state.accounts.values():
        account.metric_days.add(today)


def read_metrics(user_id: UUID, connection_id: UUID, days: set[date]) -> list[RiskMetrics]:
    """The stored metrics of these days (in a database thread)."""
    with tenant_scope(user_id):
        return list(RiskMetrics.objects.filter(connection_id=connection_id, date__in=days))


def _load_orders(state: TenantState) -> None:
    """Open orders, and ended ones whose reservation shows that fills are still to come. What is new is read when it is
    decided, unless it has waited before: then it holds a reservation."""
    waiting = Reservation.objects.filter(released_at__isnull=True).values("order")
    rows = list(Order.objects.exclude(status__in=TERMINAL | {OrderStatus.NEW}).order_by("created_at"))
    rows += Order.objects.filter(status=OrderStatus.NEW, triggered_at__isnull=False).order_by("created_at")
    rows += list(Order.objects.filter(status__in=TERMINAL, pk__in=waiting).order_by("created_at"))
    # A take-over reads what hangs on them in three queries, however many there are.
    ids = [row.pk for row in rows]
    newest: dict[UUID, OrderAttempt] = {}
    for attempt in OrderAttempt.objects.filter(order__in=ids).order_by("number"):
        newest[attempt.order_id] = attempt
        state.client_ids[attempt.client_order_id] = attempt.order_id
    reservations = {row.order_id: row for row in Reservation.objects.filter(order__in=ids)}
    fills: dict[UUID, dict[str, tuple[Decimal, Decimal]]] = defaultdict(dict)
    for trade in Trade.objects.filter(order__in=ids):
        fills[trade.order_id][trade.exchange_trade_id] = (trade.quantity, trade.price)
    for row in rows:
        state.remember(LiveOrder(row, newest.get(row.pk), reservations.get(row.pk), fills[row.pk]))


def load_order(row: Order) -> LiveOrder:
    """The order with its newest attempt, reservation and booked fills (inside a scope, in a database thread)."""
    return LiveOrder(
        row,
        OrderAttempt.objects.filter(order=row).order_by("-number").first(),
        Reservation.objects.filter(order=row).first(),
        {trade.exchange_trade_id: (trade.quantity, trade.price) for trade in Trade.objects.filter(order=row)},
    )


def find_order(user_id: UUID, client_order_id: str) -> LiveOrder | None:
    """An order that is no longer remembered, by the client id of any of its attempts (in a database thread)."""
    with tenant_scope(user_id):
        attempt = OrderAttempt.objects.filter(client_order_id=client_order_id).select_related("order").first()
        return load_order(attempt.order) if attempt else None
