"""From market events to signals: bars, one evaluation a batch, and a message to each tenant whose strategy acts.

A batch is one numpy call on the loop: 1000 instances take less than a thread's round trip would cost.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from uuid import UUID

import msgspec
import numpy as np
import redis.asyncio
import structlog
from redis.exceptions import RedisError

from audit.record import record
from connections import demand
from connections.database import run as run_in_db
from connections.events import (
    AnyMarketEvent,
    BookState,
    CandleUpdate,
    FeedState,
    MarketBatch,
    PublicTrade,
    Quote,
    decode_market,
    feed_stream,
)
from connections.gateways import Candle
from desproject.lib import bus
from desproject.lib.errors import InvalidInput
from desproject.lib.money import floor_to, plain
from trading.bars import BarBuilder, BarSeries
from trading.engine import bar_store, conditional, decisions, failing, outside, timings
from trading.engine.arbitrage import Watch
from trading.engine.desk import Desk
from trading.engine.tenant import Tenant
from trading.models import StrategyInstance
from trading.outside.messages import Acted
from trading.outside.registry import OutsideKind
from trading.strategies import bar_strategies, parse_params
from trading.strategies.contract import ENTER, HOLD, BarWindow, Batch, Evaluation, Params, require_sense

log = structlog.get_logger(__name__)

_BLOCK_MS = 250
_TICK_SECONDS = 0.25
_RETRY_SECONDS = 1.0
# A Redis that doesn't answer (frozen, half-open socket) is asked anew.
_PATIENCE = 5.0
# One entry in the audit log for all engines and for all jumps of a bad minute.
_GAP_SECONDS = 60
_LOOK_BACK = 200
_LOOK_BACK_NS = 10_000_000_000

# (feed, symbol)
Instrument = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Member:
    """One running instance inside a batch."""

    user_id: UUID
    instance_id: UUID


@dataclass(slots=True)
class _Group:
    """Instances of one strategy on the same bars, evaluated with one call."""

    strategy: str
    batch: Batch
    members: list[_Member]
    params: list[Params]


@dataclass(slots=True)
class _Chart:
    """The bars of one (feed, symbol, timeframe) and the batches that look at them."""

    feed: str
    symbol: str
    timeframe: str
    warmup: int
    builder: BarBuilder
    series: BarSeries
    groups: list[_Group] = field(default_factory=list)
    seeded: bool = False
    seeding: bool = False
    # How often something of it was missed: a history that was asked for before the last time may have that hole.
    holes: int = 0


@dataclass(frozen=True, slots=True)
class _Signature:
    """What of an instance decides where it is evaluated. ``params`` are those of the row that it was made of."""

    params: object = field(compare=False)
    text: tuple[object, ...]

    @classmethod
    def of(cls, instance: StrategyInstance) -> "_Signature":
        kind = (instance.strategy, instance.connection_id, instance.symbol, instance.timeframe)
        return cls(instance.params, (*kind, str(instance.params)))


class Market:
    """Reads the feeds that running instances need and evaluates them."""

    def __init__(self, desk: Desk, client: "redis.asyncio.Redis", tenants: Mapping[UUID, Tenant]) -> None:
        self.bars = bar_store.BarStore()
        self._desk = desk
        self._redis = client
        self._tenants = tenants
        self._positions: dict[str, str] = {}
        self._sequences: dict[str, tuple[int, int]] = {}
        self._charts: dict[tuple[str, str, str], _Chart] = {}
        self._by_instrument: dict[Instrument, list[_Chart]] = {}
        self._members: dict[UUID, _Signature] = {}
        self._pairs = Watch(desk, tenants)
        self._outside = outside.OutsideRunners(desk, tenants)
        self._down: set[str] = set()
        # Of feeds that are up: no trades are told of these.
        self._silent: set[Instrument] = set()

    @property
    def instances(self) -> int:
        """How many running instances are evaluated."""
        return len(self._members)

    async def aclose(self) -> None:
        """Ends the processes of outside strategies."""
        await self._outside.aclose()

    async def run(self) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as parts:  # one that fails ends the other: both are started again together
            parts.create_task(self._read())
            parts.create_task(self._tick())

    # Who looks at what.

    def regroup(self) -> None:
        """Forms the batches anew when instances were started, stopped or changed."""
        self._pairs.regroup()
        running = self._running()
        known, self._members = self._members, {row.pk: self._signature(row) for _, row in running}
        if self._members == known:
            return
        wanted: dict[tuple[str, str, str], dict[str, list[tuple[Tenant, StrategyInstance, Params]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for tenant, instance in running:
            try:
                params = parse_params(instance.strategy, instance.params)
            except InvalidInput as error:  # stored by an earlier release
                tenant.post(partial(failing.stop_instance, self._desk, tenant, instance.pk, error))
                continue
            feed = tenant.state.accounts[instance.connection_id].connection.feed
            wanted[feed, instance.symbol, instance.timeframe][instance.strategy].append((tenant, instance, params))
        self._charts = {key: self._chart(key, kinds) for key, kinds in wanted.items()}
        self._by_instrument = defaultdict(list)
        for chart in self._charts.values():
            self._by_instrument[chart.feed, chart.symbol].append(chart)
        self._outside.follow(self._outside_instances())

    def _outside_instances(self) -> dict[UUID, outside.Instance]:
        found: dict[UUID, outside.Instance] = {}
        for group in (group for chart in self._charts.values() for group in chart.groups):
            kind: object = bar_strategies()[group.strategy]
            if isinstance(kind, OutsideKind):
                for member, params in zip(group.members, group.params, strict=True):
                    found[member.instance_id] = outside.Instance(member.user_id, member.instance_id, kind.path, params)
        return found

    def _signature(self, instance: StrategyInstance) -> _Signature:
        """Copies of a row share its params: only a row that was read anew needs another look at them."""
        known = self._members.get(instance.pk)
        return known if known is not None and known.params is instance.params else _Signature.of(instance)

    def _running(self) -> list[tuple[Tenant, StrategyInstance]]:
        return [
            (tenant, instance)
            for tenant in self._tenants.values()
            if not tenant.closed
            for instance in tenant.state.running()
            if instance.connection_id in tenant.state.accounts and instance.connection_b_id is None
        ]

    def _chart(
        self, key: tuple[str, str, str], kinds: Mapping[str, Sequence[tuple[Tenant, StrategyInstance, Params]]]
    ) -> _Chart:
        known = bar_strategies()
        groups = [
            _Group(
                slug,
                known[slug].batch([params for _, _, params in found]),
                [_Member(tenant.user_id, instance.pk) for tenant, instance, _ in found],
                [params for _, _, params in found],
            )
            for slug, found in sorted(kinds.items())
        ]
        warmup = max(known[slug].warmup_bars(params) for slug, found in kinds.items() for _, _, params in found)
        chart = self._charts.get(key)
        if chart is None or chart.warmup < warmup:
            feed, symbol, timeframe = key
            chart = _Chart(
                feed, symbol, timeframe, warmup, BarBuilder(symbol, timeframe), BarSeries(timeframe, warmup + 2)
            )
        chart.groups = groups
        return chart

    # Events in.

    async def _read(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._follow(self._feeds())
                if not self._positions:
                    await asyncio.sleep(0.05)
                    continue
                dirty: set[Instrument] = set()
                async with asyncio.timeout(_PATIENCE):
                    async for stream, _, payload in bus.read(self._redis, self._positions, block_ms=_BLOCK_MS):
                        self._take(stream, self._decoded(payload), dirty)
                self._evaluate_quotes(dirty)
                self._pairs.look(dirty, time.time_ns())
            except (RedisError, OSError) as error:
                log.warning("market_unreadable", error=str(error))
                await asyncio.sleep(0.2)

    def _feeds(self) -> set[str]:
        """Every account's feed: orders from the API need prices too."""
        accounts = (account for tenant in self._tenants.values() for account in tenant.state.accounts.values())
        return {feed_stream(account.connection.feed) for account in accounts}

    async def _follow(self, feeds: set[str]) -> None:
        for stream in feeds - set(self._positions):
            newest = await self._redis.xrevrange(stream, count=_LOOK_BACK)
            self._positions[stream] = newest[0][0].decode() if newest else "0"
            for _, fields in reversed(newest):
                self._take_quotes(stream, self._decoded(fields[bus.FIELD]))
        for stream in set(self._positions) - feeds:
            del self._positions[stream]

    def _decoded(self, payload: bytes) -> MarketBatch:
        """One that can't be read tells nothing: its number is unknown, so it counts as a gap."""
        try:
            return decode_market(payload)
        except msgspec.MsgspecError as error:
            self._desk.figures["undecodable"] += 1
            log.error("market_batch_undecodable", error=str(error))
            return MarketBatch(0, 0, ())

    def _take_quotes(self, stream: str, batch: MarketBatch) -> None:
        """Prices told shortly before we came: a quiet symbol may not tell its next one for long."""
        feed = stream.removeprefix(feed_stream(""))
        recent = time.time_ns() - _LOOK_BACK_NS
        for event in batch.events:
            if event.seen_ns > recent and isinstance(event, Quote):
                self._desk.quotes[feed, event.symbol] = event
                self._desk.gaps.take_quote((feed, event.symbol), event)
            elif event.seen_ns > recent and isinstance(event, BookState):
                self._desk.books[feed, event.symbol] = event

    def _take(self, stream: str, batch: MarketBatch, dirty: set[Instrument]) -> None:
        feed = stream.removeprefix(feed_stream(""))
        self._check_sequence(feed, batch)
        self._desk.figures["ticks"] += len(batch.events)
        for event in batch.events:
            self._handle(feed, event, dirty)

    def _check_sequence(self, feed: str, batch: MarketBatch) -> None:
        """Events that got lost are counted, and the bars are asked for anew."""
        epoch, sequence = self._sequences.get(feed, (batch.epoch, batch.sequence - 1))
        self._sequences[feed] = (batch.epoch, batch.sequence)
        if batch.epoch == epoch and batch.sequence == sequence + 1:
            return
        self._desk.figures["market_gaps"] += 1
        self._unseed(feed)

    def _unseed(self, feed: str, symbol: str = "") -> None:
        """Nothing is final until the history was asked for again: what was missed would leave a hole."""
        for chart in self._charts.values():
            if chart.feed == feed and symbol in ("", chart.symbol):
                chart.seeded = False
                chart.holes += 1
                chart.builder.hold()

    def _handle(self, feed: str, event: AnyMarketEvent, dirty: set[Instrument]) -> None:
        instrument = (feed, event.symbol)
        if isinstance(event, Quote):
            self._desk.quotes[instrument] = event
            dirty.add(instrument)
            if (part := self._desk.gaps.take_quote(instrument, event)) is not None:
                self._desk.spawn(self._report_gap(feed, event.symbol, part), f"gap-{event.symbol}")
            if not self._desk.is_distrusted(*instrument):
                self._desk.paper.on_event(feed, event)
                if instrument in self._desk.triggers:
                    self._desk.triggers.on_price(instrument, (event.bid + event.ask) / 2)
        elif isinstance(event, PublicTrade | CandleUpdate):
            if isinstance(event, PublicTrade):  # what was really paid counts whatever the book looks like
                self._desk.triggers.on_price(instrument, event.price)
                self._desk.paper.on_event(feed, event)
            for chart in self._by_instrument.get(instrument, ()):
                if chart.seeded:
                    self._finish(chart, chart.builder.consume(event), event.seen_ns)
                else:
                    chart.builder.consume(event)
        elif isinstance(event, BookState):
            self._desk.books[instrument] = event
            self._pairs.moved.add(instrument)
            self._desk.gaps.take_book(instrument, event)
        elif isinstance(event, FeedState):
            if event.symbol:
                self._on_symbol(instrument, up=event.up)
            else:
                self._on_feed(feed, up=event.up)

    def _on_symbol(self, instrument: Instrument, *, up: bool) -> None:
        """The feed lost something of it, or tells no trades of it for now: its bars are asked for anew, or wait."""
        if not up:
            self._silent.add(instrument)
        self._unseed(*instrument)

    def _on_feed(self, feed: str, *, up: bool) -> None:
        self._silent = {instrument for instrument in self._silent if instrument[0] != feed}
        if up:
            self._down.discard(feed)
        else:
            self._down.add(feed)
            self._forget_prices(feed)
        self._unseed(feed)

    def _forget_prices(self, feed: str) -> None:
        """Nothing is decided on prices of a feed that is away."""
        for instrument in [key for key in self._desk.quotes if key[0] == feed]:
            del self._desk.quotes[instrument]
        self._desk.gaps.forget(feed)
        for instrument in [key for key in self._desk.books if key[0] == feed]:
            reason = "the feed is down"
            self._desk.books[instrument] = BookState(instrument[1], time.time_ns(), valid=False, reason=reason)

    async def _report_gap(self, feed: str, symbol: str, part: Decimal) -> None:
        """Asks for the book to be read anew. Each engine does; the first one writes it down."""
        shown = plain(floor_to(part, Decimal("0.0001")))
        log.warning("price_jumped", feed=feed, symbol=symbol, part=shown)
        self._desk.figures["price_gaps"] += 1
        try:
            await demand.ask_anew(self._redis, feed, symbol)
            is_first = await self._redis.set(f"des:gap:{feed}:{symbol}", 1, nx=True, ex=_GAP_SECONDS)
        except (RedisError, OSError) as error:
            log.warning("resync_not_asked_for", feed=feed, symbol=symbol, error=str(error))
            is_first = True
        if is_first:
            details = {"feed": feed, "symbol": symbol, "part": shown}
            await run_in_db(partial(record, "risk.price_gap", user_id=None, details=details))

    # Bars out.

    async def _tick(self) -> None:
        """Time passes for bars too: their grace ends, missing history is fetched."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self.regroup()
            self._arm()
            now_ns = time.time_ns()
            for chart in self._charts.values():
                if not chart.seeded:
                    self._start_seeding(chart)
                elif not self._is_away(chart):
                    self._finish(chart, chart.builder.due(now_ns // 1_000_000), now_ns)

    def _arm(self) -> None:
        """Also after tenants came, went, or were read anew."""
        self._desk.triggers.forget_all_but(self._tenants)
        for tenant in self._tenants.values():
            if not tenant.closed:
                conditional.watch(self._desk, tenant)

    def _start_seeding(self, chart: _Chart) -> None:
        if not chart.seeding and not self._is_away(chart):
            chart.seeding = True
            self._desk.spawn(self._seed(chart), f"seed-{chart.symbol}-{chart.timeframe}")

    def _is_away(self, chart: _Chart) -> bool:
        return chart.feed in self._down or (chart.feed, chart.symbol) in self._silent

    async def _seed(self, chart: _Chart) -> None:
        holes = chart.holes
        try:
            tenant = self._tenants[chart.groups[0].members[0].user_id]
            instance = tenant.state.instances[chart.groups[0].members[0].instance_id]
            account = tenant.state.accounts[instance.connection_id]
            gateway = await self._desk.gateway(tenant, account)
            candles = await gateway.candles(chart.symbol, chart.timeframe, min(chart.warmup + 2, 1000))
            stored = await run_in_db(bar_store.newest, chart.feed, chart.symbol, chart.timeframe, chart.warmup + 2)
        except Exception as error:  # noqa: BLE001  # no signal before warm; it is tried again
            log.warning("bars_not_seeded", symbol=chart.symbol, timeframe=chart.timeframe, error=str(error))
            await asyncio.sleep(_RETRY_SECONDS)
            return
        finally:
            chart.seeding = False
        if chart.holes != holes:
            return  # it is asked for anew at the next tick
        bars = chart.builder.seed(bar_store.merged(stored, candles), time.time_ns() // 1_000_000)
        for bar in bars:
            chart.series.append(bar)
        self.bars.keep(chart.feed, bars)
        chart.seeded = True
        log.info("bars_seeded", symbol=chart.symbol, timeframe=chart.timeframe, bars=len(chart.series))

    def _finish(self, chart: _Chart, bars: Sequence[Candle], seen_ns: int) -> None:
        for bar in bars:
            chart.series.append(bar)
            self._desk.figures["bars"] += 1
            for group in list(chart.groups):
                self._evaluate(
                    chart, group, None, f"{chart.timeframe}:{int(bar.opened_at.timestamp() * 1000)}", seen_ns
                )
        if bars:
            self.bars.keep(chart.feed, bars)

    def _evaluate_quotes(self, dirty: set[Instrument]) -> None:
        """Quotes that arrived together are one change: only the newest is looked at."""
        for instrument in dirty & self._desk.quotes.keys():
            quote = self._desk.quotes[instrument]
            price = float((quote.bid + quote.ask) / 2)
            for chart in self._by_instrument.get(instrument, ()):
                newest = chart.series.newest_ms
                if not chart.seeded or newest is None:
                    continue
                for group in chart.groups:
                    if group.batch.wants_quotes:
                        self._evaluate(chart, group, price, f"q:{chart.timeframe}:{newest}", quote.seen_ns)

    def _evaluate(self, chart: _Chart, group: _Group, price: float | None, key: str, seen_ns: int) -> None:
        kind: object = bar_strategies()[group.strategy]
        if isinstance(kind, OutsideKind):
            self._ask_outside(chart, group, kind, price, key, seen_ns)
            return
        started = self._desk.clock.monotonic()
        try:
            evaluation = _evaluated(group.batch, len(group.members), chart.series.window(), price)
        except Exception as error:  # noqa: BLE001  # a strategy may raise anything; who it is comes out one by one
            self._evaluate_alone(chart, group, price, key, seen_ns, error)
            return
        timings.EVALUATION.record(self._desk.clock.monotonic() - started)
        self._desk.figures["evaluations"] += len(group.members)
        acting = np.flatnonzero(evaluation.actions != HOLD)
        for index in acting:
            self._post(chart, group.members[int(index)], evaluation, int(index), price, key, seen_ns)

    def _ask_outside(
        self, chart: _Chart, group: _Group, kind: OutsideKind, price: float | None, key: str, seen_ns: int
    ) -> None:
        """Each instance in its own process; what it answers is acted on when it comes."""
        window = chart.series.window()

        def deliver(member: _Member, answer: Acted) -> None:
            seen = {name: np.array([value]) for name, value in answer.seen.items()}
            evaluation = Evaluation(np.array([answer.action], dtype=np.int8), seen)
            self._post(chart, member, evaluation, 0, price, key, seen_ns)

        for member, params in zip(group.members, group.params, strict=True):
            instance = outside.Instance(member.user_id, member.instance_id, kind.path, params)
            self._outside.ask(instance, window, price, partial(deliver, member))

    def _post(
        self,
        chart: _Chart,
        member: _Member,
        evaluation: Evaluation,
        index: int,
        price: float | None,
        key: str,
        seen_ns: int,
    ) -> None:
        action = int(evaluation.actions[index])
        book = self._desk.books.get((chart.feed, chart.symbol))
        if action == ENTER and book is not None and not book.valid:
            return
        tenant = self._tenants.get(member.user_id)
        if tenant is None:
            return
        seen = {name: round(float(values[index]), 9) for name, values in evaluation.seen.items()}
        close = price if price is not None else float(chart.series.window().close[-1])
        suffix = "" if price is None else (":enter" if action == ENTER else ":exit")
        candidate = decisions.Candidate(member.instance_id, key + suffix, action, Decimal(repr(close)), seen, seen_ns)
        tenant.post(partial(decisions.on_signal, self._desk, tenant, candidate))

    def _evaluate_alone(
        self, chart: _Chart, group: _Group, price: float | None, key: str, seen_ns: int, error: Exception
    ) -> None:
        """A batch that raised, or answered nonsense, is taken apart: instances that do so alone are stopped, the others
        act as if nothing had been."""
        log.warning("strategy_batch_failed", strategy=group.strategy, error=repr(error))
        kind, window = bar_strategies()[group.strategy], chart.series.window()
        for member, params in zip(group.members, group.params, strict=True):
            try:
                evaluation = _evaluated(kind.batch([params]), 1, window, price)
            except Exception as alone:  # noqa: BLE001  # see above
                if tenant := self._tenants.get(member.user_id):
                    tenant.post(partial(failing.stop_instance, self._desk, tenant, member.instance_id, alone))
            else:
                if evaluation.actions[0] != HOLD:
                    self._post(chart, member, evaluation, 0, price, key, seen_ns)


def _evaluated(batch: Batch, members: int, window: BarWindow, price: float | None) -> Evaluation:
    """What the batch says, which is one of what it may say. Raises Nonsense, and whatever the batch raises."""
    evaluation = batch.on_bar(window) if price is None else batch.on_quote(window, price)
    require_sense(evaluation, members)
    return evaluation
