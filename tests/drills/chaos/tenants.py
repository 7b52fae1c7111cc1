"""The tenants of a chaos run: users who register, bind an account, start a strategy and place orders over the API.

Whatever happens to the web process, an order request is repeated under its Idempotency-Key until it was answered: what
was accepted is known for sure, and may be neither lost nor doubled.
"""

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID, uuid4

import aiohttp

from tests.drills.chaos.site import Site
from tests.drills.chaos.venues import VENUES, Venue

_PASSWORD = secrets.token_urlsafe(12)
_PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 0.5
# So many of one tenant's orders may wait for an answer of the web process; more wouldn't be orders but a heap.
_MOST_WAITING = 4
_PRICE_SECONDS = 1.0
# Quick ones: they look at quotes, between the bars.
_STRATEGIES = (
    ("rsi", {"period": 2, "oversold": 49, "overbought": 51}), ("ema_cross", {"fast": 2, "slow": 3, "average": "sma"}),
)  # fmt: skip
_TEMPORARY = {429, 500, 502, 503, 504}


@dataclass(slots=True)
class ChaosTenant:
    """A user with one connection."""

    number: int
    venue: Venue
    token: str = field(repr=False)
    user: UUID
    connection: UUID
    api_key: str = field(repr=False)
    limits: dict[str, Any]
    instance: str = ""
    waiting: int = 0
    # Orders that rest, and may be cancelled.
    resting: "deque[str]" = field(default_factory=deque)


