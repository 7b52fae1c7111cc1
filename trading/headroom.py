"""How much of each risk limit is used: what the rules in risk/rules would find now, read from the database.

Limits hold per connection, most of them per quote asset (see trading/engine/risk_state.py). A limit on the size of one
order is used up by no other order, so it isn't listed.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from connections.gateways import Side
from connections.models import Connection
from connections.selectors import connections
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.money import ZERO, exact, floor_to, plain, settle
from risk.models import PolicyLevel, RiskMetrics, RiskPolicy
from risk.policy import GLOBAL_LIMITS
from trading import selectors
from trading.marks import marks
from trading.models import Order, Position, StrategyInstance
from trading.order_states import OPEN
from trading.positions import is_on_margin
from trading.quotes import quote_assets, quote_of

_RATIO_STEP = Decimal("0.0001")
GLOBAL = "global"
ORDERS = "orders"
TRADES = "trades"

# Rule, the policy's field that limits it.
_FIELDS = {
    "exposure": "max_exposure",
    "daily_loss": "max_daily_loss",
    "drawdown": "max_drawdown",
    "daily_trades": "max_daily_trades",
    "position_size": "max_position_size",
    "open_orders": "max_open_orders",
}


@dataclass(slots=True)
class _Used:
    """What one connection has used: by quote asset, by symbol, its open orders and the day's trades."""

    connection: Connection
    exposure: dict[str, Decimal] = field(default_factory=dict)
    loss: dict[str, Decimal] = field(default_factory=dict)
    drawdown: dict[str, Decimal] = field(default_factory=dict)
    position: dict[str, Decimal] = field(default_factory=lambda: defaultdict(lambda: ZERO))
    open_orders: int = 0
    trades: int = 0

    def of(self, rule: str, symbol: str | None) -> Iterator[tuple[str | None, Decimal, str]]:
        """(symbol, used, unit) of each thing that the rule limits."""
        if rule == "open_orders":
            yield None, Decimal(self.open_orders), ORDERS
        elif rule == "daily_trades":
            yield None, Decimal(self.trades + self.open_orders), TRADES
        elif rule == "position_size":
            for name in sorted({symbol} if symbol else self.position):
                yield name, self.position.get(name, ZERO), quote_of(name)
        else:
            used = {"exposure": self.exposure, "daily_loss": self.loss, "drawdown": self.drawdown}[rule]
            for quote in sorted({quote_of(symbol)} if symbol else used):
                yield None, used.get(quote, ZERO), quote


def headroom() -> list[dict[str, Any]]:
    """One entry for each limit in force, in the API's shape; for the tenant whose scope the caller has opened.

    ``level`` says whose limit it is: ``global``, or that of a policy. A strategy's own limits come beside its
    connection's: both use what the whole connection has used.
    """
    policies = {(row.level, row.target_id): row for row in RiskPolicy.objects.all()}
    instances = list(selectors.instances())
    entries: list[dict[str, Any]] = []
    with exact():
        used = _used(instances)
        for key, found in used.items():
            own = policies.get((PolicyLevel.CONNECTION, key))
            of_user = policies.get((PolicyLevel.USER, found.connection.user_id))
            for rule, name in _FIELDS.items():
                level, limit = _limit(name, [own, of_user])
                if limit is not None:
                    entries += [_entry(level, found, rule, limit, *row) for row in found.of(rule, None)]
        for instance in instances:
            policy = policies.get((PolicyLevel.STRATEGY, instance.pk))
            found_or_none = used.get(instance.connection_id)
            if policy is not None and found_or_none is not None:
                entries += _entries_of(policy, instance, found_or_none)
    return entries


def _entries_of(policy: RiskPolicy, instance: StrategyInstance, found: _Used) -> Iterator[dict[str, Any]]:
    for rule, name in _FIELDS.items():
        limit = getattr(policy, name)
        if limit is not None:
            for row in found.of(rule, instance.symbol):
                entry = _entry(PolicyLevel.STRATEGY, found, rule, Decimal(limit), *row)
                yield {**entry, "strategy_instance": str(instance.pk)}


def _limit(name: str, policies: Sequence[RiskPolicy | None]) -> tuple[str, Decimal | None]:
    """The limit in force and whose it is: the first that sets it (as risk.policy.effective decides)."""
    for policy in policies:
        if policy is not None and (limit := getattr(policy, name)) is not None:
            return policy.level, Decimal(limit)
    limit = getattr(GLOBAL_LIMITS, name)
    return GLOBAL, None if limit is None else Decimal(limit)


def _entry(
    level: str, found: _Used, rule: str, limit: Decimal, symbol: str | None, used: Decimal, unit: str
) -> dict[str, Any]:
    ratio = used / limit if limit else Decimal(1)
    return {
        "level": str(level),
        "connection": str(found.connection.pk),
        "strategy_instance": None,
        "symbol": symbol,
        "rule": rule,
        "limit": plain(limit),
        "used": plain(settle(used)),
        "left": plain(settle(max(limit - used, ZERO))),
        "unit": unit,
        "ratio": plain(floor_to(ratio, _RATIO_STEP)),
    }


def _used(instances: Sequence[StrategyInstance]) -> dict[UUID, _Used]:
    found = {row.pk: _Used(row) for row in connections()}
    positions = [row for row in selectors.positions() if row.quantity and row.connection_id in found]
    orders = list(
        selectors.orders().filter(status__in=OPEN, connection__in=found).select_related("reservation", "connection")
    )
    metrics = list(RiskMetrics.objects.filter(date=SYSTEM_CLOCK.now().date(), connection__in=found))
    traded: list[StrategyInstance | Position | Order] = [*instances, *positions, *orders]
    quotes = quote_assets([(row.connection_id, row.symbol) for row in traded], selectors.balances())
    for key, used in found.items():
        wanted = quotes.get(key, set()) | {row.quote_asset for row in metrics if row.connection_id == key}
        used.exposure = dict.fromkeys(wanted, ZERO)
        used.loss = dict.fromkeys(wanted, ZERO)
        used.drawdown = dict.fromkeys(wanted, ZERO)
    for row in metrics:
        used = found[row.connection_id]
        used.loss[row.quote_asset] = max(-row.realized_pnl, ZERO)
        used.drawdown[row.quote_asset] = row.peak_pnl - row.realized_pnl
        used.trades += row.trade_count
    _add_positions(found, positions)
    _add_orders(found, orders)
    return found


def _add_positions(found: dict[UUID, _Used], positions: Sequence[Position]) -> None:
    known = marks(positions)
    for row in positions:
        mark = known.get((row.connection_id, row.symbol), row.average_price)
        used = found[row.connection_id]
        used.position[row.symbol] += abs(row.quantity) * mark
        used.exposure[quote_of(row.symbol)] += abs(row.quantity) * mark


def _add_orders(found: dict[UUID, _Used], orders: Sequence[Order]) -> None:
    known = marks(orders)
    for row in orders:
        used = found[row.connection_id]
        used.open_orders += 1
        on_margin = is_on_margin(row.symbol)
        if row.reduce_only if on_margin else row.side != Side.BUY:
            continue
        mark = known.get((row.connection_id, row.symbol)) or row.price or ZERO
        worth = (row.quantity - row.filled_quantity) * mark
        used.position[row.symbol] += worth
        if on_margin:  # its reservation is only the margin
            used.exposure[quote_of(row.symbol)] += worth
            continue
        reservation = getattr(row, "reservation", None)
        if reservation is not None and reservation.released_at is None:
            used.exposure[quote_of(row.symbol)] += reservation.remaining
