"""Watches one symbol on two connections of a user and fires both legs at once when that wins enough (ARB-1, ARB-2).

Cheap looks at the books happen wherever books move; whether to fire is decided in the tenant's own turn, from the
books, balances and rules of that moment, and committed with both legs in one transaction.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID

import structlog

from audit.record import entry
from connections.gateways import NothingHappened, Side
from connections.models import ConnectionStatus
from desproject.lib.errors import DomainError
from desproject.lib.money import plain
from risk.engine import Denial
from trading.arbitrage import adapting, edge
from trading.engine import checks, denying, failing, pair_orders, risk_state
from trading.engine.desk import Desk
from trading.engine.pairs import OpenFire
from trading.engine.plans import NotReady
from trading.engine.state import Account, TenantState
from trading.engine.tenant import Tenant
from trading.models import (
    ArbitrageFire,
    ArbitrageLeg,
    Decision,
    InstanceStatus,
    LegRole,
    Order,
    Signal,
    StrategyInstance,
)
from trading.sizing import parse_sizing
from trading.strategies import parse_params, takes_pair
from trading.strategies.arbitrage import ArbitrageParams, Strategy, exactly

log = structlog.get_logger(__name__)

# After something that a moment won't mend: a risk rule said no, an exchange didn't tell its filters.
_REST_SECONDS = 5.0

# (feed, symbol)
Instrument = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Watched:
    """A running instance, the two books that it looks at, and what its fire must win at the very least."""

    user_id: UUID
    instance_id: UUID
    books: tuple[Instrument, Instrument]
    params: ArbitrageParams
    raw_params: object

    def promises(self, desk: Desk, now_ns: int) -> bool:
        first, second = (book_of(desk, instrument, now_ns) for instrument in self.books)
        fees = exactly(self.params.fee_rate), exactly(self.params.fee_rate_b)
        return (
            first is not None
            and second is not None
            and edge.is_promising(first, second, *fees, exactly(self.params.min_profit_rate))
        )


class Watch:
    """Which instances look at which books; asks their tenants to fire when a book has moved to where it may pay."""

    def __init__(self, desk: Desk, tenants: Mapping[UUID, Tenant]) -> None:
        # Whose books have moved since the last look.
        self.moved: set[Instrument] = set()
        self._desk = desk
        self._tenants = tenants
        self._watched: dict[UUID, _Watched] = {}
        self._by_instrument: dict[Instrument, list[_Watched]] = {}

    def regroup(self) -> None:
        """Follows instances that were started, stopped or changed."""
        known, self._watched = self._watched, {}
        self._by_instrument = defaultdict(list)
        for tenant in self._tenants.values():
            if tenant.closed:
                continue
            for instance in running_pairs(tenant.state):
                found = self._of(tenant, instance, known.get(instance.pk))
                if found is not None:
                    self._watched[instance.pk] = found
                    for instrument in found.books:
                        self._by_instrument[instrument].append(found)

    def _of(self, tenant: Tenant, instance: StrategyInstance, known: _Watched | None) -> _Watched | None:
        accounts = accounts_of(tenant.state, instance)
        if accounts is None:
            return None
        first, second = ((account.connection.feed, instance.symbol) for account in accounts)
        if known is not None and known.raw_params is instance.params and known.books == (first, second):
            return known
        try:
            params = parse_params(instance.strategy, instance.params)
        except DomainError as error:  # stored by an earlier release
            tenant.post(partial(failing.stop_instance, self._desk, tenant, instance.pk, error))
            return None
        assert isinstance(params, ArbitrageParams)  # noqa: S101  # what takes a pair has these
        return _Watched(tenant.user_id, instance.pk, (first, second), params, instance.params)

    def look(self, quoted: set[Instrument], now_ns: int) -> None:
        """Quotes have changed, or books."""
        wanted = {each.instance_id: each for key in quoted | self.moved for each in self._by_instrument.get(key, ())}
        self.moved.clear()
        for each in wanted.values():
            tenant = self._tenants.get(each.user_id)
            if tenant is None or each.instance_id in tenant.state.pairs.fires or not each.promises(self._desk, now_ns):
                continue
            tenant.post(partial(fire, self._desk, tenant, each.instance_id), key=("fire", each.instance_id))


def running_pairs(state: TenantState) -> list[StrategyInstance]:
    return [row for row in state.running() if row.connection_b_id is not None and takes_pair(row.strategy)]


def accounts_of(state: TenantState, instance: StrategyInstance) -> tuple[Account, Account] | None:
    """Both sides of an arbitrage; None where one isn't there (any more)."""
    first = state.accounts.get(instance.connection_id)
    second = state.accounts.get(instance.connection_b_id) if instance.connection_b_id else None
    return (first, second) if first is not None and second is not None else None


