"""What all parts of one engine share: time, committer, gateways, leases, quotes, and the bounds on sending."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

import redis.asyncio
import structlog
from django.conf import settings

from connections.events import BookState, Quote
from connections.gateways import Gateway, GatewayError, Side, SymbolRules
from connections.leases import LeaseKeeper
from connections.pool import GatewayPool
from desproject.lib.clock import Clock
from risk.depth import Levels
from risk.engine import RiskRule
from trading.engine.committer import Committer, Fenced
from trading.engine.price_gaps import PriceGaps
from trading.engine.send_slots import SendSlots
from trading.engine.state import Account
from trading.engine.tenant import Tenant
from trading.engine.triggers import Triggers
from trading.models import Order
from trading.paper.exchange import PaperExchange
from trading.push import News, push, skip, watched

log = structlog.get_logger(__name__)

_NEWS_BOUND = 10_000
# Makes the news in the API's shape.
Shape = Callable[[], dict[str, Any]]


@dataclass(slots=True)
class Desk:
    """One engine's shared parts. ``quotes`` and ``books`` hold the newest of each by (feed, symbol)."""

    clock: Clock
    committer: Committer
    pool: GatewayPool
    keeper: LeaseKeeper
    rules: Sequence[RiskRule]
    sends: SendSlots
    triggers: Triggers
    paper: PaperExchange
    quotes: dict[tuple[str, str], Quote] = field(default_factory=dict)
    books: dict[tuple[str, str], BookState] = field(default_factory=dict)
    # Called when something of an order was booked, after the commit: what goes on from there.
    on_booked: Callable[[Tenant, Order], None] | None = None
    gaps: PriceGaps = field(default_factory=PriceGaps)
    figures: Counter[str] = field(default_factory=Counter)
    # Orders that a task of ours is sending or asking for.
    in_flight: set[UUID] = field(default_factory=set)
    # Orders whose fills are being fetched, connections that are catching up.
    fetching: set[UUID] = field(default_factory=set)
    catching_up: set[UUID] = field(default_factory=set)
    # Monotonic time of the last comparison that wasn't urgent, by feed.
    compared_at: dict[str, float] = field(default_factory=dict)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    news: "OrderedDict[Hashable, tuple[UUID, News, Shape]]" = field(default_factory=OrderedDict)
    _told: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: Iterator[int] = field(default_factory=count)

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
        """The symbol's filters, which the gateway remembers, and reads again now and then: exchanges change them. Those
        known before where it can't tell. Raises InvalidInput, GatewayError."""
        try:
            rules = await (await self.gateway(tenant, account)).rules(symbol)
        except GatewayError:
            if (known := account.rules.get(symbol)) is None:
                raise
            return known
        account.rules[symbol] = rules
        return rules

    async def leverage(self, tenant: Tenant, account: Account, symbol: str) -> int:
        """A contract's leverage, asked for once until the account is read anew. Raises InvalidInput, GatewayError."""
        found = account.leverage.get(symbol)
        if found is None:
            found = (await (await self.gateway(tenant, account)).margin_settings(symbol)).leverage
            account.leverage[symbol] = found
        return found

    def price(self, feed: str, symbol: str, side: Side) -> Decimal | None:
        """What a market order would fill at now; None when no quote is known."""
        quote = self.quotes.get((feed, symbol))
        if quote is None:
            return None
        return quote.ask if side == Side.BUY else quote.bid

    def is_fresh(self, feed: str, symbol: str) -> bool:
        """Whether something was told of the symbol's price lately."""
        quote, book = self.quotes.get((feed, symbol)), self.books.get((feed, symbol))
        heard_ns = max(quote.seen_ns if quote else 0, book.seen_ns if book and book.valid else 0)
        return bool(self.clock.now().timestamp() - heard_ns / 1e9 <= settings.CONFIG.quote_max_age_seconds)

    def is_distrusted(self, feed: str, symbol: str) -> bool:
        """Whether the symbol's book, and with it its quote, can't be relied on now."""
        book = self.books.get((feed, symbol))
        return book is not None and not book.valid

    def depth(self, feed: str, symbol: str, side: Side) -> Levels:
        """What a market order of this side would take, best first. As long as no book has been told, the quote is all
        that is known of it; of a book that isn't valid nothing is."""
        book, quote = self.books.get((feed, symbol)), self.quotes.get((feed, symbol))
        if book is not None:
            return book.asks if side == Side.BUY else book.bids
        if quote is None:
            return ()
        return ((quote.ask, quote.ask_size),) if side == Side.BUY else ((quote.bid, quote.bid_size),)

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

    def tell(self, user_id: UUID, kind: News, shape: Shape, key: Hashable = None) -> None:
        """Queues news for the user's browsers; the oldest is dropped rather than trading delayed. ``shape`` is called
        when they are sent: news of the same ``key`` that still wait are replaced, what is newer says it all."""
        name = (user_id, kind, next(self._numbers) if key is None else key)
        if len(self.news) >= _NEWS_BOUND and name not in self.news:
            self.news.popitem(last=False)
            self.figures["news_dropped"] += 1
        self.news[name] = (user_id, kind, shape)
        self._told.set()

    async def run_news(self, client: "redis.asyncio.Redis") -> None:
        """Sends queued news until cancelled, those of users who have a page open; the others' are dropped."""
        while True:
            await self._told.wait()
            readers = await watched(client, {user_id for user_id, _, _ in self.news.values()})
            for name in list(self.news):
                if name not in self.news:  # dropped meanwhile: there were too many
                    continue
                user_id, kind, shape = self.news.pop(name)
                if user_id in readers:
                    await push(user_id, kind, shape())
                else:
                    skip(user_id)
            if not self.news:
                self._told.clear()