class Load:
    """All tenants; ``accepted`` are the ids of all orders that the API took. ``daily_loss``: half have such a limit."""

    def __init__(self, site: Site, session: aiohttp.ClientSession, seed: int, *, daily_loss: bool = False) -> None:
        self.tenants: list[ChaosTenant] = []
        self.accepted: set[str] = set()
        self.answers: Counter[str] = Counter()
        self.prices: dict[str, Decimal] = {}
        self.enough = asyncio.Event()
        self._site = site
        self._session = session
        self._random = Random(f"{seed}/load")
        self._daily_loss = daily_loss
        self._tasks: set[asyncio.Task[None]] = set()

    # Before.

    async def create(self, venues: list[Venue]) -> None:
        """Registers everybody, some at a time."""
        await self.look_at_prices()
        slots = asyncio.Semaphore(4)

        async def one(number: int, venue: Venue) -> None:
            async with slots:
                self.tenants.append(await self._create(number, venue))

        await asyncio.gather(*(one(number, venue) for number, venue in enumerate(venues)))

    async def _create(self, number: int, venue: Venue) -> ChaosTenant:
        key, secret = f"chaos{secrets.token_hex(29)}", secrets.token_hex(32)
        account = {"api_key": key, "api_secret": secret, "balances": dict(venue.money), "exchange": venue.exchange}
        await self._site.control(self._session, "POST", "accounts", account)
        email = f"tenant{number}@example.org"
        user = await self._must("POST", "register", {"email": email, "password": _PASSWORD})
        binding = {
            "name": "chaos", "exchange": venue.exchange, "mode": "simulator", "api_key": key, "api_secret": secret,
        }  # fmt: skip
        token = user["token"]
        connection = await self._must("POST", "connections", binding, token)
        limits = venue.limits
        if self._daily_loss and number % 2:
            limits["max_daily_loss"] = str(venue.usual / 20)
        tenant = ChaosTenant(number, venue, token, UUID(user["user"]["id"]), UUID(connection["id"]), key, limits)
        await self._must("PUT", "risk/policy", {"level": "user", **tenant.limits}, token)
        await self._start_strategy(tenant)
        return tenant

    async def _start_strategy(self, tenant: ChaosTenant) -> None:
        strategy, params = _STRATEGIES[tenant.number % len(_STRATEGIES)]
        instance = {
            "name": "chaos", "strategy": strategy, "connection": str(tenant.connection),
            "symbol": tenant.venue.strategy_symbol, "timeframe": tenant.venue.timeframe,
            "params": {**params, "evaluate_on": "quote"},
            "sizing": {"type": "quote_amount", "amount": str(tenant.venue.usual)},
        }  # fmt: skip
        tenant.instance = (await self._must("POST", "strategy-instances", instance, tenant.token))["id"]
        await self._must("POST", f"strategy-instances/{tenant.instance}/start", {}, tenant.token)

    # Meanwhile.

    async def run(self, rate: float) -> None:
        """Places ``rate`` orders a second in all, and cancels what rests, until there are ``enough``."""
        watching = asyncio.create_task(self._watch_prices())
        tenants = Counter(tenant.venue.exchange for tenant in self.tenants)
        rates = {venue.exchange: rate * venue.share / tenants[venue.exchange] for venue in VENUES}
        try:
            await asyncio.gather(*(self._trade(tenant, rates[tenant.venue.exchange]) for tenant in self.tenants))
        finally:
            watching.cancel()

    async def _trade(self, tenant: ChaosTenant, rate: float) -> None:
        while not self.enough.is_set():
            await asyncio.sleep(min(self._random.expovariate(rate), 10))
            if tenant.waiting >= _MOST_WAITING:
                self.answers["held back"] += 1
                continue
            if tenant.resting and self._random.random() < 0.35:
                self._spawn(self._cancel(tenant, tenant.resting.popleft()))
            self._spawn(self._place(tenant, self._order(tenant)))

    def _order(self, tenant: ChaosTenant) -> dict[str, Any]:
        """Mostly small orders that fill; some that rest, some that the limits must refuse."""
        venue, chance = tenant.venue, self._random.random()
        price = self.prices[venue.exchange]
        side = "buy" if self._random.random() < 0.55 else "sell"
        worth = venue.usual * Decimal(str(round(self._random.uniform(0.5, 1.5), 3)))
        order: dict[str, Any] = {"connection": str(tenant.connection), "symbol": venue.symbol, "side": side}
        if chance < 0.04:
            worth *= 20
        order["quantity"] = f"{max(worth / price // venue.lot * venue.lot, venue.lot):f}"
        if chance < 0.5:
            return {**order, "type": "market"}
        away = Decimal("0.002") if chance < 0.6 else (Decimal("-0.0002") if chance < 0.8 else Decimal("-0.02"))
        away = away if side == "buy" else -away
        limit = price * (1 + away) // venue.tick * venue.tick
        time_in_force = "ioc" if chance < 0.6 else "gtc"
        return {**order, "type": "limit", "price": f"{limit:f}", "time_in_force": time_in_force}

    async def _place(self, tenant: ChaosTenant, order: dict[str, Any]) -> None:
        tenant.waiting += 1
        try:
            status, told = await self._insist("POST", "orders", order, tenant.token, key=uuid4().hex)
        finally:
            tenant.waiting -= 1
        self.answers[f"place {status}" if status == 202 else f"place {status} {_reason(told)}"] += 1
        if status == 202:
            self.accepted.add(told["id"])
            if order.get("time_in_force") == "gtc":
                tenant.resting.append(told["id"])

    async def _cancel(self, tenant: ChaosTenant, order: str) -> None:
        status, _ = await self._insist("DELETE", f"orders/{order}", None, tenant.token)
        self.answers[f"cancel {status}"] += 1

    # After.

    async def stop(self) -> None:
        """Every request gets its answer; strategies end."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        for tenant in self.tenants:
            await self._must("POST", f"strategy-instances/{tenant.instance}/stop", {}, tenant.token)

    async def cancel(self, orders: Mapping[str, str]) -> None:
        """Cancels these open orders: id to the user who placed it."""
        tokens = {str(tenant.user): tenant.token for tenant in self.tenants}
        slots = asyncio.Semaphore(4)

        async def one(order: str, token: str) -> None:
            async with slots:
                await self._insist("DELETE", f"orders/{order}", None, token)

        await asyncio.gather(*(one(order, tokens[user]) for order, user in orders.items()))

    # Asking.

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.answers[f"failed: {error}"[:120]] += 1

    async def _must(self, method: str, path: str, body: Any, token: str = "") -> Any:
        status, told = await self._insist(method, path, body, token)
        if status // 100 != 2:
            raise RuntimeError(f"{method} {path} was answered {status}: {told}")
        return told

    async def _insist(self, method: str, path: str, body: Any, token: str, *, key: str = "") -> tuple[int, Any]:
        """Status and body of the first answer that isn't a temporary one; there is one at last, or TimeoutError."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if key:
            headers["Idempotency-Key"] = key
        end = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        last = "no answer"
        timeout = aiohttp.ClientTimeout(total=10)
        while asyncio.get_running_loop().time() < end:
            try:
                async with self._session.request(
                    method, f"{self._site.url}/api/{path}", json=body, headers=headers, timeout=timeout
                ) as answer:
                    told = await answer.json(content_type=None) if answer.status != 204 else None
                    if answer.status not in _TEMPORARY:
                        return answer.status, told
                    last = f"{answer.status} {told}"
                    self.answers[f"temporary {answer.status}"] += 1
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                last = repr(error)
                self.answers["no answer"] += 1
            await asyncio.sleep(_PAUSE_SECONDS)
        raise TimeoutError(f"{method} {path} was never answered: {last}")

    async def _watch_prices(self) -> None:
        while True:
            await asyncio.sleep(_PRICE_SECONDS)
            await self.look_at_prices()

    async def look_at_prices(self) -> None:
        """Asks every venue; what isn't answered stays as it was."""
        for venue in VENUES:
            try:
                self.prices[venue.exchange] = await venue.price(self._session, self._site.exchange["rest"])
            except (aiohttp.ClientError, LookupError, ValueError, TimeoutError):
                self.answers["no price"] += 1


def _reason(told: Any) -> str:
    error = told.get("error", {}) if isinstance(told, dict) else {}
    return f"{error.get('code')} {error.get('fields', '')}"[:100]