def book_of(desk: Desk, instrument: Instrument, now_ns: int) -> edge.Book | None:
    """The symbol's best levels. A newer quote that says the same top confirms them; one that says another overtakes
    them, and they aren't trusted until they are told anew."""
    told, quote = desk.books.get(instrument), desk.quotes.get(instrument)
    if told is None or quote is None:
        return None
    agrees = bool(told.bids and told.asks) and (told.bids[0][0], told.asks[0][0]) == (quote.bid, quote.ask)
    seen_ns = max(told.seen_ns, quote.seen_ns) if agrees else told.seen_ns
    trusted = told.valid and (agrees or told.seen_ns >= quote.seen_ns)
    return edge.Book(told.bids, told.asks, max(now_ns - seen_ns, 0) / 1e6, trusted)


async def fire(desk: Desk, tenant: Tenant, instance_id: UUID) -> None:
    """Fires if it is worth it now."""
    instance = tenant.state.instances.get(instance_id)
    if instance is None or instance.status != InstanceStatus.RUNNING or not _may_fire(desk, tenant.state, instance):
        return
    accounts = accounts_of(tenant.state, instance)
    if accounts is None or not all(_is_ready(account) for account in accounts):
        return
    try:
        await _fire(desk, tenant, instance, accounts)
    except DomainError as error:
        log.info("arbitrage_waits", instance_id=str(instance_id), code=error.code, reason=error.message)
        pause = 0.0 if isinstance(error, NotReady | NothingHappened) else _REST_SECONDS
        tenant.state.pairs.rests_until[instance_id] = desk.clock.monotonic() + pause


def _may_fire(desk: Desk, state: TenantState, instance: StrategyInstance) -> bool:
    """Not while a fire is under way or it rests, nor for a pair that is left out because exchanges are slow."""
    pairs = state.pairs
    if instance.pk in pairs.fires or desk.clock.monotonic() < pairs.rests_until.get(instance.pk, 0.0):
        return False
    now = desk.clock.now()
    known = {
        row.pk: (_latency_ratio(state, row, now), adapting.clean_share(pairs.past[row.pk]))
        for row in running_pairs(state)
    }
    return instance.pk in adapting.watched((key, *figures) for key, figures in known.items())


def _latency_ratio(state: TenantState, instance: StrategyInstance, now: datetime) -> float:
    target = float(instance.params.get("latency_target_ms") or ArbitrageParams().latency_target_ms)
    return adapting.latency_ratio(state.pairs.past[instance.pk], target, now)


def _is_ready(account: Account) -> bool:
    return account.is_known and account.entries_open and account.connection.status == ConnectionStatus.OK


async def _fire(
    desk: Desk, tenant: Tenant, instance: StrategyInstance, accounts: tuple[Account, Account]
) -> None:
    params = parse_params(instance.strategy, instance.params)
    assert isinstance(params, ArbitrageParams)  # noqa: S101  # what takes a pair has these
    fired_at = tenant.state.pairs.fired_at.get(instance.pk)
    if fired_at is not None and desk.clock.now() < fired_at + timedelta(seconds=params.pause_seconds):
        return
    for account in accounts:
        checks.keep_fresh(desk, tenant, account)
    # Asked for once an account: all that follows up to the commit is one moment.
    rules = [await desk.symbol_rules(tenant, account, instance.symbol) for account in accounts]
    now_ns = int(desk.clock.now().timestamp() * 1e9)
    books = [book_of(desk, (account.connection.feed, instance.symbol), now_ns) for account in accounts]
    if books[0] is None or books[1] is None:
        return
    fees = exactly(params.fee_rate), exactly(params.fee_rate_b)
    first, second = (
        edge.Market(
            book,
            each,
            fee,
            quote_available=risk_state.available(tenant.state, account, each.quote, is_exit=False),
            base_available=risk_state.available(tenant.state, account, each.base, is_exit=True),
        )
        for account, book, each, fee in zip(accounts, books, rules, fees, strict=True)
        if book is not None
    )
    rate = adapting.required_rate(
        exactly(params.min_profit_rate),
        exactly(params.max_profit_rate),
        tenant.state.pairs.past[instance.pk],
        _latency_ratio(tenant.state, instance, desk.clock.now()),
    )
    found = edge.find(first, second, Strategy.terms(params, parse_sizing(instance.sizing), rate))
    if isinstance(found, edge.Shortfall):
        await _stop_short(desk, tenant, instance, accounts, found, first.rules.base, first.rules.quote)
    elif found is not None:
        await _commit(desk, tenant, instance, accounts, found, (first, second), rate)


