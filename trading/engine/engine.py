"""One engine: an asyncio loop that owns the tenants of the shards it holds leases for."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from datetime import timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID

import msgspec
import structlog
from django.conf import settings
from redis.exceptions import RedisError

from accounts.tenancy import SHARDS, shard_of
from audit.record import record
from connections.database import DatabaseThreads
from connections.database import run as run_in_db
from connections.events import BookState, Quote, decode_user, user_stream
from connections.gateways import OrderReport
from connections.leases import HeldLease, LeaseKeeper
from connections.pool import GatewayPool
from desproject.lib import bus
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.interpreter import take_short_turns
from desproject.lib.metrics.registry import METRICS
from risk.rules import rules
from trading.engine import (
    arbitrage_settling,
    attached,
    conditional,
    expiry,
    health_checks,
    liquidation,
    state,
    user_events,
    wishes,
)
from trading.engine.committer import Committer
from trading.engine.desk import Desk
from trading.engine.equity import EquityLine
from trading.engine.market import Market
from trading.engine.paper_runs import PaperRuns
from trading.engine.send_slots import SendSlots
from trading.engine.tenant import Tenant
from trading.engine.triggers import Instrument, Triggers
from trading.engine_count import SHARD
from trading.models import Order
from trading.paper.exchange import PaperExchange
from trading.strategies import strategies

log = structlog.get_logger(__name__)

_ALL_SHARDS = frozenset(str(shard) for shard in range(SHARDS))
_BLOCK_MS = 500
_ACK_SECONDS = 5.0
# So many tenants are read at once after a take-over.
_LOADS = 8
_WATCH_SECONDS = 0.5
# A row's stamp is older than its commit: a sweep looks back behind the one before.
_SWEEP_OVERLAP = timedelta(seconds=5)
# Every so many sweeps a stopped tenant's rows are read again: not by all of them in each, when the system is stopped.
_LIFT_SWEEPS = 10
_JUDGE_SECONDS = 1.0
# A part of the engine that failed starts again after this.
_RESTART_SECONDS = 0.5
# A Redis that doesn't answer (frozen, half-open socket) is asked anew.
_PATIENCE = 5.0
# How long an ending engine waits for answers of exchanges; what it doesn't hear any more its heir asks for.
_END_SECONDS = 10.0


class Engine:
    """Runs until it is told to drain, loses its parent process, or is cancelled."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.tenants: dict[UUID, Tenant] = {}
        strategies()  # those from outside are tried out now, not while leases wait to be renewed
        self._positions: dict[str, str] = {}
        self._loading: set[UUID] = set()
        self._loads = asyncio.Semaphore(_LOADS)
        self._sweep_now = asyncio.Event()
        self._paper_runs = PaperRuns()
        self._swept_at = clock.now()
        self._sweeps = 0
        self._redis = bus.connect()
        # A thread of its own: leases are renewed in time however many jobs wait for the other threads.
        # Neither leases nor commits wait for tenants that are being read.
        self._lease_thread = DatabaseThreads(1)
        self._commit_thread = DatabaseThreads(1)
        keeper = LeaseKeeper(
            SHARD,
            lambda: _ALL_SHARDS,
            self._lease_thread.run,
            on_gain=self._on_gain,
            on_loss=self._on_loss,
            on_given_back=self._tell_others,
            figures=self._figures,
            clock=clock,
        )
        committer = Committer(self._commit_thread.run)
        quotes: dict[Instrument, Quote] = {}
        books: dict[Instrument, BookState] = {}
        paper = PaperExchange(quotes, books, clock, self._on_paper)
        self.desk = Desk(
            clock, committer, GatewayPool(paper=paper.gateway), keeper, rules(),
            SendSlots(settings.CONFIG.engine_sends), Triggers(self._on_price), paper, quotes, books,
        )  # fmt: skip
        self.desk.on_booked = self._on_booked
        self.market = Market(self.desk, self._redis, self.tenants)

    async def run(self) -> None:
        """Works, then hands over: sends under way are waited for, then the leases are given back."""
        take_short_turns()
        parent = os.getppid()
        background = [
            asyncio.create_task(self._keep_running(name, part), name=name)
            for name, part in (
                ("committer", self.desk.committer.run),
                ("news", partial(self.desk.run_news, self._redis)),
                ("market", self.market.run),
                ("user-events", self._read_user_events),
                ("wakes", self._listen),
                ("sweep", self._sweep),
                ("bars", self.market.bars.writer.run),
                ("watch-only", self._watch_exchanges),
                ("equity", EquityLine(self.desk, self.tenants).run),
                ("orphan-watch", partial(self._watch_parent, parent)),
            )
        ]
        log.info("engine_started", owner=str(self.desk.keeper.owner))
        gauges = partial(self._gauges, asyncio.get_running_loop())
        try:
            with (
                METRICS.attached("engine", self.desk.figures, gauges),
                METRICS.attached("engine", self.desk.committer.figures),
                METRICS.attached("engine", self.market.bars.writer.figures),
            ):
                await self.desk.keeper.run()
        finally:
            for tenant in self.tenants.values():
                tenant.abandon()  # none is left, unless the keeper failed: then nothing may wait for them for ever
            await _ended(background, 0)
            await _ended(self.desk.tasks, _END_SECONDS)
            await self.market.bars.writer.flush()
            await self.market.aclose()
            await self.desk.pool.aclose()
            await self._redis.aclose()
            self._lease_thread.close()
            self._commit_thread.close()
            log.info("engine_ended", owner=str(self.desk.keeper.owner))

    async def _keep_running(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        """No part of the engine ends unnoticed: one that raises is logged, counted and started again."""
        while True:
            try:
                await part()
            except Exception:  # whatever it was, the other parts need this one
                self.desk.figures["part_failures"] += 1
                log.exception("engine_part_failed", part=name)
            else:
                return
            await asyncio.sleep(_RESTART_SECONDS)

    def _figures(self) -> dict[str, int]:
        gauges = self._gauges(asyncio.get_running_loop())
        writer = self.market.bars.writer
        last = {"batch_last_size": writer.last_size, "batch_last_flush": int(writer.last_flush)}
        return {**self.desk.figures, **self.desk.committer.figures, **writer.figures, **last, **gauges}

    def _gauges(self, loop: asyncio.AbstractEventLoop) -> dict[str, int]:
        """How things are now. Called by the metrics' thread too: it changes nothing and iterates over copies."""
        tenants, sends = list(self.tenants.values()), self.desk.sends
        return {
            "tenants": len(tenants),
            "instances": self.market.instances,
            "shards": len(self.desk.keeper.held),
            "mailboxes": sum(tenant.depth for tenant in tenants),
            "queue_depth": sum(len(tenant.queue) for tenant in tenants),
            "queue_pending": sum(tenant.queue.pending for tenant in tenants),
            "queue_overflow": sum(tenant.queue.overflow for tenant in tenants),
            "queue_max_pending": max((tenant.queue.max_pending for tenant in tenants), default=0),
            "commits_waiting": self.desk.committer.waiting,
            "sends_waiting": sends.waiting,
            "sends_in_use": sends.in_use,
            "orders_in_flight": len(self.desk.in_flight),
            "news_waiting": len(self.desk.news),
            "batch_waiting": self.market.bars.writer.waiting,
            "tasks": len(asyncio.all_tasks(loop)),
        }

    # Shards come and go.

    async def _on_gain(self, lease: HeldLease) -> None:
        """The sweep loads the tenants and the reader finds its stream: renewing leases must not wait for that."""
        self._sweep_now.set()

    async def _tell_others(self) -> None:
        """Shards are free: the other engines take them now, and not only when they renew theirs."""
        with contextlib.suppress(RedisError, OSError):  # a time-out is an OSError too
            async with asyncio.timeout(_PATIENCE):
                await self._redis.publish(bus.WAKE_CHANNEL, bus.encode_wake(bus.Wake(-1, UUID(int=0), "leases")))

    async def _load(self, user_id: UUID, lease: HeldLease) -> None:
        if (old := self.tenants.get(user_id)) is not None:
            old.abandon()
        self.desk.paper.forget(user_id)
        loaded = await run_in_db(state.load, user_id, self.desk.clock)
        if not self.desk.keeper.still_valid(lease.key, lease.epoch):
            return  # lost meanwhile: its loss was handled before there was anything to close
        tenant = Tenant(loaded, int(lease.key), lease.epoch, self._reload)
        self.tenants[user_id] = tenant
        self._look(tenant)

    def _look(self, tenant: Tenant) -> None:
        tenant.post(partial(wishes.look, self.desk, tenant), key="look")

    async def _reload(self, user_id: UUID) -> state.TenantState:
        return await run_in_db(state.load, user_id, self.desk.clock)

    async def _on_loss(self, key: str) -> None:
        """Lets what was sent finish and be booked, then forgets the shard's tenants."""
        leaving = [tenant for tenant in self.tenants.values() if tenant.shard == int(key)]
        self._positions.pop(user_stream(int(key)), None)
        await asyncio.gather(*map(self._leave, leaving))

    async def _leave(self, tenant: Tenant) -> None:
        await self._finish(tenant)
        await tenant.close()
        self.tenants.pop(tenant.user_id, None)
        self.desk.paper.forget(tenant.user_id)
        for account in tenant.state.accounts.values():
            await self.desk.pool.close(account.connection.pk)

    async def _finish(self, tenant: Tenant) -> None:
        limit = self.desk.clock.monotonic() + settings.CONFIG.send_window_seconds
        orders = tenant.state.orders
        while not tenant.closed and self.desk.clock.monotonic() < limit:
            if not tenant.is_busy and not any(order_id in orders for order_id in self.desk.in_flight):
                return
            await asyncio.sleep(0.02)

    # Hints and rows.

    async def _listen(self) -> None:
        """Wake-ups; one that gets lost is made good by the sweep."""
        while True:
            with contextlib.suppress(RedisError, OSError):
                async for message in self._wakes():
                    await self._on_wake(message)
            await asyncio.sleep(0.2)

    async def _wakes(self) -> AsyncIterator[bus.Wake]:
        async with self._redis.pubsub() as subscription:
            await subscription.subscribe(bus.WAKE_CHANNEL)
            async for message in subscription.listen():
                if message["type"] != "message":
                    continue
                try:
                    yield bus.decode_wake(message["data"])
                except msgspec.MsgspecError:
                    log.warning("wake_undecodable")

    async def _on_wake(self, wake: bus.Wake) -> None:
        if wake.what == "leases":
            self.desk.keeper.look()
            return
        lease = self.desk.keeper.held.get(str(wake.shard))
        if lease is None:
            return
        tenant = self.tenants.get(wake.user_id)
        if tenant is None:
            self._sweep_now.set()
        elif wake.what == "kill":  # overtakes all that waits
            tenant.post(partial(wishes.look, self.desk, tenant), key="kill", first=True)
        else:
            self._look(tenant)

    async def _sweep(self) -> None:
        """Looks after what no hint led to: waiting rows, orders without an answer, accounts, tenants."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._sweep_now.wait(), settings.CONFIG.sweep_seconds)
            self._sweep_now.clear()
            try:
                await self._sweep_once()
            except Exception as error:  # noqa: BLE001  # the next sweep comes
                log.warning("sweep_failed", error=str(error))

    async def _sweep_once(self) -> None:
        started = self.desk.clock.now()
        news = await run_in_db(wishes.read_news, self._swept_at - _SWEEP_OVERLAP)
        self._sweeps += 1
        for user_id in news.owners | self.tenants.keys():
            try:
                if (lease := self._to_load(user_id)) is None:
                    self._look_after(user_id, news)
                elif user_id not in self._loading:
                    self._loading.add(user_id)
                    self.desk.spawn(self._load_in_turn(user_id, lease), f"load-{user_id}")
            except Exception as error:  # noqa: BLE001  # one tenant's trouble isn't the others'
                log.warning("tenant_not_looked_after", user_id=str(user_id), error=str(error))
        self._swept_at = started

    async def _load_in_turn(self, user_id: UUID, lease: HeldLease) -> None:
        """After a take-over many tenants are read side by side: one with much to read holds up no other. One that
        can't be read is tried again by the next sweep."""
        try:
            async with self._loads:
                await self._load(user_id, lease)
        except Exception as error:  # noqa: BLE001  # see above
            log.warning("tenant_not_loaded", user_id=str(user_id), error=str(error))
        finally:
            self._loading.discard(user_id)

    def _to_load(self, user_id: UUID) -> HeldLease | None:
        """The lease under which a tenant of ours isn't in memory yet."""
        lease = self.desk.keeper.held.get(str(shard_of(user_id)))
        tenant = self.tenants.get(user_id)
        if lease is None or (tenant is not None and not tenant.closed and tenant.epoch == lease.epoch):
            return None
        return lease

    def _look_after(self, user_id: UUID, news: wishes.News) -> None:
        tenant = self.tenants.get(user_id)
        if tenant is None or str(tenant.shard) not in self.desk.keeper.held:
            return
        if lost := news.unanswered.get(user_id, set()) - tenant.state.orders.keys():
            tenant.post(partial(wishes.adopt, tenant, lost), key="adopt")
        if news.is_about(user_id) or tenant.state.is_barred != (user_id in news.barred):
            self._look(tenant)
        elif tenant.state.switches and self._sweeps % _LIFT_SWEEPS == 0:
            self._look(tenant)  # a lift may be stamped by a clock that is behind ours
        else:
            wishes.enforce(self.desk, tenant)
            wishes.chase(self.desk, tenant)
        expiry.enforce(self.desk, tenant)
        arbitrage_settling.chase(self.desk, tenant)
        health_checks.start_due(self.desk, tenant)
        liquidation.watch(self.desk, tenant)
        self._paper_runs.count(self.desk, tenant)
        if tenant.state.attached or any(row.exits for row in tenant.state.instances.values()):
            tenant.post(partial(attached.look, self.desk, tenant), key="attached")

    async def _on_price(self, tenant: Tenant, instrument: Instrument, price: Decimal) -> None:
        await attached.on_price(self.desk, tenant, instrument, price)
        await conditional.on_price(self.desk, tenant, instrument, price)

    def _on_booked(self, tenant: Tenant, order: Order) -> None:
        arbitrage_settling.on_booked(self.desk, tenant, order)
        instance = tenant.state.instances.get(order.instance_id) if order.instance_id is not None else None
        if instance is not None and instance.exits:
            tenant.post(partial(attached.on_booked, self.desk, tenant, order))

    def _on_paper(self, user_id: UUID, connection_id: UUID, report: OrderReport) -> None:
        tenant = self.tenants.get(user_id)
        if tenant is not None:
            tenant.post(partial(user_events.on_report, self.desk, tenant, connection_id, report))

    async def _watch_exchanges(self) -> None:
        """What this engine's exchanges answer is judged, and what other engines found is heard (CON-7)."""
        while True:
            await asyncio.sleep(_JUDGE_SECONDS)
            for feed, finding in (await self.desk.pool.watch.refresh(self._redis)).items():
                details = {"feed": feed, "call": finding.call, "reason": str(finding)}
                await run_in_db(partial(record, "exchange.watch_only", user_id=None, details=details))

    async def _watch_parent(self, parent: int) -> None:
        """django-q's workers outlive a killed cluster: an engine without its parent hands over and ends."""
        while os.getppid() == parent:  # noqa: ASYNC110  # nobody could set an event: the parent was killed
            await asyncio.sleep(_WATCH_SECONDS)
        log.warning("engine_orphaned")
        self.desk.keeper.draining.set()

    # User events.

    async def _follow_shards(self) -> None:
        """From the newest entry on: everything older is asked for by REST when the tenants are loaded."""
        held = {user_stream(int(key)) for key in self.desk.keeper.held}
        for stream in self._positions.keys() - held:
            del self._positions[stream]
        for stream in held - self._positions.keys():
            newest = await self._redis.xrevrange(stream, count=1)
            self._positions[stream] = newest[0][0].decode() if newest else "0"

    async def _read_user_events(self) -> None:
        trimmed_at = self.desk.clock.monotonic()
        while True:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._follow_shards()
                    await self._read_once()
            except (RedisError, OSError) as error:
                log.warning("user_events_unreadable", error=str(error))
                await asyncio.sleep(0.2)
            if self.desk.clock.monotonic() - trimmed_at > _ACK_SECONDS:
                trimmed_at = self.desk.clock.monotonic()
                await self._trim()

    async def _read_once(self) -> None:
        if not self._positions:
            await asyncio.sleep(0.1)
            return
        positions = dict(self._positions)
        try:
            async for stream, _, payload in bus.read(self._redis, positions, block_ms=_BLOCK_MS):
                if stream in self._positions:  # else the shard was lost meanwhile
                    self._dispatch(payload)
        finally:
            for stream in self._positions.keys() & positions.keys():
                self._positions[stream] = positions[stream]

    def _dispatch(self, payload: bytes) -> None:
        try:
            event = decode_user(payload)
        except msgspec.MsgspecError as error:
            # The next one of the account shows a gap, and the exchange is asked.
            self.desk.figures["undecodable"] += 1
            log.error("user_event_undecodable", error=str(error))
            return
        self.desk.figures["user_events"] += 1
        tenant = self.tenants.get(event.user_id)
        if tenant is not None:
            tenant.post(partial(user_events.on_event, self.desk, tenant, event))

    async def _trim(self) -> None:
        """Drops what was read; what of it is lost with this process is asked for by REST at the take-over."""
        with contextlib.suppress(RedisError, OSError):
            async with asyncio.timeout(_PATIENCE):
                for stream, position in list(self._positions.items()):
                    if position != "0":
                        await self._redis.xtrim(stream, minid=position)


async def _ended(tasks: Collection["asyncio.Task[None]"], seconds: float) -> None:
    """Returns when all have ended; those that take longer are cancelled."""
    if not tasks:
        return
    _, late = await asyncio.wait(list(tasks), timeout=seconds)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
