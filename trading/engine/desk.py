"""What all parts of one engine share: time, committer, gateways, leases, quotes, and the bounds on sending."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings

from connections.events import Quote
from connections.gateways import Gateway, Side, SymbolRules
from connections.leases import LeaseKeeper
from connections.pool import GatewayPool
from desproject.lib.clock import Clock
from risk.engine import RiskRule
from trading.engine.committer import Committer, Fenced
from trading.engine.send_slots import SendSlots
from trading.engine.state import Account
from trading.engine.tenant import Tenant
from trading.push import push

log = structlog.get_logger(__name__)

_NEWS_BOUND = 10_000


@dataclass(slots=True)
class Desk:
    """One engine's shared parts. ``quotes`` holds the newest quote by (feed, symbol)."""

    clock: Clock
    committer: Committer
    pool: GatewayPool
    keeper: LeaseKeeper
    rules: Sequence[RiskRule]
    sends: SendSlots
    quotes: dict[tuple[str, str], Quote] = field(default_factory=dict)
    figures: Counter[str] = field(default_factory=Counter)
    # Orders that a task of ours is sending or asking for.
    in_flight: set[UUID] = field(default_factory=set)
    # Orders whose fills are being fetched, connections that are catching up.
    fetching: set[UUID] = field(default_factory=set)
    catching_up: set[UUID] = field(default_factory=set)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    news: "asyncio.Queue[tuple[UUID, str, dict[str, Any]]]" = field(
        default_factory=lambda: asyncio.Queue(maxsize=_NEWS_BOUND)
    )

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs ``work`` as a task that is waited for at the end; what it raises is logged."""
        task = asyncio.create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("engine_task_failed", task=task.get_name(), exc_info=error)

    async def gateway(self, tenant: Tenant, account: Account) -> Gateway:
        return await self.pool.get(account.connection.pk, tenant.user_id)

    async def symbol_rules(self, tenant: Tenant, account: Account, symbol: str) -> SymbolRules:
        """The symbol's filters, asked for once an account. Raises InvalidInput, GatewayError."""
        rules = account.rules.get(symbol)
        if rules is None:
            rules = await (await self.gateway(tenant, account)).rules(symbol)
            account.rules[symbol] = rules
        return rules

    def price(self, feed: str, symbol: str, side: Side) -> Decimal | None:
        """What a market order would fill at now; None when no quote is known."""
        quote = self.quotes.get((feed, symbol))
        if quote is None:
            return None
        return quote.ask if side == Side.BUY else quote.bid

    def send_deadline(self, shard: int) -> tuple[float, datetime]:
        """Until when something committed now may be sent: (monotonic, wall clock).

        It ends before the lease does. Raises Fenced when the lease is too close to its end to send anything.
        """
        lease = self.keeper.held.get(str(shard))
        now = self.clock.monotonic()
        deadline = min(now + settings.CONFIG.send_window_seconds, lease.valid_until if lease else now)
        if deadline <= now:
            raise Fenced(f"shard {shard}")
        return deadline, self.clock.now() + timedelta(seconds=deadline - now)

    def tell(self, user_id: UUID, kind: str, data: dict[str, Any]) -> None:
        """Queues news for the user's browsers; the oldest is dropped rather than trading delayed."""
        if self.news.full():
            self.news.get_nowait()
            self.figures["news_dropped"] += 1
        self.news.put_nowait((user_id, kind, data))

    async def run_news(self) -> None:
        """Sends queued news until cancelled."""
        while True:
            user_id, kind, data = await self.news.get()
            await push(user_id, kind, data)