async def _commit(
    desk: Desk,
    tenant: Tenant,
    instance: StrategyInstance,
    accounts: tuple[Account, Account],
    found: edge.Opportunity,
    markets: tuple[edge.Market, edge.Market],
    rate: Decimal,
) -> None:
    """Signal, fire and both legs in one transaction; then both are sent at the same time."""
    order_of = (0, 1) if found.buys_on_first else (1, 0)
    sides = ((Side.BUY, found.buy_price, found.worst_buy), (Side.SELL, found.sell_price, found.worst_sell))
    plans = [
        pair_orders.leg(
            tenant,
            accounts[index],
            instance,
            markets[index].rules,
            side,
            found.quantity,
            reference_price=worst,
            limit=worst if found.is_deep else None,
        )
        for index, (side, _, worst) in zip(order_of, sides, strict=True)
    ]
    signal = _signal(desk, tenant, instance, found, rate)
    row = _row(tenant, instance, signal, plans[0].order, plans[1].order, found, markets[0].rules.quote)
    legs = [
        ArbitrageLeg(user_id=tenant.user_id, order_id=plan.order.pk, fire_id=row.pk, role=role)
        for plan, role in zip(plans, (LegRole.BUY, LegRole.SELL), strict=True)
    ]
    denial = await pair_orders.place_legs(desk, tenant, plans, [signal, row, *legs])
    if isinstance(denial, Denial):
        await denying.deny_signal(desk, tenant, signal, denial)
        tenant.state.pairs.rests_until[instance.pk] = desk.clock.monotonic() + _REST_SECONDS
        return
    tenant.state.pairs.take(OpenFire(row, legs))
    desk.figures["arbitrage_fires"] += 1


def _signal(
    desk: Desk, tenant: Tenant, instance: StrategyInstance, found: edge.Opportunity, rate: Decimal
) -> Signal:
    feeds = [account.connection.feed for account in accounts_of(tenant.state, instance) or ()]
    seen = [desk.books[feed, instance.symbol].seen_ns for feed in feeds]
    quoted = [desk.quotes[feed, instance.symbol].seen_ns for feed in feeds]
    observed = max(*seen, *quoted)
    return Signal(
        user_id=tenant.user_id,
        instance_id=instance.pk,
        event_key=f"fire:{seen[0]}:{observed}",
        action="fire",
        price=found.buy_price,
        seen={
            "buy_price": float(found.buy_price), "sell_price": float(found.sell_price),
            "quantity": float(found.quantity), "expected_profit": float(found.profit), "required_rate": float(rate),
        },
        decision=Decision.ORDERED,
        observed_at=datetime.fromtimestamp(observed / 1e9, tz=UTC),
        decided_at=desk.clock.now(),
    )  # fmt: skip


def _row(
    tenant: Tenant,
    instance: StrategyInstance,
    signal: Signal,
    buy: Order,
    sell: Order,
    found: edge.Opportunity,
    quote_asset: str,
) -> ArbitrageFire:
    return ArbitrageFire(
        user_id=tenant.user_id,
        instance_id=instance.pk,
        signal_id=signal.pk,
        symbol=instance.symbol,
        quote_asset=quote_asset,
        buy_connection_id=buy.connection_id,
        sell_connection_id=sell.connection_id,
        quantity=found.quantity,
        expected_buy_price=found.buy_price,
        expected_sell_price=found.sell_price,
        expected_profit=found.profit,
    )


async def _stop_short(
    desk: Desk,
    tenant: Tenant,
    instance: StrategyInstance,
    accounts: tuple[Account, Account],
    found: edge.Shortfall,
    base: str,
    quote: str,
) -> None:
    """There is something to win, and not even the least order of it can be paid: the instance is paused, and its owner
    told on which connection what is missing (ARB-4)."""
    lacks_quote = found.short == edge.Short.QUOTE
    account = accounts[0 if found.buys_on_first == lacks_quote else 1]
    asset = quote if lacks_quote else base
    left = risk_state.available(tenant.state, account, asset, is_exit=not lacks_quote)
    reason = f"too little {asset} on {account.connection.name}: {plain(left)} can be spent"
    await failing.pause_instance(
        desk, tenant, instance, reason,
        entry(
            "arbitrage.balance_low",
            user_id=tenant.user_id,
            resource_type="strategy_instance",
            resource_id=instance.pk,
            details={"asset": asset, "connection": str(account.connection.pk), "available": plain(left)},
            at=desk.clock.now(),
        ),
    )  # fmt: skip
